"""Token ids -> the class of every word, by the exchange algorithm.

Words that stand between like neighbours share a class. Brown et al. (1992) look for the classes under which the class
bigram model p(w | v) = p(g(w) | g(v)) p(w | g(w)) makes the text most likely; the part of its log likelihood that
depends on the classes is::

    F = sum_{a,b} N(a, b) ln N(a, b)  -  2 sum_a N(a) ln N(a)          N: counts of class pairs and of classes

Exchange (Kneser & Ney 1993; Martin, Liermann & Ney 1998) takes one word after another out of its class and puts it
where F grows most. Only the terms in which the word stands change, so a move is judged by the classes of the word's
neighbours, against all classes at once; F never falls. Memory is that of the distinct word pairs and of two C x C
matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lmbench.compiled import compiled
from lmbench.errors import UsageError

SETTLED = 0.001
"""Share of the words below which the moves of a sweep are too few for another one."""
TABLE = 1 << 16
"""Counts whose n ln n is looked up rather than computed; most are small."""


def exchange(
    ids: np.ndarray,
    vocabulary_size: int,
    classes: int,
    unknown: int | None = None,
    sweeps: int = 20,
    watch: Callable[[int, int, float], None] | None = None,
) -> np.ndarray:
    """The class of every word, int32 (V,): 0 the boundary, 1 ``unknown`` and words never seen, then the others.

    ``ids``: int32 (N,), from boundary to boundary. ``classes``: C, those of boundary and ``unknown`` included; fewer
    come back where there are fewer words. ``sweeps``: how often at most each word is tried in all classes; it ends
    earlier when hardly a word moves. ``watch`` is told after each the sweep's number, the words moved and F. Raises
    UsageError where C is below 3.

    >>> text = np.array([0, 2, 4, 0, 3, 5, 0, 2, 5, 0, 3, 4, 0, 2, 4, 0], np.int32)  # 2 and 3 open, 4 and 5 close
    >>> exchange(text, 6, 4, unknown=1).tolist()
    [0, 1, 2, 2, 3, 3]
    """
    if classes < 3:
        raise UsageError(
            f"Words cannot be put into {classes} classes: two are those of the boundary and <unk>; ask for 3."
        )
    frequency = np.bincount(ids[1:], minlength=vocabulary_size)
    word_class = np.ones(vocabulary_size, np.int32)
    word_class[0] = 0
    free = np.flatnonzero((frequency > 0) & (np.arange(vocabulary_size) != 0))
    free = free[free != unknown] if unknown is not None else free
    order = free[np.argsort(-frequency[free], kind="stable")].astype(np.int32)
    classes = min(classes, 2 + len(order))
    word_class[order] = 2 + np.minimum(np.arange(len(order)), classes - 3)
    neighbours = _neighbours(ids, vocabulary_size)
    pairs = _class_pairs(ids, word_class, classes)
    turned = np.ascontiguousarray(pairs.T)
    numbers = np.arange(TABLE, dtype=np.float64)
    table = numbers * np.log(np.maximum(numbers, 1))
    for sweep in range(sweeps):
        moved = _sweep(order, word_class, *neighbours, pairs, turned, table)
        if watch:
            watch(sweep, moved, objective(pairs))
        if moved <= SETTLED * len(order):
            break
    return word_class


def objective(pairs: np.ndarray) -> float:
    """F in nats, from the counts of class pairs, int (C, C)."""
    cells, totals = pairs[pairs > 0].astype(np.float64), pairs.sum(1, dtype=np.float64)
    totals = totals[totals > 0]
    return float(cells @ np.log(cells) - 2 * (totals @ np.log(totals)))


def _class_pairs(ids: np.ndarray, word_class: np.ndarray, classes: int) -> np.ndarray:
    """int32 (C, C): how often a word of class b follows one of class a. Row and column sums agree: a circle of text."""
    text = word_class[ids].astype(np.int64)
    return np.bincount(text[:-1] * classes + text[1:], minlength=classes**2).astype(np.int32).reshape(classes, classes)


def _neighbours(ids: np.ndarray, vocabulary_size: int) -> tuple[np.ndarray, ...]:
    """The distinct word pairs by first and by second word.

    Twice: where the neighbours of each word begin, int64 (V + 1,), the neighbours and their counts, int32 (P,).
    """
    keys, counts = np.unique(ids[:-1].astype(np.int64) * vocabulary_size + ids[1:], return_counts=True)
    firsts, seconds = (part.astype(np.int32) for part in np.divmod(keys, vocabulary_size))
    counts, types = counts.astype(np.int32), np.arange(vocabulary_size + 1)
    by_second = np.argsort(seconds, kind="stable")
    return (
        np.searchsorted(firsts, types), seconds, counts,
        np.searchsorted(seconds[by_second], types), firsts[by_second], counts[by_second],
    )  # fmt: skip


@compiled
def _x_ln_x(n: int, table: np.ndarray) -> float:
    return table[n] if n < len(table) else n * np.log(n)


@compiled
def _gather(word, word_class, begins, words, counts, into, touched):
    """Sum the counts of the word's neighbours, but itself, by class; returns the number of classes, and of itself."""
    classes, itself = 0, 0
    for i in range(begins[word], begins[word + 1]):
        if words[i] == word:
            itself = counts[i]
            continue
        c = word_class[words[i]]
        if into[c] == 0:
            touched[classes] = c
            classes += 1
        into[c] += counts[i]
    return classes, itself


@compiled
def _put(b, left, right, itself, sign, lefts, n_left, rights, n_right, pairs, turned, totals):
    """Add the word's pairs to class b, or take them out of it (sign -1); returns the word's count."""
    size = itself
    for i in range(n_left):
        c = lefts[i]
        pairs[c, b] += sign * left[c]
        turned[b, c] += sign * left[c]
        size += left[c]  # each occurrence has one left neighbour
    for i in range(n_right):
        c = rights[i]
        pairs[b, c] += sign * right[c]
        turned[c, b] += sign * right[c]
    pairs[b, b] += sign * itself
    turned[b, b] += sign * itself
    totals[b] += sign * size
    return size


@compiled
def _sweep(order, word_class, begins_out, words_out, counts_out, begins_in, words_in, counts_in, pairs, turned, table):
    """Try each word of ``order`` in every class from 2 on and leave it where F is largest; returns how many moved."""
    classes = len(pairs)
    left, right = np.zeros(classes, np.int32), np.zeros(classes, np.int32)  # counts of the word's neighbours by class
    lefts, rights = np.zeros(classes, np.int32), np.zeros(classes, np.int32)  # the classes where they are not 0
    gain, totals = np.zeros(classes), np.zeros(classes, np.int64)
    for a in range(classes):
        totals[a] = pairs[a].sum()
    moved = 0
    for word in order:
        n_left, itself = _gather(word, word_class, begins_in, words_in, counts_in, left, lefts)
        n_right, itself = _gather(word, word_class, begins_out, words_out, counts_out, right, rights)
        old = word_class[word]
        size = _put(old, left, right, itself, -1, lefts, n_left, rights, n_right, pairs, turned, totals)
        # F of the word in class b, less F without the word. Rows are read from front to back: pairs[c] as b varies.
        for b in range(2, classes):
            gain[b] = 2 * (_x_ln_x(totals[b], table) - _x_ln_x(totals[b] + size, table))
        for i in range(n_left):
            c = lefts[i]
            row, more = pairs[c], left[c]
            for b in range(2, classes):
                gain[b] += _x_ln_x(row[b] + more, table) - _x_ln_x(row[b], table)
        for i in range(n_right):
            c = rights[i]
            row, more = turned[c], right[c]
            for b in range(2, classes):
                gain[b] += _x_ln_x(row[b] + more, table) - _x_ln_x(row[b], table)
        for b in range(2, classes):  # the cell (b, b) gets left, right and the word itself, together
            inner, more, less = pairs[b, b], left[b], right[b]
            if more + less + itself > 0:
                gain[b] += _x_ln_x(inner + more + less + itself, table) + _x_ln_x(inner, table)
                gain[b] -= _x_ln_x(inner + more, table) + _x_ln_x(inner + less, table)
        new = old
        for b in range(2, classes):
            if gain[b] > gain[new] + 1e-6:  # beyond rounding
                new = b
        _put(new, left, right, itself, 1, lefts, n_left, rights, n_right, pairs, turned, totals)
        word_class[word] = new
        moved += new != old
        for i in range(n_left):
            left[lefts[i]] = 0
        for i in range(n_right):
            right[rights[i]] = 0
    return moved
