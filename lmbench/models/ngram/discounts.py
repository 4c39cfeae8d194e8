"""Counts of counts -> what is taken from an n-gram seen once, twice, ...: Kneser-Ney, absolute, Good-Turing.

n_j is the number of n-grams of one order that were seen j times, and Y = n_1 / (n_1 + 2 n_2)::

    one discount         D = Y                                       Ney, Essen & Kneser (1994)
    modified             D_j = j - (j + 1) Y n_{j+1} / n_j           Chen & Goodman (1999); j = 1, 2, 3 or more
    Good-Turing          r* = (r + 1) n_{r+1} / n_r                  Good (1953)
    up to a count k      d_r = (r*/r - A) / (1 - A),                 Katz (1987)
                         A = (k + 1) n_{k+1} / n_1                   and r - r d_r is taken; nothing above k

Small texts, characters and long n-grams have counts of counts that give no discount: then there is a fallback, never an
error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmbench.errors import UsageError

Discounts = tuple[float, float, float]
"""D_1, D_2, D_3+: what is taken from an n-gram seen once, twice, more often."""

FALLBACK: Discounts = (0.5, 1.0, 1.5)
"""Discounts of an order whose counts of counts give none, as small corpora and long or character n-grams do."""
FALLBACK_ONE = 0.5
"""The same where there is but one discount."""
BLOCK = 1 << 18
"""Counts that are looked at together, so that no array as long as all of them is made."""
RELIABLE = 7
"""k of Katz's discounting: n-grams seen more often than this keep their counts."""


def estimate_discounts(counts: np.ndarray) -> Discounts | None:
    """D_1, D_2, D_3+ from the counts of one order, int (G,) (Chen & Goodman 1999; the module gives the equation).

    None where n_1, n_2 or n_3 is 0, or some D_j is not above 0 and at most j: then there is no estimate.

    >>> estimate_discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4]))  # Y = 4 / (4 + 2 * 2) = 1/2
    (0.5, 1.25, 1.0)
    >>> estimate_discounts(np.array([1, 1, 3])) is None
    True
    """
    n = counts_of_counts(counts, 4)
    if not (n[1] and n[2] and n[3]):
        return None
    share = n[1] / (n[1] + 2 * n[2])
    first, second, third = (j - (j + 1) * share * n[j + 1] / n[j] for j in (1, 2, 3))
    discounts = (first, second, third)
    return discounts if _possible(discounts) else None


def estimate_discount(counts: np.ndarray) -> float | None:
    """D from the counts of one order, int (G,); None where no n-gram was seen once, or none twice.

    >>> estimate_discount(np.array([1, 1, 2, 9]))  # 2 / (2 + 2 * 1)
    0.5
    """
    n = counts_of_counts(counts, 2)
    return n[1] / (n[1] + 2 * n[2]) if n[1] and n[2] else None


def katz_discounts(counts: np.ndarray, reliable: int = RELIABLE) -> tuple[np.ndarray, bool]:
    """What is taken from counts of 0, 1, ... k and above k at the end: float64 (k + 2,). And whether all is well.

    k is ``reliable``, or the next lower one for which n_{k+1} is not 0. A count whose ratio r*/r is above one, or
    whose d_r is not above 0, as happens where counts of counts do not fall, keeps what it has; where that is so for
    some count that occurs, or k comes down to 0, all is not well.

    >>> counts = np.array([1] * 8 + [2] * 2 + [3])  # k = 2: A = 3 * 1 / 8, 1*/1 = 1/2, so d_1 = (1/2 - 3/8) / (5/8)
    >>> taken, well = katz_discounts(counts, 2)
    >>> taken.round(3).tolist(), well  # 2*/2 = 3/4, d_2 = (3/4 - 3/8) / (5/8) = 3/5, and 2 * 2/5 is taken
    ([0.0, 0.8, 0.8, 0.0], True)
    """
    n = counts_of_counts(counts, reliable + 1)
    k = max((r for r in range(1, reliable + 1) if n[1] and n[r + 1]), default=0)
    taken, well = np.zeros(k + 2), k > 0
    common = (k + 1) * n[k + 1] / n[1] if k else 0.0
    for r in range(1, k + 1):
        ratio = (r + 1) * n[r + 1] / (r * n[r]) if n[r] else np.inf
        kept = (ratio - common) / (1 - common) if common != 1 else 0.0
        if ratio <= 1 and 0 < kept <= 1:
            taken[r] = r - r * kept
        else:
            well = well and not n[r]
    return taken, well


def counts_of_counts(counts: np.ndarray, highest: int) -> list[int]:
    """n_0 .. n_highest of int (G,), and in one more place the number of all higher counts."""
    n = np.zeros(highest + 2, np.int64)
    for first in range(0, len(counts), BLOCK):
        n += np.bincount(np.minimum(counts[first : first + BLOCK], highest + 1), minlength=highest + 2)
    return n.tolist()


def _possible(discounts: Sequence[float], *, whole: bool = True) -> bool:
    # A discount of 0 would leave nothing to unseen words after a context whose words all have that count.
    return all(0 < taken <= j and (whole or taken < j) for j, taken in enumerate(discounts, 1))


def check_discounts(discounts: Sequence[Sequence[float]], orders: int, each: int, *, whole: bool = True) -> None:
    """Raise UsageError unless there are discounts of so many orders, ``each`` of them possible numbers.

    ``whole``: whether a discount may take the whole count, which in the form of backoff leaves a seen word nothing.
    """
    if len(discounts) < orders:
        raise UsageError(f"Discounts are given for {len(discounts)} orders, but there are n-grams of {orders}.")
    below = "at most" if whole else "below"
    numbers = f"three numbers above 0 and {below} 1, 2 and 3" if each == 3 else f"one number above 0 and {below} 1"
    for k, given in enumerate(discounts, 1):
        if len(given) != each or not _possible(given, whole=whole):
            raise UsageError(f"The discounts {tuple(given)} of order {k} cannot be: give {numbers}.")


def read_discounts(text: str) -> list[tuple[float, ...]]:
    """Discounts written with ``/`` between orders and ``-`` between those of one order.

    >>> read_discounts("0.32-1.44-2.06/0.72-1.25-1.53")
    [(0.32, 1.44, 2.06), (0.72, 1.25, 1.53)]
    """
    try:
        return [tuple(float(number) for number in order.split("-")) for order in text.split("/")]
    except ValueError:
        raise UsageError(
            f"The discounts '{text}' cannot be read. Write those of each order, the unigrams first, for example "
            "discounts=0.32-1.44-2.06/0.72-1.25-1.53 for order 2, or discounts=0.7/0.8 where a method has but one."
        ) from None
