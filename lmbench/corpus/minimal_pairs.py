"""Grammar -> minimal pairs: a sentence of the grammar, and nearly the same words with probability 0.

A pair keeps the length and differs in one word, or in the order of two neighbours. Linzen et al. (2016);
Warstadt et al. (2020).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lmbench.corpus.notation import Phenomenon
    from lmbench.corpus.pcfg import Grammar

PATIENCE = 20_000
"""Sentences looked at for each phenomenon; a rare one gets fewer pairs."""


@dataclass(frozen=True)
class MinimalPair:
    """``good`` belongs to the language, ``bad`` does not, for one reason: ``phenomenon``."""

    phenomenon: str
    good: str
    bad: str


def minimal_pairs(grammar: Grammar, count: int = 100, seed: int | tuple[int, ...] = 0) -> tuple[MinimalPair, ...]:
    """At most ``count`` pairs for each phenomenon that the grammar file names, every ``good`` another sentence.

    Each ``good`` is sampled from the grammar, and ``bad`` is proved to have probability 0 by parsing it.
    """
    key = (seed,) if isinstance(seed, int) else seed
    pairs: list[MinimalPair] = []
    for number, phenomenon in enumerate(grammar.phenomena):
        found: dict[str, str] = {}
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*key, number, 1))))
        for looked, row in enumerate(_sentences(grammar, (*key, number))):
            if len(found) == count or looked == PATIENCE:
                break
            bad = _change(grammar, phenomenon, row, random)
            good = _write(grammar, row)
            if bad is not None and good not in found and grammar.log_prob(bad) == -np.inf:
                found[good] = bad
        pairs += [MinimalPair(phenomenon.name, good, bad) for good, bad in found.items()]
    return tuple(pairs)


def _sentences(grammar: Grammar, seed: tuple[int, ...]) -> Iterator[list[int]]:
    for leaves in grammar.derive(seed):
        yield from (row.tolist() for row in leaves.rows())


def _write(grammar: Grammar, row: list[int]) -> str:
    return grammar.separator.join(grammar.words[word][1] for word in row)


def _change(grammar: Grammar, phenomenon: Phenomenon, row: list[int], random: np.random.Generator) -> str | None:
    """The sentence with one change, or None where it offers no place for it."""
    names = [grammar.symbols[grammar.words[word][0]].split(".") for word in row]
    if not phenomenon.feature:
        places = [place for place, name in enumerate(names[:-1]) if name[0] in phenomenon.names]
        if not places:
            return None
        place = places[int(random.random() * len(places))]
        return _write(grammar, [*row[:place], row[place + 1], row[place], *row[place + 2 :]])
    values = grammar.features[phenomenon.feature]
    held = [next((part for part in name[1:] if part in values), None) for name in names]
    places = []
    for place, name in enumerate(names):
        before = next((value for value in reversed(held[:place]) if value), held[place])
        after = next((value for value in held[place + 1 :] if value), held[place])
        apart = (before != held[place] or not phenomenon.across) and (after != held[place] or not phenomenon.ahead)
        if name[0] in phenomenon.names and held[place] and apart:
            places.append(place)
    if not places:
        return None
    place = places[int(random.random() * len(places))]
    others = [value for value in values if value != held[place]]
    value = others[int(random.random() * len(others))]
    symbol = ".".join(value if part == held[place] else part for part in names[place])
    word = _counterpart(grammar, row[place], symbol, random)
    if word is None or grammar.words[word][1] in phenomenon.without:
        return None
    return _write(grammar, [*row[:place], word, *row[place + 1 :]])


def _counterpart(grammar: Grammar, word: int, symbol: str, random: np.random.Generator) -> int | None:
    """The other form of the same word where the file writes them together, else any word of ``symbol``."""
    if symbol not in grammar.ranges:
        return None
    first, last = grammar.ranges[symbol]
    own = grammar.words[word][0]
    if grammar.lines[own] == grammar.lines[grammar.words[first][0]]:
        return first + word - grammar.ranges[grammar.symbols[own]][0]
    return first + int(random.random() * (last - first))
