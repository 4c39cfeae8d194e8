"""Who differs from whom -> letters: two models share one if and only if they do not differ significantly.

The compact letter display of Piepho (2004), by its insert-and-absorb algorithm: at first one letter stands at all
models. For each pair that differs, every letter that stands at both is split into one without the first and one without
the second, and a letter that stands only where another does is dropped. At last go those whose pairs all share others.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

ALPHABET = string.ascii_lowercase + string.ascii_uppercase


def compact_letters(differ: np.ndarray, order: Sequence[int] | None = None, skip: int = 0) -> list[str]:
    """The letters of each of M models, such as ``ab``; ``a`` stands at the first in ``order``.

    ``differ``: bool (M, M), symmetric: which pairs differ. ``order``: the models from the best to the worst, so that
    letters run down a table. ``skip``: letters that another display in the same table has used.

    >>> differ = np.zeros((3, 3), bool)
    >>> differ[0, 2] = differ[2, 0] = True
    >>> compact_letters(differ)
    ['a', 'ab', 'b']
    """
    count = len(differ)
    sequence = list(range(count) if order is None else order)
    columns = [frozenset(range(count))] if count else []
    pairs = [(one, other) for one in range(count) for other in range(one) if differ[one, other]]
    for pair in pairs:
        columns = _absorbed([part for column in columns for part in _split(column, *pair)])
    columns = _swept(columns)
    place = {model: number for number, model in enumerate(sequence)}
    columns.sort(key=lambda column: sorted(place[model] for model in column))
    return [
        "".join(_letter(number + skip) for number, column in enumerate(columns) if model in column)
        for model in range(count)
    ]


def _split(column: frozenset[int], one: int, other: int) -> list[frozenset[int]]:
    """A letter that stands at both of a pair that differs becomes two, each without one of them."""
    return [column - {one}, column - {other}] if {one, other} <= column else [column]


def _absorbed(columns: list[frozenset[int]]) -> list[frozenset[int]]:
    """Without letters that stand only where another stands as well."""
    kept: list[frozenset[int]] = []
    for column in sorted(set(columns), key=lambda column: (-len(column), sorted(column))):
        if not any(column <= larger for larger in kept):
            kept.append(column)
    return kept


def _swept(columns: list[frozenset[int]]) -> list[frozenset[int]]:
    """Without letters whose every pair shares another letter as well."""
    for column in sorted(columns, key=lambda column: (len(column), sorted(column))):
        others = [other for other in columns if other != column]
        if all(any({one, two} <= other for other in others) for one in column for two in column):
            columns = others
    return columns


def _letter(number: int) -> str:
    """a ... z, A ... Z, then a1, b1, ...: no run has so many."""
    turn, place = divmod(number, len(ALPHABET))
    return ALPHABET[place] + (str(turn) if turn else "")
