"""Contexts and words -> log probabilities: the n-grams of a model, looked up many at a time.

``log p(w | h)`` is that of the longest stored n-gram that ends ``h w``, plus the backoff weights of the contexts
that had to be given up, as in an ARPA file. Every suffix and every context of a stored n-gram is stored too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads

CHUNK = 1 << 14
"""Tokens looked up at a time: few enough that what is known of them stays in the cache from order to order."""


@dataclass(frozen=True)
class Grams:
    """The G stored n-grams of one order, by (context, last word), numbered as ``counting`` numbers them.

    ``begins``: int32 (C + 1,), where the children of each context, an n-gram of one order below, begin. ``words``:
    int32 (G,), last word, ascending within a context; order 1 holds all V types. ``log_probs``: float32 (G,), nats, of
    the last word after the others, all lower orders included. ``log_backoffs``: float32 (G,), nats, weight of the
    shorter history where this n-gram is the history of an unseen word; empty at the highest order.
    """

    begins: np.ndarray
    words: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    @property
    def context(self) -> np.ndarray:
        """int32 (G,): number of the n-gram without its last word, one order below."""
        return np.repeat(np.arange(len(self.begins) - 1, dtype=np.int32), np.diff(self.begins))


@dataclass(frozen=True)
class Table:
    """``orders[k - 1]`` holds the k-grams; ``vocabulary_size``: V, the boundary included."""

    orders: tuple[Grams, ...]
    vocabulary_size: int

    @property
    def entries(self) -> int:
        """Stored n-grams of all orders."""
        return sum(map(len, self.orders))

    def check(self) -> None:
        """Raise ValueError where the arrays cannot belong together, as after damage to a file.

        Looks at types and lengths alone, so it takes no longer for a large table; look-up itself never reads
        outside an array, whatever stands in it.
        """
        contexts = 1
        for k, grams in enumerate(self.orders, 1):
            size = self.vocabulary_size if k == 1 else len(grams.words)
            expected = {
                "begins": (np.int32, contexts + 1),
                "words": (np.int32, size),
                "log_probs": (np.float32, size),
                "log_backoffs": (np.float32, size if k < len(self.orders) else 0),
            }
            for name, (kind, length) in expected.items():
                array = getattr(grams, name)
                if array.dtype != kind or array.shape != (length,):
                    raise ValueError(
                        f"order {k}: {name} is {array.dtype} {array.shape} where {kind.__name__} ({length},) belongs"
                    )
            if int(grams.begins[0]) != 0 or int(grams.begins[-1]) != size:
                raise ValueError(f"order {k}: the n-grams are not those of their contexts")
            contexts = size

    def log_probs(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """float64 (N,), nats: ``ln p(ids[i] | history)`` at every position, that of an empty history where one starts.

        ``ids``: int (N,). ``starts``: bool (N,), beginnings of rows; at a boundary history starts by itself.
        """
        return self.look_up(ids, starts)[0]

    def look_up(self, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As ``log_probs``, and how each was found: float64, int8, int8 (N,).

        The second array is the order of the n-gram that was found, 1 where not even the last word before it helped;
        the third is the length of the longest stored history that any word was seen after, 0 to the highest order - 1.
        """
        ids, starts = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(starts, bool)
        result, found, known = np.empty(len(ids)), np.ones(len(ids), np.int8), np.zeros(len(ids), np.int8)
        overlap = len(self.orders) - 1

        def chunk(first: int) -> None:
            begin = max(0, first - overlap)  # what the chunk may look back on
            part, own = slice(begin, first + CHUNK), slice(first, first + CHUNK)
            answers = np.empty(len(ids[part])), np.ones(len(ids[part]), np.int8), np.zeros(len(ids[part]), np.int8)
            self._look_up(ids[part], starts[part], *answers)
            result[own], found[own], known[own] = (answer[first - begin :] for answer in answers)

        in_threads(chunk, range(0, len(ids), CHUNK))
        return result, found, known

    def _look_up(
        self, ids: np.ndarray, starts: np.ndarray, result: np.ndarray, found: np.ndarray, known: np.ndarray
    ) -> None:
        """Fill the three answers, order by order."""
        result[:] = self.orders[0].log_probs[ids]
        numbers, longer = ids.copy(), np.empty_like(ids)
        for k, (lower, grams) in enumerate(pairwise(self.orders), 2):
            arrays = (lower.log_backoffs, grams.begins, grams.words, grams.log_probs)
            _extend(k, ids, starts, numbers, longer, *arrays, result, found, known)
            numbers, longer = longer, numbers

    def next_log_probs(self, histories: list[np.ndarray]) -> np.ndarray:
        """float64 (B, V), nats: the distribution of the next word after each history (ids, oldest first)."""
        result = np.tile(self.orders[0].log_probs.astype(np.float64), (len(histories), 1))
        for lower, grams, contexts in self._contexts(histories):
            _fill_next(contexts, lower.log_backoffs, grams.begins, grams.words, grams.log_probs, result)
        return result

    def _contexts(self, histories: list[np.ndarray]) -> Iterator[tuple[Grams, Grams, np.ndarray]]:
        """For each order from 2: the grams below, the grams, and int32 (B,), the contexts of the histories or -1."""
        recent = [history[-max(1, len(self.orders) - 1) :] for history in histories]
        rows = [np.append(history, 0) for history in recent]  # any word will do: only its contexts are asked for
        ends = np.cumsum([len(row) for row in rows]) - 1
        starts = np.zeros(int(ends[-1]) + 1 if rows else 0, bool)
        starts[[0, *(ends[:-1] + 1)][: len(rows)]] = True
        ids = np.concatenate(rows).astype(np.int32) if rows else np.empty(0, np.int32)
        unused = np.empty(len(ids)), np.ones(len(ids), np.int8), np.zeros(len(ids), np.int8)
        numbers, longer = ids.copy(), np.empty_like(ids)
        for k, (lower, grams) in enumerate(pairwise(self.orders), 2):
            contexts = np.where((ids[ends - 1] == 0) & (k > 2), np.int32(-1), numbers[ends - 1])
            yield lower, grams, contexts
            arrays = (lower.log_backoffs, grams.begins, grams.words, grams.log_probs)
            _extend(k, ids, starts, numbers, longer, *arrays, *unused)
            numbers, longer = longer, numbers


@compiled
def _extend(k, ids, starts, numbers, longer, backoffs, begins, words, log_probs, result, found, known):
    """From the (k-1)-grams to the k-grams that end at each position.

    ``numbers``: int32 (n,), the (k-1)-gram that ends there, -1 where it is not stored; ``longer`` receives the k-gram.
    ``result``, ``found``, ``known`` are renewed where the history is stored. An n-gram whose suffix is not stored
    is not looked for; one whose history has a boundary inside does not exist.
    """
    for i in range(len(ids)):
        longer[i] = -1
        if i == 0 or starts[i] or (k > 2 and ids[i - 1] == 0):
            continue
        context = numbers[i - 1]
        if context < 0:
            continue
        begin = max(begins[context], 0)
        end = min(begins[context + 1], len(words))
        if begin < end:
            known[i] = k - 1
        if numbers[i] >= 0 and begin < end:
            word = ids[i]
            size = end - begin
            while size > 1:  # the last child whose word is not above the one that is looked for
                half = size >> 1
                begin += half if words[begin + half] <= word else 0
                size -= half
            if words[begin] == word:
                longer[i] = begin
                result[i] = log_probs[begin]
                found[i] = k
                continue
        result[i] += backoffs[context]


@compiled
def _fill_next(contexts, backoffs, begins, words, log_probs, result):
    """Continue each row of ``result``, (B, V), from the order below by the children of its context."""
    for b in range(len(contexts)):
        if contexts[b] >= 0:
            for v in range(result.shape[1]):
                result[b, v] += backoffs[contexts[b]]
            for n in range(max(begins[contexts[b]], 0), min(begins[contexts[b] + 1], len(words))):
                if 0 <= words[n] < result.shape[1]:
                    result[b, words[n]] = log_probs[n]
