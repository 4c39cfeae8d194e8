"""``ContextTree`` + ``Discounts`` -> ``Table``: the log probability of any word after any history, many at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmbench.compiled import compiled, in_threads
from lmbench.models.infinigram.smoothing import Discounts, Shares, leaf_row
from lmbench.models.infinigram.tree import UNLIMITED, ContextTree, entry_of, follower, locate

PART = 1 << 13
"""Events a thread takes at a time."""


class Table(NamedTuple):
    """Estimates in closed form; the equations stand in ``smoothing.py``.

    ``probability``: float64 (E,), p(w | v) of each entry. ``backoff``: float64 (M,), b_v, weight of the shorter context
    for words that have no entry. ``leaf``: float64 (classes,), D_l. ``longest``: tokens of history that are read.
    """

    tree: ContextTree
    probability: np.ndarray
    backoff: np.ndarray
    leaf: np.ndarray
    vocabulary_size: int
    longest: int

    def log_probs(self, ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """float64 (N,), nats: ``ln p(ids[i] | history)`` at every position, that of an empty history where one starts.

        ``ids``: int (N,). ``starts``: bool (N,), beginnings of rows; at a boundary history starts by itself.
        """
        ids = np.ascontiguousarray(ids, np.int32)
        lengths = history_lengths(ids, starts, self.longest)
        result = np.empty(len(ids))
        parts = [(begin, min(begin + PART, len(ids))) for begin in range(0, len(ids), PART)]
        in_threads(lambda part: _log_probs(self, ids, lengths, *part, result), parts)
        return result

    def next_log_probs(self, histories: list[np.ndarray]) -> np.ndarray:
        """float64 (B, V), nats: the distribution of the next word after each history (ids, oldest first)."""
        result = np.empty((len(histories), self.vocabulary_size))
        for history, row in zip(histories, result, strict=True):
            ids = np.append(history, 0).astype(np.int32)  # any word will do: only its history is read
            starts = np.arange(len(ids)) == 0
            _next_probs(self, ids, history_lengths(ids, starts, self.longest), row)
        return np.log(result)


def estimate(tree: ContextTree, shares: Shares, discounts: Discounts, vocabulary_size: int, longest: int) -> Table:
    """Probabilities of all entries, from the root down."""
    probability, backoff = _estimate(tree, shares, discounts, vocabulary_size)
    return Table(tree, probability, backoff, discounts.leaf, vocabulary_size, longest)


def history_lengths(ids: np.ndarray, starts: np.ndarray, longest: int = UNLIMITED) -> np.ndarray:
    """int32 (N,): tokens position i may look back on: those since the last boundary or start, that one included.

    ``ids``: int (N,). ``starts``: bool (N,), beginnings of rows. ``longest``: the most.

    >>> history_lengths(np.array([0, 5, 7, 0, 3, 0]), np.array([True, False, False, False, False, False])).tolist()
    [0, 1, 2, 3, 1, 2]
    """
    positions = np.arange(len(ids))
    begins = np.maximum.accumulate(np.where(starts | (ids == 0), positions, 0))
    lengths = np.where(starts, 0, positions)
    lengths[1:] -= np.where(starts[1:], 0, begins[:-1])
    return np.minimum(lengths, longest).astype(np.int32)


@compiled
def _estimate(
    tree: ContextTree, shares: Shares, discounts: Discounts, vocabulary_size: int
) -> tuple[np.ndarray, np.ndarray]:
    root = len(tree.parent) - 1
    probability, backoff = np.empty(len(tree.word)), np.empty(root + 1)
    shorter = np.full(vocabulary_size, 1.0 / vocabulary_size)  # p(w | u) of the words of the node above
    _estimate_node(tree, shares, discounts, root, shorter, probability, backoff)
    for u in range(root, -1, -1):
        for e in range(tree.first_entry[u], tree.first_entry[u + 1]):
            shorter[tree.word[e]] = probability[e]
        for c in range(tree.first_child[u], tree.first_child[u + 1]):
            if tree.child[c] >= 0:
                _estimate_node(tree, shares, discounts, tree.child[c], shorter, probability, backoff)
    return probability, backoff


@compiled
def _estimate_node(
    tree: ContextTree, shares: Shares, discounts: Discounts, v: int, shorter: np.ndarray, probability: np.ndarray,
    backoff: np.ndarray,
) -> None:  # fmt: skip
    share, taken = shares.of[v], discounts.node[shares.row[v]]
    backoff[v] = share[0] * taken[0] + share[1] * taken[1] + share[2] * taken[2]
    for e in range(tree.first_entry[v], tree.first_entry[v + 1]):
        seen = tree.counts[e]
        probability[e] = (seen - taken[min(seen, 3) - 1]) * share[3] + backoff[v] * shorter[tree.word[e]]


@compiled
def _log_probs(table: Table, ids: np.ndarray, lengths: np.ndarray, begin: int, end: int, result: np.ndarray) -> None:
    tree = table.tree
    leaf, matched, v = -1, 0, 0
    for i in range(begin, end):
        if leaf > 0 and tree.text[leaf - 1] == ids[i - 1] and lengths[i] > lengths[i - 1] and matched < lengths[i]:
            leaf -= 1  # what was seen once and goes on as it did then has still been seen once
            matched += 1
            v = tree.branch[leaf]
        else:
            v, leaf, matched = locate(tree, ids, i, lengths[i])
        weight, p = 1.0, 0.0
        if leaf >= 0:
            weight = table.leaf[leaf_row(tree.depth[v], matched)]
            if follower(tree, leaf) == ids[i]:
                p = 1 - weight
        while v >= 0:
            entry = entry_of(tree, v, ids[i])
            if entry >= 0:
                p += weight * table.probability[entry]
                break
            weight *= table.backoff[v]
            v = tree.parent[v]
        if v < 0:
            p += weight / table.vocabulary_size
        result[i] = np.log(p)


@compiled
def _next_probs(table: Table, ids: np.ndarray, lengths: np.ndarray, result: np.ndarray) -> None:
    """Fill ``result``, float64 (V,), with the distribution of the last of ``ids``, whatever it is."""
    tree, last = table.tree, len(ids) - 1
    v, leaf, matched = locate(tree, ids, last, lengths[last])
    result[:] = -1.0  # no entry found yet
    weight = 1.0
    if leaf >= 0:
        weight = table.leaf[leaf_row(tree.depth[v], matched)]
    certain = 1 - weight
    while v >= 0:
        for e in range(tree.first_entry[v], tree.first_entry[v + 1]):
            if result[tree.word[e]] < 0:
                result[tree.word[e]] = weight * table.probability[e]
        weight *= table.backoff[v]
        v = tree.parent[v]
    for w in range(len(result)):
        if result[w] < 0:
            result[w] = weight / table.vocabulary_size
    if leaf >= 0:
        result[follower(tree, leaf)] += certain
