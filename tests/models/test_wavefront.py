"""Layers side by side, against torch's, one after the other. Here without a card: its two kernels are written out, and
what streams would do side by side is done in the order in which it is asked. ``test_on_a_card`` has the kernels."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lmbench.models.recurrent import RecurrentConfig, RecurrentNetwork


def lstm_forward(
    x: Tensor, s: Tensor, before: Tensor, mask: Tensor | None, gates: Tensor, c: Tensor, h: Tensor, masked: Tensor
) -> None:
    i, f, g, o = (x + s).chunk(4, -1)
    squashed = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    gates.copy_(torch.cat(squashed, -1))
    i, f, g, o = squashed
    c.copy_(f * before + i * g)
    h.copy_(o * c.tanh())
    if mask is not None:
        masked.copy_(h * mask)


def lstm_backward(
    d: Tensor, mask: Tensor | None, parts: Tensor, d_c: Tensor, gates: Tensor, c: Tensor, before: Tensor, inner: Tensor
) -> None:
    i, f, g, o = gates.chunk(4, -1)
    d = (d if mask is None else d * mask) + parts.sum(0)
    total = d_c + d * o * (1 - c.tanh() ** 2)
    at_i, at_f, at_g, at_o = total * g, total * before, total * i, d * c.tanh()
    inner.copy_(torch.cat((at_i * i * (1 - i), at_f * f * (1 - f), at_g * (1 - g * g), at_o * o * (1 - o)), -1))
    d_c.copy_(total * f)


class Streams:
    """Asks of nothing to run side by side, but that what is waited for was told before."""

    def __init__(self, device: torch.device, number: int) -> None:
        self.number, self.told = number, set()

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def turn(self, number: int) -> nullcontext[None]:
        return nullcontext()

    def tell(self, number: int, chunk: slice) -> None:
        self.told.add((number, chunk.start))

    def wait(self, number: int, chunk: slice) -> None:
        assert not 0 <= number < self.number or (number, chunk.start) in self.told


@pytest.fixture
def wavefront(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    kernels = SimpleNamespace(lstm_forward=lstm_forward, lstm_backward=lstm_backward)
    monkeypatch.setitem(sys.modules, "lmbench.models.kernels", kernels)
    monkeypatch.delitem(sys.modules, "lmbench.models.wavefront", raising=False)
    module: ModuleType = importlib.import_module("lmbench.models.wavefront")
    monkeypatch.setattr(module, "_Streams", Streams)
    yield module
    sys.modules.pop("lmbench.models.wavefront")


@pytest.mark.parametrize("events", [1, 7, 16])
@pytest.mark.parametrize("masked", ["never", "each event", "all alike"])
def test_outputs_and_all_gradients_are_those_of_torch(wavefront: Any, events: int, masked: str) -> None:
    """Of three layers of widths that are filled up (6, 13) and that are not (8), of inputs that are not contiguous."""
    torch.manual_seed(1)
    rows, sizes = 3, [8, 6, 13, 8]
    modules = [nn.LSTM(e, h).double() for e, h in pairwise(sizes)]
    x = torch.randn(rows, events, 8, dtype=torch.float64, requires_grad=True)
    starts = [torch.randn(2, rows, size, dtype=torch.float64, requires_grad=True) for size in sizes[1:]]
    many = 1 if masked == "all alike" else events
    masks = [None if masked == "never" else torch.rand(many, rows, size).double() for size in sizes[1:3]]
    layers, theirs, after = [], x.transpose(0, 1), []
    for module, start, mask in zip(modules, starts, [*masks, None], strict=True):
        w, u, b, d = module.parameters()
        layers.append(wavefront.Layer(w, u, b + d, start[0], start[1], mask))
        outputs, last = module(theirs, (start[0][None], start[1][None]))
        theirs = outputs if mask is None else outputs * mask
        after.extend(part[0] for part in last)
    ours, states = wavefront.lstm_layers(x.transpose(0, 1), layers)
    found = [ours, *(part for state in states for part in state)]
    torch.testing.assert_close(found, [theirs, *after])
    factors = [torch.randn_like(part) for part in found]
    read = [x, *starts, *(weight for module in modules for weight in module.parameters())]

    def gradients(parts: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(sum((p * f).sum() for p, f in zip(parts, factors, strict=True)), read)

    for one, other in zip(gradients(found), gradients([theirs, *after]), strict=True):
        torch.testing.assert_close(one, other)


def test_a_network_learns_the_same_by_either_way(wavefront: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RecurrentConfig(hidden=12, layers=3, embedding_size=7, dropout=0.0, change_penalty=1.0)
    torch.manual_seed(1)
    network, rows = RecurrentNetwork(11, config, "lstm").train(), torch.randint(0, 11, (4, 10))
    found = []
    for at_once in (True, False):
        monkeypatch.setattr(RecurrentNetwork, "_at_once", lambda *_, answer=at_once: answer)
        network.zero_grad()
        loss, state = network.loss(rows)
        loss, state = network.loss(rows, state)
        loss.backward()
        found.append([loss.detach(), state, *(weight.grad for weight in network.parameters())])
    torch.testing.assert_close(*found)
