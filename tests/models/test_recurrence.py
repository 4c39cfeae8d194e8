"""The recurrences with gradients of their own, against torch's cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.models.recurrence import elman, gru, lstm


@pytest.mark.parametrize("events", [1, 7])
@pytest.mark.parametrize("cell", [nn.GRU, nn.RNN, nn.LSTM])
def test_outputs_and_all_gradients_are_those_of_torch(cell: type[nn.GRU | nn.RNN | nn.LSTM], events: int) -> None:
    torch.manual_seed(1)
    module = cell(5, 6).double()
    sizes = (events, 4, 5), (4, 6), (4, 6)
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
