"""The loops of recurrent layers as kernels for a CUDA card, in Triton.

What is computed between two matrix products of an LSTM, and a linear recurrence over all events, are each one kernel
here; of torch's own operations they would take a dozen at every event.
"""

from __future__ import annotations

import torch
import triton  # comes with torch where that is built for CUDA cards
import triton.language as tl
from torch import Tensor

CELLS = 256
"""Cells that one program of a kernel computes."""


def lstm_forward(
    x: Tensor, s: Tensor, before: Tensor, mask: Tensor | None, gates: Tensor, c: Tensor, h: Tensor, masked: Tensor
) -> None:
    """One event of an LSTM: projected inputs and states (B, 4 H), cells before and a mask (B, H) -> ``gates`` i, f, g,
    o after their squashing (B, 4 H), ``c``, ``h`` and, unless there is no mask, ``h`` times it (B, H). Cells and mask
    are float32, all else of one type."""
    n = h.numel()
    with torch.cuda.device_of(h):
        _lstm_forward[(triton.cdiv(n, CELLS),)](
            x, s, before, mask, gates, c, h, masked, h.shape[1], n, mask is not None, CELLS
        )


def lstm_backward(
    d: Tensor, mask: Tensor | None, parts: Tensor, d_c: Tensor, gates: Tensor, c: Tensor, before: Tensor, inner: Tensor
) -> None:
    """Gradients after an event: at the outputs times the mask (B, H), at the outputs from the event that follows, the
    sum of ``parts`` (4, B, H), and at the cells (B, H) -> at what was squashed, ``inner`` (B, 4 H), and, in place, at
    the cells before."""
    n = d.numel()
    with torch.cuda.device_of(d):
        _lstm_backward[(triton.cdiv(n, CELLS),)](
            d, mask, parts, d_c, gates, c, before, inner, d.shape[1], n, mask is not None, CELLS
        )


def scan_forward(decay: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    """``h_t = decay_t h_{t-1} + inputs_t``, float32 (T, B, D) each, from ``start`` (B, D) on -> h (T, B, D)."""
    h, n = torch.empty_like(inputs), start.numel()
    with torch.cuda.device_of(h):
        _scan_forward[(triton.cdiv(n, CELLS),)](decay, inputs, start, h, len(h), n, CELLS)
    return h


def scan_backward(decay: Tensor, h: Tensor, start: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient at h -> those at ``decay`` and at the inputs, (T, B, D) each."""
    at_decay, at_inputs, n = torch.empty_like(h), torch.empty_like(h), start.numel()
    last = (len(h) - 1) * n
    with torch.cuda.device_of(h):
        _scan_backward[(triton.cdiv(n, CELLS),)](decay, h, start, gradient, at_decay, at_inputs, last, n, CELLS)
    return at_decay, at_inputs


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _lstm_forward(x, s, before, mask, gates, c, h, masked, size, n, MASKED: tl.constexpr, CELLS: tl.constexpr):
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < n
    at = cell // size * 3 * size + cell  # of its first gate: row 4 size + column
    i = tl.sigmoid(tl.load(x + at, inside).to(tl.float32) + tl.load(s + at, inside).to(tl.float32))
    at_f, at_g, at_o = at + size, at + 2 * size, at + 3 * size
    f = tl.sigmoid(tl.load(x + at_f, inside).to(tl.float32) + tl.load(s + at_f, inside).to(tl.float32))
    g = _tanh(tl.load(x + at_g, inside).to(tl.float32) + tl.load(s + at_g, inside).to(tl.float32))
    o = tl.sigmoid(tl.load(x + at_o, inside).to(tl.float32) + tl.load(s + at_o, inside).to(tl.float32))
    after = f * tl.load(before + cell, inside) + i * g
    tl.store(c + cell, after, inside)
    output = o * _tanh(after)
    tl.store(h + cell, output, inside)
    if MASKED:
        tl.store(masked + cell, output * tl.load(mask + cell, inside), inside)
    tl.store(gates + at, i, inside)
    tl.store(gates + at_f, f, inside)
    tl.store(gates + at_g, g, inside)
    tl.store(gates + at_o, o, inside)


@triton.jit
def _lstm_backward(d, mask, parts, d_c, gates, c, before, inner, size, n, MASKED: tl.constexpr, CELLS: tl.constexpr):
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    inside = cell < n
    at = cell // size * 3 * size + cell
    at_f, at_g, at_o = at + size, at + 2 * size, at + 3 * size
    i = tl.load(gates + at, inside).to(tl.float32)
    f = tl.load(gates + at_f, inside).to(tl.float32)
    g = tl.load(gates + at_g, inside).to(tl.float32)
    o = tl.load(gates + at_o, inside).to(tl.float32)
    at_h = tl.load(d + cell, inside).to(tl.float32)
    if MASKED:
        at_h *= tl.load(mask + cell, inside)
    for part in tl.static_range(4):
        at_h += tl.load(parts + part * n + cell, inside).to(tl.float32)
    squashed = _tanh(tl.load(c + cell, inside))
    total = tl.load(d_c + cell, inside) + at_h * o * (1 - squashed * squashed)
    tl.store(inner + at, total * g * i * (1 - i), inside)
    tl.store(inner + at_f, total * tl.load(before + cell, inside) * f * (1 - f), inside)
    tl.store(inner + at_g, total * i * (1 - g * g), inside)
    tl.store(inner + at_o, at_h * squashed * o * (1 - o), inside)
    tl.store(d_c + cell, total * f, inside)


@triton.jit
def _scan_forward(decay, inputs, start, h, events, n, CELLS: tl.constexpr):
    cell = (tl.program_id(0) * CELLS + tl.arange(0, CELLS)).to(tl.int64)
    inside = cell < n
    state, at = tl.load(start + cell, inside), cell
    for _ in range(events):
        state = tl.load(decay + at, inside) * state + tl.load(inputs + at, inside)
        tl.store(h + at, state, inside)
        at += n


@triton.jit
def _scan_backward(decay, h, start, gradient, at_decay, at_inputs, last, n, CELLS: tl.constexpr):
    cell = (tl.program_id(0) * CELLS + tl.arange(0, CELLS)).to(tl.int64)
    inside = cell < n
    carried, at = tl.zeros((CELLS,), tl.float32), cell + last
    for _ in range(last // n):
        total = tl.load(gradient + at, inside) + carried
        tl.store(at_inputs + at, total, inside)
        tl.store(at_decay + at, total * tl.load(h + at - n, inside), inside)
        carried = total * tl.load(decay + at, inside)
        at -= n
    total = tl.load(gradient + cell, inside) + carried
    tl.store(at_inputs + cell, total, inside)
    tl.store(at_decay + cell, total * tl.load(start + cell, inside), inside)
