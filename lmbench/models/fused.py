"""Steps of a block whose gradients are written by hand: the automatic ones would read memory several times more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lmbench.models.products import linear


def squared_relu_feed_forward(x: Tensor, widen: Tensor, narrow: Tensor) -> Tensor:
    """``max(0, x W')^2 U'`` (So et al. 2021): float (..., E), W (H, E), U (E, H) -> (..., E), in the type of x.

    >>> squared_relu_feed_forward(torch.tensor([3.0]), torch.tensor([[2.0]]), torch.tensor([[0.5]]))  # 6^2 / 2
    tensor([18.])
    """
    weights = widen.to(x.dtype), narrow.to(x.dtype)
    if torch.compiler.is_compiling():
        return nn.functional.linear(nn.functional.linear(x, weights[0]).relu().square(), weights[1])
    return _SquaredReLU.apply(x.reshape(-1, x.shape[-1]), *weights).view(*x.shape[:-1], len(narrow))


class _SquaredReLU(torch.autograd.Function):
    """With a = max(0, x W'): da = 2 a (dy U), dU = dy' a^2, dW = da' x, dx = da W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, widen: Tensor, narrow: Tensor) -> Tensor:
        a = linear(x, widen).relu_()
        squared = a * a
        ctx.save_for_backward(x, widen, narrow, a, squared)
        return linear(squared, narrow)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, widen, narrow, a, squared = ctx.saved_tensors
        d = gradients[0]
        d_a = ((2 * d) @ narrow).mul_(a)
        return d_a @ widen, d_a.t() @ x, d.t() @ squared


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Each pair (x_i, x_{i + d/2}) turned by an angle (Su et al. 2021): float (..., T, d), (T, d/2) twice -> the same.

    >>> rotate(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1), torch.ones(1, 1))  # by a right angle
    tensor([[0., 1.]])
    """
    if torch.compiler.is_compiling():
        left, right = x.chunk(2, -1)
        return torch.cat((left * cosine - right * sine, right * cosine + left * sine), -1)
    return _Rotate.apply(x, cosine, sine)


class _Rotate(torch.autograd.Function):
    """The gradient is turned back by the same angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turned(x, cosine, sine, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turned(gradients[0], cosine, sine, -1), None, None


def _turned(x: Tensor, cosine: Tensor, sine: Tensor, direction: int) -> Tensor:
    result = torch.empty_like(x)
    left, right = x.chunk(2, -1)
    new_left, new_right = result.chunk(2, -1)
    torch.mul(left, cosine, out=new_left).addcmul_(right, sine, value=-direction)
    torch.mul(right, cosine, out=new_right).addcmul_(left, sine, value=direction)
    return result
