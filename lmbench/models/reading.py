"""Model + prefixes -> the distribution after each, which goes on token by token without reading them anew.

A text of T tokens that is written token by token would be read T times over. A model that can keep what it made of its
history has a ``Reading`` of its own: the state of a recurrent network, the keys and values of attention. Any other is
asked for ``next_log_probs`` of the prefixes as they grow, and one that looks back on a few tokens only, with these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.models.base import LanguageModel, Reading, Resumable
from lmbench.models.distributions import reach_of


def open_reading(model: LanguageModel, prefixes: Sequence[np.ndarray]) -> Reading:
    """What ``model`` expects after ``prefixes``, int (T,) each and all of one length, which open with the boundary."""
    return model.reading(prefixes) if isinstance(model, Resumable) else Rereading(model, prefixes)


class Rereading(Reading):
    """The prefixes themselves, read anew for every token."""

    log_probs: np.ndarray

    def __init__(self, model: LanguageModel, prefixes: Sequence[np.ndarray]) -> None:
        self.model, self.rows = model, np.stack(prefixes).astype(np.int64)  # (B, T)
        self.reach = reach_of(model)
        self._ask()

    def append(self, ids: np.ndarray) -> None:
        self.rows = np.concatenate((self.rows, ids[:, None]), 1)
        self._ask()

    def keep(self, rows: np.ndarray) -> None:
        self.rows, self.log_probs = self.rows[rows], self.log_probs[rows]

    def _ask(self) -> None:
        seen = self.rows if self.reach is None else self.rows[:, -self.reach :]
        self.log_probs = self.model.next_log_probs(Batch.of_prefixes(list(seen)))
