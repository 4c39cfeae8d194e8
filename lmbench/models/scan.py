"""Decays and inputs of a linear recurrence -> its states at all events, and the gradient of both.

On a CPU compiled loops walk through the events once, rows side by side in threads; on a CUDA card one kernel does, all
cells side by side; elsewhere, chunks of the text are computed side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lmbench.compiled import compiled, in_threads, threads


def has_kernels(device: torch.device) -> bool:
    """Whether ``models.kernels`` can be used: on a CUDA card, where Triton came with torch and can build them. In what
    it compiles itself, torch makes kernels of its own."""
    return device.type == "cuda" and not torch.compiler.is_compiling() and _built(device)


@cache
def _built(device: torch.device) -> bool:
    """Whether the smallest scan works: Triton needs a C compiler and a card of compute capability 7."""
    if find_spec("triton") is None or torch.cuda.get_device_capability(device) < (7, 0):
        return False
    from lmbench.models.kernels import scan_forward

    try:
        one = torch.ones(1, 1, 1, device=device)
        return bool(scan_forward(one, one, one[0]) == 2)
    except (RuntimeError, OSError):  # no compiler, or not one that it can use
        return False


def linear_scan(decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    """``h_t = decay_t h_{t-1} + inputs_t`` for all t, float (T, B, D) each, from ``start`` (B, D) on -> h (T, B, D).

    >>> ones = torch.ones(4, 1, 1)
    >>> linear_scan(ones / 2, ones, torch.zeros(1, 1)).flatten().tolist()
    [1.0, 1.5, 1.75, 1.875]
    """
    return _LinearScan.apply(decay, inputs, start)


class _LinearScan(torch.autograd.Function):
    """The gradient of a linear recurrence is one that runs backwards:
    ``dL/dinputs_t = dL/dh_t + decay_{t+1} dL/dinputs_{t+1}``, and ``dL/ddecay_t = h_{t-1} dL/dinputs_t``."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
        h = _scan(decay, inputs, start)
        ctx.save_for_backward(decay, h, start)
        return h

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        decay, h, start = ctx.saved_tensors
        at_decay, at_inputs = _scan_back(decay, h, start, gradients[0])
        return at_decay, at_inputs, decay[0] * at_inputs[0]


# Operators, so that torch.compile, which need not look into them, builds what is around them in one piece.


@torch.library.custom_op("lmbench::scan", mutates_args=())
def _scan(decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    if has_kernels(inputs.device):
        from lmbench.models.kernels import scan_forward

        return scan_forward(decay.contiguous(), inputs.contiguous(), start.contiguous())
    if inputs.device.type != "cpu":
        return _scan_chunks(decay, inputs, start)
    h = torch.empty_like(inputs, memory_format=torch.contiguous_format)
    _by_rows(_forward, decay, inputs, start, h)
    return h


@torch.library.custom_op("lmbench::scan_back", mutates_args=())
def _scan_back(decay: Tensor, h: Tensor, start: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    if has_kernels(h.device):
        from lmbench.models.kernels import scan_backward

        return scan_backward(decay.contiguous(), h, start.contiguous(), gradient.contiguous())
    if h.device.type != "cpu":
        following = torch.cat((decay[1:], torch.zeros_like(decay[:1])))
        at_inputs = _scan_chunks(following.flip(0), gradient.flip(0), torch.zeros_like(start)).flip(0).contiguous()
        return at_inputs * torch.cat((start[None], h[:-1])), at_inputs
    at_decay, at_inputs = torch.empty_like(h), torch.empty_like(h)
    _by_rows(_backward, decay, h, start, gradient, at_decay, at_inputs)
    return at_decay, at_inputs


@_scan.register_fake
def _(decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    return torch.empty_like(inputs, memory_format=torch.contiguous_format)


@_scan_back.register_fake
def _(decay: Tensor, h: Tensor, start: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h), torch.empty_like(h)


def _by_rows(loop: Callable[..., None], *arrays: Tensor) -> None:
    """Call ``loop`` for parts of the rows, in threads; the last dimension but one of each array is that of the rows."""
    whole = [array.contiguous().numpy() for array in arrays]
    rows = whole[0].shape[1]
    edges = np.linspace(0, rows, min(rows, threads(), torch.get_num_threads()) + 1).astype(int)
    in_threads(lambda part: loop(*whole, edges[part], edges[part + 1]), range(len(edges) - 1))


@compiled
def _forward(decay: np.ndarray, inputs: np.ndarray, start: np.ndarray, h: np.ndarray, first: int, last: int) -> None:
    for row in range(first, last):
        before = start[row]
        for t in range(len(h)):
            for d in range(h.shape[2]):
                h[t, row, d] = decay[t, row, d] * before[d] + inputs[t, row, d]
            before = h[t, row]


@compiled
def _backward(
    decay: np.ndarray,
    h: np.ndarray,
    start: np.ndarray,
    gradient: np.ndarray,
    at_decay: np.ndarray,
    at_inputs: np.ndarray,
    first: int,
    last: int,
) -> None:
    events = len(h)
    for row in range(first, last):
        for t in range(events - 1, -1, -1):
            before = h[t - 1, row] if t else start[row]
            for d in range(h.shape[2]):
                total = gradient[t, row, d]
                if t + 1 < events:
                    total += decay[t + 1, row, d] * at_inputs[t + 1, row, d]
                at_inputs[t, row, d] = total
                at_decay[t, row, d] = total * before[d]


def _scan_chunks(decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    """The recurrence in about 2 sqrt(T) products rather than T.

    All chunks of sqrt(T) events run side by side as if each began from zero, and note how much of their beginning is
    left at each event; then what each begins from is handed from chunk to chunk. Nothing is divided and no logarithm is
    taken: with decays of at most 1 no value can overflow.
    """
    events = len(decay)
    size = max(1, round(events**0.5))
    count = -(-events // size)
    rest = (0, 0, 0, 0, 0, count * size - events)
    decay, inputs = (F.pad(x, rest).unflatten(0, (count, size)) for x in (decay, inputs))  # (chunks, size, B, D)
    h, left = inputs.clone(), decay.clone()
    for event in range(1, size):
        h[:, event].addcmul_(decay[:, event], h[:, event - 1])
        left[:, event].mul_(left[:, event - 1])
    for chunk in range(count):
        h[chunk].addcmul_(left[chunk], start)
        start = h[chunk, -1]
    return h.flatten(0, 1)[:events]
