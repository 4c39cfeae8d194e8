"""Contexts and words -> log probabilities: the n-grams of a model, looked up many at a time.

``log p(w | h)`` is that of the longest stored n-gram that ends ``h w``, plus the backoff weights of the contexts
that had to be given up, as in an ARPA file. Every suffix and every context of a stored n-gram is stored too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads
from lmbench.models.ngram.index import Index, make_index

PAYS = 6
"""N-grams that are indexed in the time that a look-up without index loses on one word."""
CHUNK = 1 << 15
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
    _indices: Indices = field(default_factory=lambda: Indices(), repr=False, compare=False)

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
        the third is the length of the longest stored history, 0 to the highest order - 1.
        """
        ids, starts = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(starts, bool)
        result, found, known = np.empty(len(ids)), np.empty(len(ids), np.int8), np.empty(len(ids), np.int8)
        overlap = len(self.orders) - 1
        indices = self._indices.after(len(ids), self)

        def chunk(first: int) -> None:
            begin = max(0, first - overlap)  # what the chunk may look back on
            part, own = slice(begin, first + CHUNK), slice(first, first + CHUNK)
            answers = self._look_up(ids[part], starts[part], indices)
            result[own], found[own], known[own] = (answer[first - begin :] for answer in answers)

        in_threads(chunk, range(0, len(ids), CHUNK))
        return result, found, known

    def _look_up(
        self, ids: np.ndarray, starts: np.ndarray, indices: list[Index | None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Order by order: the contexts, the n-grams that continue them, and what follows for the answers."""
        result, found = self.orders[0].log_probs[ids].astype(np.float64), np.ones(len(ids), np.int8)
        known, scratch = np.zeros(len(ids), np.int8), np.empty((2, len(ids)), np.int64)
        numbers, longer, contexts = ids.copy(), np.empty_like(ids), np.empty_like(ids)
        for k, (lower, grams) in enumerate(pairwise(self.orders), 2):
            _look_back(k, ids, starts, numbers, contexts)
            index = indices[k - 2]
            if index is None:
                _search(contexts, numbers, ids, grams.begins, grams.words, longer)
            else:
                index.find(contexts, ids, longer, scratch)
            arrays = (lower.log_probs, lower.log_backoffs, grams.log_probs)
            _settle(k, k == len(self.orders), contexts, numbers, longer, *arrays, result, found, known)
            numbers, longer = longer, numbers
        return result, found, known

    def next_log_probs(self, histories: list[np.ndarray]) -> np.ndarray:
        """float64 (B, V), nats: the distribution of the next word after each history (ids, oldest first)."""
        layers = list(self._contexts(histories))
        weights = np.zeros((len(layers) + 1, len(histories)))  # what is left to each order after the longer histories
        for k in range(len(layers) - 1, -1, -1):
            lower, _, contexts = layers[k]
            weights[k] = weights[k + 1]
            weights[k, contexts >= 0] += lower.log_backoffs[contexts[contexts >= 0]]
        result = weights[0][:, None] + self.orders[0].log_probs
        for (_, grams, contexts), weight in zip(layers, weights[1:], strict=True):
            _fill_next(contexts, weight, grams.begins, grams.words, grams.log_probs, result)
        return result

    def _contexts(self, histories: list[np.ndarray]) -> Iterator[tuple[Grams, Grams, np.ndarray]]:
        """For each order from 2: the grams below, the grams, and int32 (B,), the contexts of the histories or -1."""
        recent = [history[-max(1, len(self.orders) - 1) :] for history in histories]
        rows = [np.append(history, 0) for history in recent]  # any word will do: only its contexts are asked for
        ends = np.cumsum([len(row) for row in rows], dtype=np.int64) - 1
        ids = np.concatenate([np.empty(0, np.int32), *rows]).astype(np.int32)
        starts = np.zeros(len(ids), bool)
        starts[[0, *(ends[:-1] + 1)][: len(rows)]] = True
        numbers, longer, contexts = ids.copy(), np.empty_like(ids), np.empty_like(ids)
        for k, (lower, grams) in enumerate(pairwise(self.orders), 2):
            _look_back(k, ids, starts, numbers, contexts)
            yield lower, grams, contexts[ends]
            _search(contexts, numbers, ids, grams.begins, grams.words, longer)
            numbers, longer = longer, numbers


class Indices:
    """The hash indices of a table, made once so many words were asked for that they pay."""

    def __init__(self) -> None:
        self.asked = 0
        self.made: list[Index | None] | None = None

    def after(self, asked: int, table: Table) -> list[Index | None]:
        """One for each order from 2, when ``asked`` more words are looked up; None for those that are not made."""
        self.asked += asked
        if self.made is None and self.asked * PAYS > table.entries:
            arrays = [(grams.begins, grams.words) for grams in table.orders[1:]]
            self.made = in_threads(lambda pair: make_index(*pair, table.vocabulary_size), arrays)
        return self.made or [None] * (len(table.orders) - 1)


@compiled
def _look_back(k, ids, starts, numbers, contexts):
    """The (k-1)-gram before each position, -1 where there is none: none is stored, or a boundary stands inside."""
    for i in range(len(ids)):
        outside = i == 0 or starts[i] or (k > 2 and ids[i - 1] == 0)
        contexts[i] = -1 if outside else numbers[i - 1]


@compiled
def _search(contexts, numbers, ids, begins, words, longer):
    """The n-gram that continues each context by the word there, -1 where it is not stored, by binary search.

    ``numbers``: the same without its first word; where that is not stored, the longer one is not looked for.
    """
    for i in range(len(ids)):
        longer[i] = -1
        if contexts[i] >= 0 and numbers[i] >= 0:
            begin = max(begins[contexts[i]], 0)
            size = min(begins[contexts[i] + 1], len(words)) - begin
            while size > 1:  # the last child whose word is not above the one that is looked for
                half = size >> 1
                begin += half if words[begin + half] <= ids[i] else 0
                size -= half
            if size == 1 and words[begin] == ids[i]:
                longer[i] = begin


@compiled
def _settle(k, highest, contexts, numbers, longer, lower_log_probs, backoffs, log_probs, result, found, known):
    """Order k's part in the answers. A probability is read once, when no longer n-gram can replace it.

    Up to there ``result`` holds the unigram's. ``numbers``: the n-gram one order below.
    """
    for i in range(len(contexts)):
        if contexts[i] >= 0:
            known[i] = k - 1
        if longer[i] >= 0:
            found[i] = k
            if highest:
                result[i] = log_probs[longer[i]]
        else:
            if k > 2 and found[i] == k - 1:
                result[i] = lower_log_probs[numbers[i]]
            if contexts[i] >= 0:
                result[i] += backoffs[contexts[i]]


@compiled
def _fill_next(contexts, weights, begins, words, log_probs, result):
    """Put the children of each row's context, with the row's weight, into ``result``, (B, V)."""
    for b in range(len(contexts)):
        if contexts[b] >= 0:
            for n in range(max(begins[contexts[b]], 0), min(begins[contexts[b] + 1], len(words))):
                if 0 <= words[n] < result.shape[1]:
                    result[b, words[n]] = weights[b] + log_probs[n]
