"""Units of text -> the numbers of their words, and their sizes: in threads where the text is large.

A small text is read with plain dictionaries, since loading the machine code would take longer. A large one is
cut between units into a part for each thread, and a part into blocks, so that no second copy of the whole text
is made; what comes out does not depend on either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING

import numpy as np

from lmbench.corpus.segmentation import NUL, split_words
from lmbench.corpus.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from lmbench.corpus.wordtable import WordTable

SMALL = 1_000_000
"""Characters of text up to which dictionaries are quicker: loading the machine code takes 0.3 s."""
BLOCK = 1 << 22
"""Characters of a block. A unit is never cut: a longer one is a block of its own."""


@dataclass
class Numbered:
    """The words of a part of the text as numbers.

    ``blocks``: int32 arrays, one after the other the numbers of all words, with 0 after each unit. ``types`` and
    ``counts``: the word of each number and how often it occurs; number 0 is no word. ``exact``: whether the words
    joined (by single spaces, or in Chinese by nothing) give each unit back; None where that is not known.
    """

    blocks: list[np.ndarray]
    types: list[str]
    counts: list[int]
    exact: bool | None


def is_small(units: Sequence[str]) -> bool:
    """Whether ``units`` hold fewer than ``SMALL`` characters."""
    return len(units) < SMALL and sum(map(len, units)) < SMALL


def number_words(units: Sequence[str], *, lower: bool, han: bool) -> list[Numbered]:
    """Number the words of ``units`` as they first occur, in each part of the text for itself."""
    if is_small(units):
        words = [*split_words(units, lower=lower, han=han), NUL]
        numbers: dict[str, int] = defaultdict(count(1).__next__, {NUL: 0})
        block = np.fromiter(map(numbers.__getitem__, words), np.int32, len(words))
        return [Numbered([block], list(numbers), np.bincount(block, minlength=len(numbers)).tolist(), None)]
    from lmbench.compiled import in_threads
    from lmbench.corpus.wordtable import WordTable

    def read(part: Sequence[range]) -> Numbered:
        table = WordTable()
        blocks, exact = _read(table, units, part, lower, han)
        types = table.types()
        return Numbered(blocks, types, table.counts[: len(types)].tolist(), exact)

    return in_threads(read, _parts(units))


def total(parts: Sequence[Numbered]) -> dict[str, int]:
    """How often each word occurs in all ``parts``."""
    counts: dict[str, int] = {}
    for part in parts:
        for word, occurrences in zip(part.types[1:], part.counts[1:], strict=True):
            counts[word] = counts.get(word, 0) + occurrences
    return counts


def exchange(parts: Sequence[Numbered], ids: Mapping[str, int]) -> tuple[list[np.ndarray], bool | None]:
    """The blocks of ``parts``, taken from them, with ``ids`` for numbers; and whether these give the text back.

    ``ids``: of every word; 1 is that of ``<unk>`` and of the words that it hides.
    """
    blocks: list[np.ndarray] = []
    exact: bool | None = True
    for part in parts:
        new = np.fromiter(map(ids.__getitem__, part.types), np.int32, len(part.types))
        new[0] = 0
        hidden = any(part.types[number] != UNKNOWN for number in np.flatnonzero(new == 1))
        exact = exact and part.exact and not hidden
        blocks += [np.take(new, block, out=block, mode="clip") for block in part.blocks]
        part.blocks.clear()  # so that each is freed as soon as it is copied
    return blocks, exact


def look_up(table: WordTable, units: Sequence[str], *, lower: bool, han: bool) -> tuple[list[np.ndarray], bool]:
    """Blocks of the numbers that ``table`` (with ``unknown``) has for the words of ``units``, 0 after each unit.

    And whether these words give the text back.
    """
    from lmbench.compiled import in_threads

    def read(part: Sequence[range]) -> tuple[list[np.ndarray], bool]:
        return _read(table.shared(), units, part, lower, han)

    parts = in_threads(read, _parts(units))
    return [block for blocks, _ in parts for block in blocks], all(exact for _, exact in parts)


def _read(
    table: WordTable, units: Sequence[str], part: Sequence[range], lower: bool, han: bool
) -> tuple[list[np.ndarray], bool]:
    blocks, exact = [], True
    for block in part:
        text = _text(units, block)
        if lower:
            written, text = text, text.lower()
            exact = exact and text == written
        blocks.append(table.read(text, han=han))
    return blocks, exact and table.exact


def unit_sizes(units: Sequence[str]) -> np.ndarray:
    """int64 (U, 3): words (between white space of any kind), characters, and bytes (UTF-8) of each unit."""
    if is_small(units):
        rows = [(len(unit.split()), len(unit), len(unit.encode())) for unit in units]
        return np.array(rows, np.int64).reshape(-1, 3)
    from lmbench.compiled import in_threads
    from lmbench.corpus.unitsizes import measure

    sizes = np.empty((len(units), 3), np.int64)

    def read(part: Sequence[range]) -> None:
        for block in part:
            text = np.frombuffer(_text(units, block).encode(), np.uint8)
            measure(text, sizes[block.start : block.stop])

    in_threads(read, _parts(units))
    return sizes


def _text(units: Sequence[str], block: range) -> str:
    """The units of ``block``, NUL after each."""
    return NUL.join([*units[block.start : block.stop], ""])


def _parts(units: Sequence[str]) -> list[list[range]]:
    """All units as ranges of about ``BLOCK`` characters, in a list for each thread."""
    from lmbench.compiled import threads

    ends = np.cumsum(np.fromiter(map(len, units), np.int64, len(units)) + 1)
    workers = threads()
    blocks = workers * int(-(-ends[-1] // (workers * BLOCK)))
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, blocks) // blocks, "right")
    bounds = [0, *cuts.tolist(), len(units)]
    ranges = [range(a, b) for a, b in pairwise(bounds)]
    each = blocks // workers
    return [[block for block in ranges[i : i + each] if block] for i in range(0, blocks, each)]
