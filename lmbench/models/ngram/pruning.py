"""``Table`` + which n-grams stay -> a smaller ``Table``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.models.ngram.table import Grams, Table


def drop(table: Table, keep: Sequence[np.ndarray], log_backoffs: Sequence[np.ndarray] | None = None) -> Table:
    """The n-grams of ``keep`` alone, renumbered; highest orders of which none stays are left out.

    ``keep``: for each order, bool (G,), by the numbers of ``table``; unigrams stay whatever it says. ``log_backoffs``:
    new weights, float (G,) by the same numbers, for all orders but the highest; by default those of ``table``, which
    then sums to one no longer. Raises ValueError where a kept n-gram would be left without its context or suffix.
    """
    keep = _masks(table, keep)
    longer = suffixes(table)
    for k, (shorter, mask) in enumerate(pairwise(keep), 2):
        orphans = int((~shorter[table.orders[k - 1].context[mask]] | ~shorter[longer[k - 1][mask]]).sum())
        if orphans:
            raise ValueError(f"{orphans:,} n-grams of order {k} would stay without their context or suffix")
    weights = [g.log_backoffs for g in table.orders] if log_backoffs is None else list(log_backoffs)
    highest = max(k for k, mask in enumerate(keep, 1) if mask.any())
    orders: list[Grams] = []
    contexts = np.ones(1, bool)
    for k, (grams, mask) in enumerate(zip(table.orders[:highest], keep, strict=False), 1):
        numbers = _numbers(mask)
        begins = np.append(numbers[grams.begins[:-1]][contexts], numbers[-1])  # who goes has no children that stay
        log_backoffs_k = weights[k - 1][mask].astype(np.float32) if k < highest else np.empty(0, np.float32)
        orders.append(Grams(begins, grams.words[mask], grams.log_probs[mask], log_backoffs_k))
        contexts = mask
    return Table(tuple(orders), table.vocabulary_size)


def close(table: Table, keep: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``keep`` with the contexts and suffixes of what is kept, and all unigrams: bool (G,) for each order."""
    closed = [mask.copy() for mask in _masks(table, keep)]
    longer = suffixes(table)
    for k in range(len(closed), 1, -1):
        grams, mask, shorter = table.orders[k - 1], closed[k - 1], closed[k - 2]
        numbers = _numbers(mask)
        shorter |= np.diff(numbers[grams.begins]) > 0
        shorter[longer[k - 1][mask]] = True
    return closed


def suffixes(table: Table) -> list[np.ndarray]:
    """For each order, int32 (G,): number of the n-gram without its first word, one order below; 0 for order 1.

    Raises ValueError where one is not stored.
    """
    result = [np.zeros(len(table.orders[0]), np.int32)]
    for k, (lower, grams) in enumerate(pairwise(table.orders), 2):
        found = grams.words if k == 2 else _suffixes(lower, grams, result[-1])
        if len(found) and int(found.min()) < 0:
            raise ValueError(f"the suffix of {int((found < 0).sum()):,} n-grams of order {k} is not stored")
        result.append(found)
    return result


def _suffixes(lower: Grams, grams: Grams, outer: np.ndarray) -> np.ndarray:
    """Those of the k-grams, -1 where it is not stored; ``outer``: those of the (k-1)-grams, their contexts."""
    found = np.empty(len(grams), np.int32)

    def part(edges: tuple[int, int]) -> None:
        _find_suffixes(*edges, grams.begins, grams.words, outer, lower.begins, lower.words, found)

    in_threads(part, _parts(grams))
    return found


def _masks(table: Table, keep: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``keep``, checked, all unigrams in it."""
    lengths = [len(mask) for mask in keep]
    if lengths != [len(grams) for grams in table.orders]:
        raise ValueError(f"masks of {lengths} n-grams for orders of {[len(grams) for grams in table.orders]}")
    return [np.ones(lengths[0], bool), *keep[1:]]


def _numbers(mask: np.ndarray) -> np.ndarray:
    """int32 (G + 1,): how many of those before each are kept, which is the new number of one that is."""
    numbers = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=numbers[1:])
    return numbers


def _parts(grams: Grams) -> list[tuple[int, int]]:
    """Ranges of contexts that have about as many n-grams each, one for each thread and more."""
    contexts = len(grams.begins) - 1
    cuts = np.searchsorted(grams.begins, np.linspace(0, len(grams), 4 * threads() + 1)[1:-1])
    return list(pairwise(np.unique(np.concatenate(([0], np.minimum(cuts, contexts), [contexts]))).tolist()))


@compiled
def _find_suffixes(first, last, begins, words, outer, lower_begins, lower_words, found):
    """For each child of contexts ``first`` .. ``last - 1``, that of the context's suffix with the same word, or -1."""
    for c in range(first, last):
        low = lower_begins[outer[c]]
        high = lower_begins[outer[c] + 1]
        for n in range(begins[c], begins[c + 1]):
            end = high
            while low < end:  # the first child whose word is not below the one looked for
                middle = (low + end) >> 1
                if lower_words[middle] < words[n]:
                    low = middle + 1
                else:
                    end = middle
            found[n] = low if low < high and lower_words[low] == words[n] else -1
