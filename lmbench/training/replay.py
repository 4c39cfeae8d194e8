"""Forward and backward of a step -> one graph of kernels, which a card runs without being told each of them again.

A recurrent step is thousands of kernels of a few microseconds, and to launch one from Python takes longer than that.
CUDA graphs record them once for each shape of the rows, with all addresses, and replay them (Gray 2019; torch.cuda).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lmbench.training.state import flatten, unflatten

MOST = 256
"""Shapes that are recorded; steps of yet others run kernel by kernel."""


def gradients(loss_of: Any, rows: Tensor, state: Any, share: float) -> tuple[Tensor, Any]:
    """Forward and backward: int64 (B, L + 1) -> mean loss and the state after the rows; ``share`` times the gradient
    is added to what the weights hold."""
    loss, state = loss_of(rows, state)
    (loss * share).backward()
    return loss.detach(), state


class Replay:
    """``gradients`` of a network whose kernels depend on the shape of the rows alone, on the CUDA card ``device``.

    A shape is recorded when it comes for the second time. All shapes leave their gradients in the same place, where
    they hold until the next replay; they need not be zeroed before: drop them. It is to be called within ``turn``,
    where nothing waits for what is done elsewhere on the card, and which forgets at its end what was recorded. Beside
    the memory of what is recorded stands that of a step that is not.
    """

    def __init__(self, loss_of: Any, weights: Iterable[Tensor], device: torch.device) -> None:
        self.loss_of, self.weights, self.stream = loss_of, list(weights), torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self.gradients: list[tuple[Tensor, Tensor]] = []
        """Weights, and the gradient of each that the shape that was recorded first made, and all others copy to."""
        self.seen: set[tuple[Any, ...]] = set()
        self.recorded: dict[tuple[Any, ...], _Recorded] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """All that is asked of the card within it comes after what was asked before, and before what is asked after."""
        outer = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(outer)
        try:
            with torch.cuda.stream(self.stream):
                yield
        finally:
            outer.wait_stream(self.stream)
            self.recorded.clear()
            self.gradients = []
            for weight in self.weights:
                weight.grad = None

    def __call__(self, rows: Tensor, state: Any, share: float) -> tuple[Tensor, Any]:
        key = (*rows.shape, share, state is None)
        if key not in self.recorded:
            if key not in self.seen or len(self.recorded) == MOST:
                self.seen.add(key)
                return gradients(self.loss_of, rows, state, share)
            self.recorded[key] = _Recorded(self, rows, state, share)
        return self.recorded[key](rows, state)


class _Recorded:
    """The kernels of one shape, what they read and what they leave. All shapes share the memory in between."""

    def __init__(self, replay: Replay, rows: Tensor, state: Any, share: float) -> None:
        self.rows, self.state = rows.clone(), _cloned(state)
        self.graph = torch.cuda.CUDAGraph()
        before = [weight.grad for weight in replay.weights]
        for weight in replay.weights:
            weight.grad = None
        with torch.cuda.graph(self.graph, pool=replay.pool, stream=replay.stream):
            self.loss, self.after = gradients(replay.loss_of, self.rows, self.state, share)
            found = [(weight, weight.grad) for weight in replay.weights if weight.grad is not None]
            if replay.gradients:
                torch._foreach_copy_([kept for _, kept in replay.gradients], [gradient for _, gradient in found])
        self.gradients = replay.gradients = replay.gradients or found
        for weight, gradient in zip(replay.weights, before, strict=True):
            weight.grad = gradient

    def __call__(self, rows: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.rows.copy_(rows)
        if state is not None:
            for kept, given in zip(flatten(self.state), flatten(state), strict=True):
                kept.copy_(given)
        # What other parts of the step have left, perhaps where this one writes.
        before = [None if weight.grad is None else weight.grad.clone() for weight, _ in self.gradients]
        self.graph.replay()
        for (weight, gradient), left in zip(self.gradients, before, strict=True):
            weight.grad = gradient if left is None else left.add_(gradient)
        return self.loss.clone(), _cloned(self.after)


def _cloned(state: Any) -> Any:
    return None if state is None else unflatten(tuple(part.clone() for part in flatten(state)))
