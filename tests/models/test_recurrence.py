"""The recurrences with gradients of their own, against torch's cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.models.recurrence import elman, gru, lstm


@pytest.mark.parametrize(("events", "rows"), [(1, 1), (1, 4), (7, 1), (7, 4)])
@pytest.mark.parametrize("cell", [nn.GRU, nn.RNN, nn.LSTM])
def test_outputs_and_all_gradients_are_those_of_torch(
    cell: type[nn.GRU | nn.RNN | nn.LSTM], events: int, rows: int
) -> None:
    torch.manual_seed(1)
    module = cell(5, 6).double()
    sizes = (events, rows, 5), (rows, 6), (rows, 6)
    x, start, cells = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)
    weights = [module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0, module.bias_hh_l0]
    w, u, b, d = weights
    read = [x, start, *weights]
    if cell is nn.LSTM:
        read.append(cells)
        outputs, last = lstm(F.linear(x, w, b + d), start, cells, u)
        ours = torch.cat((outputs, last[None]))
        outputs, (_, after) = module(x, (start[None], cells[None]))
        theirs = torch.cat((outputs, after))
    else:
        ours = gru(F.linear(x, w, b), start, u, d) if cell is nn.GRU else elman(F.linear(x, w, b + d), start, u)
        theirs, _ = module(x, start[None])
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(theirs)

    def gradients(outputs: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((outputs * weight).sum(), read)

    for one, other in zip(gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("cell", [gru, elman, lstm])
def test_nothing_that_was_given_is_changed(cell: Callable[..., Any]) -> None:
    """Neither what is read, however small, nor the gradients that come back, which others may hold too."""
    torch.manual_seed(1)
    for rows, events in ((1, 1), (2, 3)):
        parts = {gru: 3, elman: 1, lstm: 4}[cell]
        given = [torch.randn(events, rows, 6 * parts), torch.randn(rows, 6)]
        given += [torch.randn(rows, 6)] if cell is lstm else []
        given += [torch.randn(6 * parts, 6)]
        given += [torch.randn(6 * parts)] if cell is gru else []
        read = [array.clone().requires_grad_() for array in given]
        found = cell(*read)
        outputs = found if isinstance(found, tuple) else (found,)
        kept = [array.detach().clone() for array in outputs]
        gradients = [torch.randn_like(array) for array in outputs]
        before = [array.clone() for array in gradients]
        torch.autograd.grad(outputs, read, gradients)
        torch.testing.assert_close([*map(Tensor.detach, read), *gradients], [*given, *before], rtol=0, atol=0)
        torch.testing.assert_close([array.detach() for array in outputs], kept, rtol=0, atol=0)
