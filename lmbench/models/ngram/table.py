"""Contexts and words -> log probabilities: the n-grams of a model, looked up many at a time.

``log p(w | h)`` is that of the longest stored n-gram that ends ``h w``, plus the backoff weights of the contexts
that had to be given up, as in an ARPA file. Every suffix and every context of a stored n-gram is stored too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmbench.models.ngram.counting import sort, word_bits

CHUNK = 1 << 17
"""Tokens looked up at a time: bounds the temporary arrays whatever the length of a row."""


@dataclass(frozen=True)
class Grams:
    """The G stored n-grams of one order, by (context, last word).

    ``keys``: int64 (G,), ascending, ``context << bits | word``; order 1 holds all V types. ``log_probs``: float64
    (G,), nats, of the last word after the others, interpolated with all lower orders. ``log_backoffs``: float64
    (G,), nats, weight of the shorter history where this n-gram is the history of an unseen word; empty at the
    highest order.
    """

    keys: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class Table:
    """``orders[k - 1]`` holds the k-grams; ``vocabulary_size``: V, the boundary included."""

    orders: tuple[Grams, ...]
    vocabulary_size: int

    @property
    def entries(self) -> int:
        """Stored n-grams of all orders."""
        return sum(map(len, self.orders))

    @property
    def bits(self) -> int:
        """Width of a word in a key."""
        return word_bits(self.vocabulary_size)

    def check(self) -> None:
        """Raise ValueError where the arrays cannot belong together, as after damage to a file."""
        for k, grams in enumerate(self.orders, 1):
            size = self.vocabulary_size if k == 1 else len(grams.keys)
            backoffs = size if k < len(self.orders) else 0
            shapes = [(grams.keys, np.int64, size), (grams.log_probs, np.float64, size)]
            for array, kind, length in [*shapes, (grams.log_backoffs, np.float64, backoffs)]:
                if array.dtype != kind or array.shape != (length,):
                    raise ValueError(
                        f"order {k}: {array.dtype} {array.shape} where {kind.__name__} ({length},) belongs"
                    )
            if k > 1 and size and int(grams.keys[-1] >> self.bits) >= len(self.orders[k - 2]):
                raise ValueError(f"order {k}: an n-gram has no context")
            if not (np.diff(grams.keys) > 0).all():
                raise ValueError(f"order {k}: the n-grams are not in order")

    def log_probs(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """float64 (N,), nats: ``ln p(ids[i] | history)`` at every position, that of an empty history where one starts.

        ``ids``: int (N,). ``starts``: bool (N,), beginnings of rows; at a boundary history starts by itself.
        """
        result = np.empty(len(ids))
        overlap = len(self.orders) - 1
        for first in range(0, len(ids), CHUNK):
            begin = max(0, first - overlap)  # what the chunk may look back on
            part = slice(begin, first + CHUNK)
            result[first : first + CHUNK] = self._log_probs(ids[part], starts[part])[first - begin :]
        return result

    def _log_probs(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        result = self.orders[0].log_probs[ids]
        for k, places, contexts, found in self._walk(ids, starts):
            result[places] += self.orders[k - 2].log_backoffs[contexts]
            hits = found >= 0
            result[places[hits]] = self.orders[k - 1].log_probs[found[hits]]
        return result

    def next_log_probs(self, histories: list[np.ndarray]) -> np.ndarray:
        """float64 (B, V), nats: the distribution of the next word after each history (ids, oldest first)."""
        recent = [history[-max(1, len(self.orders) - 1) :] for history in histories]
        rows = [np.append(history, 0) for history in recent]  # any word will do: only its contexts are asked for
        lengths = np.array([len(row) for row in rows], np.int64)
        last = np.cumsum(lengths) - 1
        starts = np.zeros(int(lengths.sum()), bool)
        starts[last - lengths + 1] = True
        row_of = np.full(len(starts), -1)
        row_of[last] = np.arange(len(rows))
        result = np.tile(self.orders[0].log_probs, (len(rows), 1))
        mask = (1 << self.bits) - 1
        for k, places, contexts, _ in self._walk(np.concatenate(rows), starts):
            shorter, grams = self.orders[k - 2], self.orders[k - 1]
            asked = row_of[places] >= 0
            for b, context in zip(row_of[places[asked]].tolist(), contexts[asked].tolist(), strict=True):
                begin, end = np.searchsorted(grams.keys, (context << self.bits, (context + 1) << self.bits))
                result[b] += shorter.log_backoffs[context]
                result[b, grams.keys[begin:end] & mask] = grams.log_probs[begin:end]
        return result

    def _walk(self, ids: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """For each order k from 2: the positions whose context of k - 1 words is stored, and what is found there.

        Yields k and three int arrays (n,): positions in ``ids``, the contexts' numbers, and the numbers of the
        k-grams that end there, or -1. An n-gram whose suffix is not stored is not looked for.
        """
        lengths = _history_lengths(ids, starts | (ids == 0))
        numbers = ids.astype(np.int64)  # g_{k-1}, -1 where the (k-1)-gram is not stored
        for k in range(2, len(self.orders) + 1):
            contexts = np.empty_like(numbers)
            contexts[0], contexts[1:] = -1, numbers[:-1]
            places = np.flatnonzero((contexts >= 0) & (lengths >= k - 1))
            if not len(places):
                return
            contexts = contexts[places]
            found = np.full(len(places), -1, np.int64)
            likely = np.flatnonzero(numbers[places] >= 0)
            keys = (contexts[likely] << self.bits) | ids[places[likely]]
            found[likely] = _find(self.orders[k - 1].keys, keys)
            yield k, places, contexts, found
            numbers = np.full(len(ids), -1, np.int64)
            numbers[places] = found


def _history_lengths(ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """int32 (N,): how many tokens position i may look back on: those since the last start before it, that one included.

    ``ids``: int (N,). ``starts``: bool (N,), where history begins anew: boundaries and beginnings of rows.
    """
    positions = np.arange(len(ids), dtype=np.int32)
    begins = np.maximum.accumulate(np.where(starts, positions, np.int32(0)))
    lengths = np.zeros(len(ids), np.int32)
    lengths[1:] = positions[1:] - begins[:-1]
    return lengths


def _find(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """int64 (n,): where each of ``keys`` stands in ``sorted_keys``, -1 where it does not."""
    order, ascending = sort(keys)  # neighbours then search the same cache lines, which halves the time
    at = np.searchsorted(sorted_keys, ascending)
    at[at == len(sorted_keys)] = 0
    at[sorted_keys.take(at) != ascending] = -1
    found = np.empty_like(at)
    found[order] = at
    return found
