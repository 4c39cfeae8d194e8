"""Weights after every update -> their mean, which generalises better than the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """A running mean of a network's parameters.

    ``mean <- mean + s (weights - mean)`` after the n-th update, where ``s = max((1 + growth) / (n + growth), newest)``.
    With ``newest = 0`` and ``growth = 0`` it is the plain mean of Polyak & Juditsky (1992). With ``growth`` above 0 the
    weights after the n-th update count about as n^growth does, so that the mean leaves its beginning behind however
    long it becomes: the polynomial-decay averaging of Shamir & Zhang (2013, section 4). With ``newest = 1 - decay`` it
    begins as either and becomes the exponential moving average of that decay.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = Average(network, newest=0.5)
    >>> for weight in (2.0, 4.0, 8.0):  # (2 + 4) / 2 = 3; 3 + 0.5 (8 - 3) = 5.5
    ...     _ = nn.init.constant_(network.weight, weight)
    ...     average.add()
    >>> with average.in_place():
    ...     network.weight.item()
    5.5
    >>> network.weight.item()
    8.0
    """

    def __init__(self, network: nn.Module, newest: float = 0.0, growth: float = 0.0) -> None:
        self.newest, self.growth, self.count = newest, growth, 0
        self.raw = dict(network.named_parameters())
        self.mean = {name: weight.detach().clone() for name, weight in self.raw.items()}

    @torch.no_grad()
    def add(self) -> None:
        """Take the weights of the network into the mean."""
        self.count += 1
        share = max((1 + self.growth) / (self.count + self.growth), self.newest)
        torch._foreach_lerp_(list(self.mean.values()), [w.detach() for w in self.raw.values()], share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the network holds the mean; afterwards its own weights again."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def load(self, mean: dict[str, Tensor], count: int) -> None:
        """Go on from a kept mean of ``count`` updates."""
        self.count = count
        for name, value in mean.items():
            self.mean[name].copy_(value)

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self.raw.items():
            weight.data, self.mean[name] = self.mean[name], weight.data
