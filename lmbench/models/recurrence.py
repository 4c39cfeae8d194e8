"""Projected inputs -> outputs of a recurrent layer, with the error carried back through time.

On a CPU, torch runs GRU and simple networks operation by operation, and its automatic gradient takes over a dozen more
for every event. Written by hand, an event costs one product and a few element-wise operations in either direction:
what the gradient at an event is multiplied by is known after the forward pass, for all events at once, and so are the
gradients of all weights, which are single large products. torch has an LSTM for CPUs, which is faster than that only
while its weights fit the caches. On a CUDA card all layers of an LSTM run side by side (``models.wavefront``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lmbench.models.products import product_with


def elman(x: Tensor, start: Tensor, recurrent: Tensor) -> Tensor:
    """``h_t = tanh(x_t + U h_{t-1})``: float (T, B, H), (B, H), U (H, H) -> h (T, B, H).

    >>> elman(torch.zeros(2, 1, 1), torch.ones(1, 1), torch.ones(1, 1)).flatten()  # tanh(1), tanh(tanh(1))
    tensor([0.7616, 0.6420])
    """
    return _Elman.apply(x, start, recurrent)


def gru(x: Tensor, start: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Gated recurrent units (Cho et al. 2014), the reset gate after the product as in cuDNN.

    With ``s = U h_{t-1} + d`` in three parts: ``r = sigmoid(x_r + s_r)``, ``z = sigmoid(x_z + s_z)``,
    ``n = tanh(x_n + r s_n)``, ``h_t = n + z (h_{t-1} - n)``. float (T, B, 3 H), (B, H), U (3 H, H), d (3 H,) -> h
    (T, B, H).
    """
    return _GRU.apply(x, start, recurrent, bias)


def lstm(x: Tensor, start: Tensor, cells: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """Long short-term memory: float (T, B, 4 H), (B, H), (B, H), U (4 H, H) -> h (T, B, H), c of the last event (B, H).

    With ``s = x_t + U h_{t-1}`` in four parts: i, f, o = sigmoid(s) each, ``g = tanh(s_g)``, ``c_t = f c_{t-1} + i g``,
    ``h_t = o tanh(c_t)``, in the order i, f, g, o.
    """
    return _LSTM.apply(x, start, cells.to(x.dtype), recurrent)


class _Elman(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, recurrent: Tensor) -> Tensor:
        h, before, product = torch.empty_like(x), start, product_with(recurrent, len(start), len(x))
        for x_t, h_t in _events(x, h):
            before = torch.add(x_t, product(before), out=h_t).tanh_()
        ctx.save_for_backward(h, start, recurrent)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, start, recurrent = ctx.saved_tensors
        inner = torch.addcmul(h.new_ones(()), h, h, value=-1)  # tanh' = 1 - h^2, (T, B, H)
        d, product = gradients[0][-1], product_with(recurrent.t(), len(start), len(h))
        for inner_t, at_h_t in reversed(_events(inner, _before(gradients[0], torch.zeros_like(start)))):
            d = product(inner_t.mul_(d)).add_(at_h_t)
        return inner, d, _outer(inner, _before(h, start))


class _GRU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
        size = start.shape[1]
        s = x + bias  # becomes r, z, s_n of each event
        s[..., 2 * size :] = bias[2 * size :]
        n, h = x[..., 2 * size :].clone(memory_format=torch.contiguous_format), x.new_empty(len(x), *start.shape)
        before, product = start, product_with(recurrent, len(start), len(x))
        for s_t, r_z, r, z, s_n, n_t, h_t in _events(s, s[..., : 2 * size], *s.split(size, 2), n, h):
            s_t.add_(product(before))
            r_z.sigmoid_()
            before = torch.lerp(n_t.addcmul_(r, s_n).tanh_(), before, z, out=h_t)
        ctx.save_for_backward(s, n, h, start, recurrent)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, n, h, start, recurrent = ctx.saved_tensors
        size = h.shape[2]
        r, z, s_n = s.split(size, 2)
        before = _before(h, start)
        to_n = (1 - z) * torch.addcmul(n.new_ones(()), n, n, value=-1)  # dn / dh through tanh
        # What the gradient at h_t becomes at s_t, for the three parts side by side: (T, B, 3, H).
        inner = torch.stack((to_n * s_n * r * (1 - r), (before - n) * z * (1 - z), to_n * r), 2)
        d, all_d, product = gradients[0][-1], torch.empty_like(h), product_with(recurrent.t(), len(start), len(h))
        at_h, joined = _before(gradients[0], torch.zeros_like(start)), inner.flatten(2)
        for inner_t, joined_t, z_t, d_t, at_h_t in reversed(_events(inner, joined, z, all_d, at_h)):
            d_t.copy_(d)
            inner_t.mul_(d[:, None])
            d = product(joined_t).addcmul_(d, z_t).add_(at_h_t)
        at_x = torch.cat((joined[..., : 2 * size], all_d.mul_(to_n)), -1)
        return at_x, d, _outer(joined, before), joined.sum((0, 1))


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, start: Tensor, cells: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
        size, product = start.shape[1], product_with(recurrent, len(start), len(x))
        s = torch.empty_like(x)  # becomes i, f, g, o of each event
        h, c, squashed = x.new_empty(3, len(x), *start.shape)
        before, cell = start, cells
        for x_t, s_t, i_f, i, f, g, o, c_t, squashed_t, h_t in _events(
            x, s, s[..., : 2 * size], *s.split(size, 2), c, squashed, h
        ):
            torch.add(x_t, product(before), out=s_t)
            i_f.sigmoid_()
            cell = torch.mul(f, cell, out=c_t).addcmul_(i, g.tanh_())
            before = torch.mul(o.sigmoid_(), torch.tanh(cell, out=squashed_t), out=h_t)
        ctx.save_for_backward(s, h, c, squashed, start, cells, recurrent)
        return h, cell.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, h, c, squashed, start, cells, recurrent = ctx.saved_tensors
        one, size = s.new_ones(()), start.shape[1]
        i, f, g, o = s.split(size, 2)
        # What the gradient at c_t, of the last part that at h_t, becomes at s_t: (T, B, 4 H).
        inner = torch.addcmul(s, s, s, value=-1)
        to_i, to_f, to_g, to_o = inner.split(size, 2)
        to_i.mul_(g), to_f.mul_(_before(c, cells)), to_o.mul_(squashed)
        torch.addcmul(one, g, g, value=-1, out=to_g).mul_(i)
        to_c = torch.addcmul(one, squashed, squashed, value=-1).mul_(o)
        d, d_c, product = gradients[0][-1], gradients[1].clone(), product_with(recurrent.t(), len(start), len(h))
        to_i_f_g = inner[..., : 3 * size].unflatten(2, (3, size))
        at_h = _before(gradients[0], torch.zeros_like(start))
        for to_c_t, to_i_f_g_t, to_o_t, f_t, inner_t, at_h_t in reversed(_events(to_c, to_i_f_g, to_o, f, inner, at_h)):
            d_c.addcmul_(d, to_c_t)
            to_i_f_g_t.mul_(d_c[:, None])
            to_o_t.mul_(d)
            d_c.mul_(f_t)
            d = product(inner_t).add_(at_h_t)
        return inner, d, d_c, _outer(inner, _before(h, start))


def _events(*arrays: Tensor) -> list[tuple[Tensor, ...]]:
    """Of each event, its part of all arrays (T, ...)."""
    return list(zip(*map(Tensor.unbind, arrays), strict=True))


def _before(h: Tensor, start: Tensor) -> Tensor:
    """The state before each event: (T, B, H)."""
    return torch.cat((start[None], h[:-1]))


def _outer(inner: Tensor, before: Tensor) -> Tensor:
    """Sum over events and rows of the outer products, (T, B, K) and (T, B, H) -> (K, H)."""
    return inner.flatten(0, 1).t() @ before.flatten(0, 1)
