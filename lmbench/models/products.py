"""Matrices as a machine reads them fastest: in oneDNN's order on a CPU, at widths that suit it on a card.

Before it multiplies, oneDNN brings a matrix into the order in which it reads it. For a loop over events or blocks of
them, without a gradient, that is done once. In float32 its products are twice as fast as those of MKL, which torch
would take, where the processor is not Intel's and has AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ALIGNED = 8
"""See ``aligned``."""
WORTH = 128
"""Rows in all for which a matrix is put in order: that takes the time of about 60."""


def product_with(weight: Tensor, rows: int, times: int = 1, bias: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """float (N, K), (N,) -> a function from x (rows, K) to ``x W' + b``, (rows, N), of the same type, which will be
    called so many times and has no gradient.

    >>> product_with(torch.tensor([[1.0, 2.0]]), 1)(torch.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    if rows * times < WORTH or not _by_onednn(weight):
        return lambda x: F.linear(x, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def aligned(x: Tensor, precision: torch.dtype) -> Tensor:
    """float (..., E) -> the same in ``precision``, with zeros up to a multiple of ``ALIGNED``.

    In bfloat16 those are the 16 bytes that a card loads at once; products of 650, 1150 or 1500 cells, the widths of
    papers, would load less, and take twice as long.

    >>> aligned(torch.ones(6), torch.float32)
    tensor([1., 1., 1., 1., 1., 1., 0., 0.])
    """
    width = x.shape[-1]
    if width % ALIGNED == 0:
        return x.to(precision)
    filled = x.new_zeros(*x.shape[:-1], width + -width % ALIGNED, dtype=precision)
    filled[..., :width] = x
    return filled


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x W' + b``, float (..., K), (N, K), (N,) -> (..., N): ``F.linear``, without a gradient in float32 by
    ``product_with``. Smaller numbers are multiplied by oneDNN in any case, but torch would first write the bias into
    every row of the result.

    >>> linear(torch.tensor([3.0, 4.0]), torch.tensor([[1.0, 2.0]]), torch.tensor([0.5]))
    tensor([11.5000])
    """
    if torch.is_grad_enabled() or x.dtype != weight.dtype or not x.numel():
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    if weight.dtype == torch.float32:
        result = product_with(weight, len(rows), 1, bias)(rows)
    elif bias is not None and _by_onednn(weight):
        result = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    else:
        return F.linear(x, weight, bias)
    return result.view(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """``nn.Linear`` by ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """float (..., K) -> (..., N)."""
        return linear(x, self.weight, self.bias)


def _by_onednn(weight: Tensor) -> bool:
    """Whether oneDNN's own operators can multiply by it."""
    return weight.device.type == "cpu" and not torch.compiler.is_compiling() and _packs(weight.dtype)


@cache
def _packs(kind: torch.dtype) -> bool:
    """Whether torch was built with oneDNN, has these operators, which it keeps for its compiler, and the processor the
    instructions for such numbers."""
    two = torch.full((2, 2), 2, dtype=kind)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(two, 2)
        return bool((torch.ops.mkldnn._linear_pointwise(two, packed, None, "none", [], "") == 8).all())
    except (AttributeError, RuntimeError, TypeError):
        return False
