"""The gradients that are written by hand, against the automatic ones of the plain formulas."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from lmbench.models.fused import rotate, squared_relu_feed_forward


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def test_the_feed_forward_layer_is_its_formula() -> None:
    torch.manual_seed(1)
    x, widen, narrow = _random(2, 3, 4), _random(8, 4), _random(5, 8)
    plain = F.linear(F.relu(F.linear(x, widen)).square(), narrow)
    torch.testing.assert_close(squared_relu_feed_forward(x, widen, narrow), plain)
    assert gradcheck(squared_relu_feed_forward, (x, widen, narrow))


def test_a_rotation_keeps_the_norm_and_its_gradient_turns_back() -> None:
    torch.manual_seed(1)
    x, angles = _random(2, 5, 6), torch.rand(5, 3, dtype=torch.float64)
    turned = rotate(x, angles.cos(), angles.sin())
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert gradcheck(lambda x: rotate(x, angles.cos(), angles.sin()), (x,))
