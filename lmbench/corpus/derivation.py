"""Rules, words and a seed -> an endless stream of derived sentences, many at a time.

Every symbol of every sentence is rewritten in one array operation, so a million words take about a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 1024
"""Sentences derived side by side. Part of the definition of a sample: another number gives other text."""


@dataclass(frozen=True)
class Leaves:
    """Derived sentences as their words. ``words``: int64 (N,), entries of ``Grammar.words``; ``starts``:
    int64 (S + 1,), where each sentence begins; ``log_probs``: float64 (S,), nats, of each derivation."""

    words: np.ndarray
    starts: np.ndarray
    log_probs: np.ndarray

    def rows(self) -> Iterator[np.ndarray]:
        """The words of each sentence."""
        for first, last in zip(self.starts[:-1], self.starts[1:], strict=True):
            yield self.words[first:last]


class Derivation:
    """Draws sentences of a grammar: ``rules`` (left, right side, probability), ``words`` (preterminal, word,
    probability), both grouped by their first entry; symbol 0 is the start and ``symbols`` their number."""

    def __init__(
        self,
        symbols: int,
        rules: tuple[tuple[int, tuple[int, ...], float], ...],
        words: tuple[tuple[int, str, float], ...],
    ) -> None:
        self._rules, self._words = Choices(symbols, rules), Choices(symbols, words)
        sides = [right for _, right, _ in rules]
        self._right = np.array([symbol for side in sides for symbol in side])  # right sides, end to end
        self._starts = np.cumsum([0, *map(len, sides)])  # where each begins

    def stream(self, seed: int | tuple[int, ...]) -> Iterator[Leaves]:
        """``BLOCK`` sentences at a time, without end."""
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        while True:
            yield self._block(random)

    def _block(self, random: np.random.Generator) -> Leaves:
        """Rewrite all symbols of all sentences at once until only preterminals are left, then draw the words."""
        row, symbols = np.arange(BLOCK), np.zeros(BLOCK, np.int64)
        log_probs = np.zeros(BLOCK)
        while len(open_ := np.flatnonzero(self._rules.has[symbols])):
            chosen = self._rules.draw(symbols[open_], random)
            log_probs += np.bincount(row[open_], self._rules.log_probs[chosen], BLOCK)
            size, source = np.ones(len(symbols), np.int64), np.full(len(symbols), -1)
            size[open_] = self._starts[chosen + 1] - self._starts[chosen]
            source[open_] = self._starts[chosen]
            inside = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)  # place in its right side
            source, row = np.repeat(source, size), np.repeat(row, size)
            symbols = np.where(source < 0, np.repeat(symbols, size), self._right[source + inside])
        words = self._words.draw(symbols, random)
        log_probs += np.bincount(row, self._words.log_probs[words], BLOCK)
        return Leaves(words, np.searchsorted(row, np.arange(BLOCK + 1)), log_probs)


class Choices:
    """Draws one of a symbol's entries by its probability: entry i of symbol A covers a piece of [A, A + 1).

    Only ``random()``, additions and a search are used, so that a seed gives the same text everywhere.
    """

    def __init__(self, symbols: int, entries: tuple[tuple[int, object, float], ...]) -> None:
        left = np.array([symbol for symbol, _, _ in entries])
        self.log_probs = np.log([probability for _, _, probability in entries])
        self.has = np.bincount(left, minlength=symbols) > 0
        self._last = np.searchsorted(left, np.arange(symbols), "right") - 1
        ends, total = np.empty(len(entries)), 0.0
        for number, (symbol, _, probability) in enumerate(entries):
            total = probability + (total if number and left[number - 1] == symbol else 0.0)
            ends[number] = symbol + total
        ends[self._last[self.has]] = np.flatnonzero(self.has) + 1  # not one rounding error below or above it
        self._ends = ends

    def draw(self, symbols: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """int64, as many as ``symbols``: the entry drawn for each."""
        found = np.searchsorted(self._ends, symbols + random.random(len(symbols)), "right")
        return np.minimum(found, self._last[symbols])
