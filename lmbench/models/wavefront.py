"""LSTM layers one above the other on a CUDA card: while one reads some events, the one below already reads the next.

An event of a layer is a small product and a kernel, which wait for those of the event before and leave most of a card
idle. But a layer needs of the one below only the events so far: each has a stream of its own, and follows the one below
by ``CHUNK`` events; on the way back each follows the one above (Appleyard, Kočiský & Blunsom 2016). Thus L layers take
the time of T + (L - 1) CHUNK events of one, not of L T.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmbench.models.kernels import lstm_backward, lstm_forward
from lmbench.models.products import ALIGNED, aligned

CHUNK = 7
"""Events after which a layer hands on what it has."""


class Layer(NamedTuple):
    """An LSTM layer of H cells that reads E numbers at an event."""

    inputs: Tensor
    """W, (4 H, E)."""
    recurrent: Tensor
    """U, (4 H, H)."""
    bias: Tensor
    """b, (4 H,)."""
    start: Tensor
    """Outputs before the first event, (B, H)."""
    cells: Tensor
    """Cells before it, float32 (B, H)."""
    mask: Tensor | None
    """What its outputs are multiplied by for the layer above, float32: (T, B, H), or (1, B, H) at all events alike."""


def lstm_layers(x: Tensor, layers: list[Layer]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """float (T, B, E) -> outputs of the last layer (T, B, H), and of each layer outputs and cells after the last event.

    With ``s = W x_t + U h_{t-1} + b`` in four parts: i, f, o = sigmoid(s) each, ``g = tanh(s_g)``,
    ``c_t = f c_{t-1} + i g``, ``h_t = o tanh(c_t)``, in the order i, f, g, o; x is ``h`` of the layer below times its
    mask. Products are in the type of x, cells and sums in float32.
    """
    sizes, x = [layer.start.shape[1] for layer in layers], aligned(x, x.dtype).contiguous()
    outputs, *after = _Layers.apply(x, *(part for layer in layers for part in _aligned(layer, x)))
    states = [(h[:, :size], c[:, :size]) for h, c, size in zip(after[::2], after[1::2], sizes, strict=True)]
    return outputs[..., : sizes[-1]], states


def _aligned(layer: Layer, x: Tensor) -> Layer:
    """``layer`` in the type of x, with cells that have no weights and stay 0 up to a width that is ``aligned``."""
    w, u, bias, start, cells, mask = layer
    return Layer(
        _aligned_gates(w, x.dtype),
        _aligned_gates(u, x.dtype),
        aligned(bias.view(4, -1), x.dtype).flatten(),
        aligned(start, x.dtype).contiguous(),
        aligned(cells, cells.dtype).contiguous(),
        None if mask is None else aligned(mask, mask.dtype).contiguous(),
    )


def _aligned_gates(weight: Tensor, precision: torch.dtype) -> Tensor:
    """A matrix (4 H, E) in ``precision``, both H and E ``aligned``."""
    if len(weight) // 4 % ALIGNED or weight.shape[1] % ALIGNED:
        return _AlignedGates.apply(weight, precision)
    return weight.to(precision)


class _AlignedGates(torch.autograd.Function):
    """One copy there, and one back."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, precision: torch.dtype) -> Tensor:
        ctx.shape, ctx.kind = weight.shape, weight.dtype
        size = len(weight) // 4
        height, width = (length + -length % ALIGNED for length in (size, weight.shape[1]))
        filled = weight.new_zeros(4, height, width, dtype=precision)
        filled[:, :size, : weight.shape[1]] = weight.view(4, size, -1)
        return filled.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rows, columns = ctx.shape
        gates = gradients[0].view(4, -1, gradients[0].shape[1])
        return gates[:, : rows // 4, :columns].to(ctx.kind).reshape(ctx.shape), None


class _Layers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        layers, chunks, below = _layers_of(parts), _chunks(len(x)), x
        made = []
        for layer in layers:  # all memory before the streams part
            shape = *x.shape[:2], layer.start.shape[1]
            gates, h, c = x.new_empty(*shape[:2], 4 * shape[2]), x.new_empty(shape), layer.cells.new_empty(shape)
            made.append((below, gates, h, c, h if layer.mask is None else torch.empty_like(h)))
            below = made[-1][-1]
        products = [torch.empty_like(gates[0]) for _, gates, *_ in made]
        with _Streams(x.device, len(layers)) as streams:
            for number, (layer, (inputs, gates, h, c, masked)) in enumerate(zip(layers, made, strict=True)):
                w, u, product = layer.inputs.t(), layer.recurrent.t(), products[number]
                with streams.turn(number):
                    for chunk in chunks:
                        streams.wait(number - 1, chunk)
                        torch.addmm(layer.bias, _flat(inputs[chunk]), w, out=_flat(gates[chunk]))
                        for t in range(chunk.start, chunk.stop):
                            h_before, c_before = (h[t - 1], c[t - 1]) if t else (layer.start, layer.cells)
                            torch.mm(h_before, u, out=product)
                            lstm_forward(
                                gates[t], product, c_before, _at(layer.mask, t), gates[t], c[t], h[t], masked[t]
                            )
                        streams.tell(number, chunk)
        ctx.save_for_backward(*parts, *(array for arrays in made for array in arrays[:4]))
        ctx.layers = len(layers)
        return made[-1][2], *(array[-1].clone() for _, _, h, c, _ in made for array in (h, c))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        count = ctx.layers * len(Layer._fields)
        layers, arrays = _layers_of(ctx.saved_tensors[:count]), ctx.saved_tensors[count:]
        made = [arrays[n : n + 4] for n in range(0, len(arrays), 4)]
        chunks = _chunks(len(gradients[0]))
        # Of each layer the gradients at its inputs, at what is squashed, at what it gives, at outputs and cells before
        # an event, and at its weights and its start.
        at_inputs, inner = ([torch.empty_like(array[n]) for array in made] for n in (0, 1))
        at_outputs = [*at_inputs[1:], gradients[0].contiguous()]
        at_h = [torch.stack((gradient, *[torch.zeros_like(gradient)] * 3)) for gradient in gradients[1::2]]
        at_c = [gradient.clone(memory_format=torch.contiguous_format) for gradient in gradients[2::2]]
        found = [[torch.empty_like(part) for part in layer[:4]] for layer in layers]
        with _Streams(gradients[0].device, len(layers)) as streams:
            for number in reversed(range(len(layers))):
                layer, (inputs, gates, h, c) = layers[number], made[number]
                d, d_h, d_c, d_s = at_outputs[number], at_h[number], at_c[number], inner[number]
                by_gate, recurrent = d_s.unflatten(2, (4, -1)).transpose(1, 2), layer.recurrent.unflatten(0, (4, -1))
                with streams.turn(number):
                    for chunk in reversed(chunks):
                        streams.wait(number + 1, chunk)
                        for t in reversed(range(chunk.start, chunk.stop)):
                            c_before = c[t - 1] if t else layer.cells
                            lstm_backward(d[t], _at(layer.mask, t), d_h, d_c, gates[t], c[t], c_before, d_s[t])
                            torch.bmm(by_gate[t], recurrent, out=d_h)
                        torch.mm(_flat(d_s[chunk]), layer.inputs, out=_flat(at_inputs[number][chunk]))
                        streams.tell(number, chunk)
                    at_w, at_u, at_bias, at_start = found[number]
                    d_s, rows = _flat(d_s), len(layer.start)
                    torch.mm(d_s.t(), _flat(inputs), out=at_w)
                    torch.mm(d_s[:rows].t(), layer.start, out=at_u)
                    at_u.addmm_(d_s[rows:].t(), _flat(h[:-1]))
                    torch.sum(d_s, 0, out=at_bias)
                    torch.sum(d_h, 0, out=at_start)
        return at_inputs[0], *(part for n in range(ctx.layers) for part in (*found[n], at_c[n], None))


def _layers_of(parts: tuple[Tensor, ...]) -> list[Layer]:
    size = len(Layer._fields)
    return [Layer(*parts[n : n + size]) for n in range(0, len(parts), size)]


def _chunks(events: int) -> list[slice]:
    return [slice(first, min(first + CHUNK, events)) for first in range(0, events, CHUNK)]


def _flat(x: Tensor) -> Tensor:
    """(T, B, H) -> (T B, H), never a copy."""
    return x.view(-1, x.shape[2])


def _at(mask: Tensor | None, event: int) -> Tensor | None:
    return None if mask is None else mask[event if len(mask) > 1 else 0]


class _Streams:
    """A stream for each of some layers. Within the context they run side by side, after what was asked of the current
    one before; what is asked of that afterwards comes after all of them."""

    def __init__(self, device: torch.device, number: int) -> None:
        self.streams = [_stream(device, n) for n in range(number)]
        self.told: dict[tuple[int, int], torch.cuda.Event] = {}

    def __enter__(self) -> _Streams:
        for stream in self.streams:
            stream.wait_stream(torch.cuda.current_stream(stream.device))
        return self

    def __exit__(self, *error: object) -> None:
        for stream in self.streams:
            torch.cuda.current_stream(stream.device).wait_stream(stream)

    def turn(self, number: int) -> torch.cuda.StreamContext:
        """All that is asked of the card within it is asked of stream ``number``."""
        return torch.cuda.stream(self.streams[number])

    def tell(self, number: int, chunk: slice) -> None:
        """Layer ``number`` is done with ``chunk`` when its stream has come here."""
        self.told[number, chunk.start] = self.streams[number].record_event()

    def wait(self, number: int, chunk: slice) -> None:
        """The current stream goes on when layer ``number``, if there is one, is done with ``chunk``."""
        if (number, chunk.start) in self.told:
            torch.cuda.current_stream().wait_event(self.told[number, chunk.start])


@cache
def _stream(device: torch.device, number: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
