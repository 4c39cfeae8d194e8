"""A network and the validation split -> nats per event, read as it will be scored, at a bounded cost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from lmbench.corpus.batches import Tokens, contiguous_rows
from lmbench.training.parallel import Parallel

VALID_EVENTS = 30_000
"""Events that a validation reads, roughly, where it is not worth reading more."""


class Validation:
    """The part of the validation split that is read each time: about ``events`` of it, or all.

    With a state, ``batch_size`` long rows are read side by side, from their beginning on. Without one, windows are
    taken evenly from all of the split; each shares its first ``overlap`` events with the window before it, and only
    the others (x) count, as in scoring::

        window 0   x x x x x x x x
        window 1           - - - - x x x x
        window 2                   - - - - x x x x      every n-th of them where the split is long
    """

    def __init__(self, parallel: Parallel, tokens: Tokens, batch_size: int, sequence_length: int, events: int) -> None:
        self.parallel, self.network, self.ids = parallel, parallel.trained, tokens.ids
        self.device, self.processes = parallel.device, parallel.processes
        self.batch_size, self.length, self.events = batch_size, min(sequence_length, tokens.events), events
        self.rows = contiguous_rows(tokens, min(batch_size, max(1, tokens.events // 200)))

    def loss(self) -> float:
        """Mean nats per event; the network is in training mode again afterwards."""
        self.network.eval()
        total, count, state = 0.0, 0, None
        with torch.inference_mode():
            for part, seen in self._running() if self.network.stateful else self._windows():
                mine, number = self.processes.dealt(part)
                loss, state = self.parallel.loss(torch.from_numpy(mine).to(self.device), state, seen)
                events = number * (part.shape[1] - 1 - seen)
                total, count = total + float(loss) * events, count + events
        self.network.train()
        total, count = self.processes.total(np.array([total, count], np.float64))
        return float(total / count)

    def _running(self) -> Iterator[tuple[np.ndarray, int]]:
        """int64 (B, L + 1), one after the other, and 0."""
        columns = min(self.rows.shape[1] - 1, -(-self.events // len(self.rows)))
        for start in range(0, columns, self.length):
            yield self.rows[:, start : start + self.length + 1], 0

    def _windows(self) -> Iterator[tuple[np.ndarray, int]]:
        """int64 (B, L + 1), and how many events of each row are history only."""
        overlap: int = self.network.overlap if self.length > self.network.overlap else 0  # type: ignore[assignment,operator]
        fresh, columns = self.length - overlap, np.arange(self.length + 1)
        yield self.ids[columns][None].astype(np.int64), 0
        starts = np.arange(fresh, len(self.ids) - self.length, fresh)
        starts = starts[:: max(1, -(-len(starts) * fresh // self.events))]
        for first in range(0, len(starts), self.batch_size):
            yield self.ids[starts[first : first + self.batch_size, None] + columns].astype(np.int64), overlap
