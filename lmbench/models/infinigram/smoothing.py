"""``ContextTree`` + held-out text -> ``Discounts``: how much is taken from each count, and left to shorter contexts.

With a(vw) the count of word w at node v, and u the node above it (Kneser & Ney 1995; Chen & Goodman 1999)::

    p(w | v) = (a(vw) - D_v(a(vw))) / A_v + b_v p(w | u)       A_v = sum_w a(vw),   b_v = sum_w D_v(a(vw)) / A_v
    p(w | l) = (1 - D_l) [w follows leaf l] + D_l p(w | u)     above the root stands 1 / V

D_v(a) is one of three discounts, for counts of 1, 2 and more. They depend on how many tokens of history lead to a node,
as in the sequence memoizer (Wood et al. 2009), and on whether one, two or more words were seen there: where it was one
alone, that one is likely again (Cleary & Teahan 1997). That of a leaf depends on the depth of the node it hangs from,
and on how far beyond that the history agrees with it. The nodes are only some of the n-grams of each order, so the
usual estimate from counts of counts does not hold: the discounts are those under which the held-out text is most
likely, found by gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmbench.compiled import compiled, in_threads
from lmbench.models.infinigram.tree import ContextTree, doubled, entry_of, follower, locate

DEPTHS, TYPES, REACHES = 8, 3, 5
"""Classes of nodes: tokens of history 0 to 7+, by words seen 1, 2, 3+. Of leaves: depth of the node they hang from, by
tokens of agreement beyond it 1, 2-3, 4-7, 8-15, 16+."""
START_NODE, START_LEAF = (0.8, 1.2, 1.6), 0.9
"""Discounts before anything is learnt; also what they are where the held-out text has nothing to say."""
PRIOR = 4.0
"""Nats it costs to move a discount from its start by its whole range: a class that is met rarely stays put."""
LEAST = 1e-3
"""A discount is never 0: every word stays possible."""
LEARNT_FROM = 1 << 17
"""Events of held-out text, at most: a hundred numbers need no more."""
PART = 1 << 13
"""Events a thread takes at a time."""
ITERATIONS = 60
"""At most, of L-BFGS."""


class Discounts(NamedTuple):
    """How much is taken from a count, by class.

    ``node``: float64 (DEPTHS x TYPES, 3), above 0, at most 1, 2, 3. ``leaf``: float64 (DEPTHS x REACHES,), at most 1.
    """

    node: np.ndarray
    leaf: np.ndarray

    @classmethod
    def start(cls) -> Discounts:
        """Before anything is learnt."""
        return cls(np.tile(START_NODE, (DEPTHS * TYPES, 1)), np.full(DEPTHS * REACHES, START_LEAF))

    def check(self) -> None:
        """Raise ValueError where these cannot be discounts, as after damage to a file."""
        for given, start, most in (
            (self.node, self.start().node, np.array([1, 2, 3])),
            (self.leaf, self.start().leaf, 1),
        ):
            if given.dtype != start.dtype or given.shape != start.shape or not ((given > 0) & (given <= most)).all():
                raise ValueError("its discounts are not above 0 and at most 1, 2 and 3")


class Shares(NamedTuple):
    """What an estimate needs to know of each node.

    ``row``: int32 (M,), its class. ``of``: float64 (M, 4), how many of its entries count 1, 2, more, over A_v; 1 / A_v.
    """

    row: np.ndarray
    of: np.ndarray


def shares(tree: ContextTree) -> Shares:
    """The class of each node, and the counts of its counts."""
    types = np.diff(tree.first_entry)
    reached_after = np.where(tree.parent < 0, 0, tree.depth.take(tree.parent) + 1)  # tokens of history
    row = np.minimum(reached_after, DEPTHS - 1) * TYPES + np.minimum(types, TYPES) - 1
    return Shares(row.astype(np.int32), _counts_of_counts(tree))


@compiled
def _counts_of_counts(tree: ContextTree) -> np.ndarray:
    of = np.zeros((len(tree.parent), 4))
    for v in range(len(tree.parent)):
        total = 0
        for e in range(tree.first_entry[v], tree.first_entry[v + 1]):
            total += tree.counts[e]
            of[v, min(tree.counts[e], 3) - 1] += 1
        of[v, 3] = 1
        for k in range(4):
            of[v, k] /= total
    return of


@compiled
def leaf_row(depth: int, matched: int) -> int:
    """The class of a leaf that hangs from a node of ``depth`` and agrees with ``matched`` tokens of the history."""
    reach, beyond = 0, matched - depth
    while beyond > 1 and reach < REACHES - 1:
        beyond //= 2
        reach += 1
    return min(depth, DEPTHS - 1) * REACHES + reach


class Paths(NamedTuple):
    """What n events met on their way down the tree: all that their probabilities depend on, besides the discounts.

    ``first``: int64 (n + 1,), where the steps of each event begin, from the deepest node up to the root. ``node``,
    ``counts``: int32 (steps,), the node and its count of the word. ``leaf``: int32 (n,), the class of the leaf or -1.
    ``hit``: bool (n,), whether the word followed it.
    """

    first: np.ndarray
    node: np.ndarray
    counts: np.ndarray
    leaf: np.ndarray
    hit: np.ndarray


@compiled
def _paths(tree: ContextTree, ids: np.ndarray, lengths: np.ndarray, begin: int, end: int) -> Paths:
    n = end - begin
    first, leaf_rows, hit = np.zeros(n + 1, np.int64), np.full(n, -1, np.int32), np.zeros(n, np.bool_)
    node, count, size = np.empty(8 * n, np.int32), np.empty(8 * n, np.int32), 0
    for i in range(begin, end):
        v, leaf, matched = locate(tree, ids, i, lengths[i])
        if leaf >= 0:
            leaf_rows[i - begin] = leaf_row(tree.depth[v], matched)
            hit[i - begin] = follower(tree, leaf) == ids[i]
        while v >= 0:
            if size == len(node):
                node, count = doubled(node), doubled(count)
            entry = entry_of(tree, v, ids[i])
            node[size], count[size] = v, tree.counts[entry] if entry >= 0 else 0
            size += 1
            v = tree.parent[v]
        first[i + 1 - begin] = size
    return Paths(first, node[:size].copy(), count[:size].copy(), leaf_rows, hit)


@compiled
def _loss(paths: Paths, shares: Shares, discounts: Discounts, vocabulary_size: int) -> tuple[float, Discounts]:
    """Nats of all events, and their derivatives by the discounts, by the chain rule."""
    by_node, by_leaf = np.zeros_like(discounts.node), np.zeros_like(discounts.leaf)
    longest = 0
    for i in range(len(paths.leaf)):
        longest = max(longest, paths.first[i + 1] - paths.first[i])
    shorter = np.empty(longest)  # p(w | u) at each step
    nats = 0.0
    for i in range(len(paths.leaf)):
        top, root = paths.first[i], paths.first[i + 1] - 1
        p = 1.0 / vocabulary_size
        for step in range(root, top - 1, -1):
            shorter[step - top] = p
            share, taken = shares.of[paths.node[step]], discounts.node[shares.row[paths.node[step]]]
            p *= share[0] * taken[0] + share[1] * taken[1] + share[2] * taken[2]
            seen = paths.counts[step]
            if seen > 0:
                p += (seen - taken[min(seen, 3) - 1]) * share[3]
        slope = -1.0
        leaf = paths.leaf[i]
        if leaf >= 0:
            followed = 1.0 if paths.hit[i] else 0.0
            mixed = (1 - discounts.leaf[leaf]) * followed + discounts.leaf[leaf] * p
            nats -= np.log(mixed)
            by_leaf[leaf] += (followed - p) / mixed
            slope = -discounts.leaf[leaf] / mixed
        else:
            nats -= np.log(p)
            slope = -1 / p
        for step in range(top, root + 1):
            row = shares.row[paths.node[step]]
            share, taken, seen = shares.of[paths.node[step]], discounts.node[row], paths.counts[step]
            for k in range(3):
                by_node[row, k] += slope * share[k] * shorter[step - top]
            if seen > 0:
                by_node[row, min(seen, 3) - 1] -= slope * share[3]
            slope *= share[0] * taken[0] + share[1] * taken[1] + share[2] * taken[2]
    return nats, Discounts(by_node, by_leaf)


def learn_discounts(
    tree: ContextTree, shares: Shares, ids: np.ndarray, lengths: np.ndarray, vocabulary_size: int
) -> Discounts:
    """The discounts under which ``ids`` are most likely.

    ``ids``: int32 (N,), held out; the first is not an event. ``lengths``: int32 (N,), tokens of history of each.
    L-BFGS (Liu & Nocedal 1989) within bounds; deterministic, whatever the number of threads.
    """
    from scipy.optimize import minimize

    events = min(len(ids) - 1, LEARNT_FROM)
    parts = [(begin, min(begin + PART, events + 1)) for begin in range(1, events + 1, PART)]
    paths = in_threads(lambda part: _paths(tree, ids, lengths, *part), parts)
    start = Discounts.start()
    edge = start.node.size
    origin = np.concatenate([start.node.ravel(), start.leaf])
    ranges = np.concatenate([np.tile([1.0, 2.0, 3.0], DEPTHS * TYPES), np.ones(start.leaf.size)])

    def unpack(values: np.ndarray) -> Discounts:
        return Discounts(values[:edge].reshape(-1, 3), values[edge:])

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        answers = in_threads(lambda part: _loss(part, shares, unpack(values), vocabulary_size), paths)
        moved = (values - origin) / ranges
        nats = sum(nats for nats, _ in answers) + PRIOR * float(moved @ moved)
        slopes = sum(np.concatenate([slope.node.ravel(), slope.leaf]) for _, slope in answers)
        return nats / events, (slopes + 2 * PRIOR * moved / ranges) / events

    found = minimize(
        loss, origin, jac=True, method="L-BFGS-B", bounds=[(LEAST, top) for top in ranges.tolist()],
        options={"maxiter": ITERATIONS},
    )  # fmt: skip
    return unpack(found.x)
