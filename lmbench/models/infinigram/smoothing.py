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
PRIOR = 32.0
"""Nats it costs to move a discount from its start by its whole range: a class that is met rarely stays put. Where half
of PTB's valid is learnt from, the perplexity of the other half is 145.3 to 145.5 for any prior from 4 to 64; where 500
tokens are, that of the rest falls from 148.1 to 146.4."""
LEAST = 1e-3
"""A discount is never 0: every word stays possible."""
LEARNT_FROM = 1 << 17
"""Events of held-out text, at most: a hundred numbers need no more."""
PART = 1 << 13
"""Events a thread takes at a time."""
STEPS = 1 << 20
"""Steps of their paths after which it takes no more: a text of one symbol has a branching at every depth."""
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

    ``first``: int64 (n + 1,), where the steps of each event begin, from the deepest node up to the root. Of each step:
    ``row``, int32 (steps,), the class of the node; ``counts``, int32 (steps,), its count of the word; ``share``,
    float64 (steps, 4), as in ``Shares``. Of each event: ``leaf``, int32 (n,), the class of the leaf or -1; ``hit``,
    bool (n,), whether the word followed it.
    """

    first: np.ndarray
    row: np.ndarray
    counts: np.ndarray
    share: np.ndarray
    leaf: np.ndarray
    hit: np.ndarray


@compiled
def _paths(tree: ContextTree, shares: Shares, ids: np.ndarray, lengths: np.ndarray, begin: int, end: int) -> Paths:
    first, leaf_rows, hit = (
        np.zeros(end - begin + 1, np.int64),
        np.empty(end - begin, np.int32),
        np.zeros(end - begin, np.bool_),
    )
    node, count = np.empty(8 * (end - begin), np.int32), np.empty(8 * (end - begin), np.int32)
    n, size = 0, 0
    while n < end - begin and size < STEPS:
        i = begin + n
        v, leaf, matched = locate(tree, ids, i, lengths[i])
        leaf_rows[n] = leaf_row(tree.depth[v], matched) if leaf >= 0 else -1
        hit[n] = leaf >= 0 and follower(tree, leaf) == ids[i]
        while v >= 0:
            if size == len(node):
                node, count = doubled(node), doubled(count)
            entry = entry_of(tree, v, ids[i])
            node[size], count[size] = v, tree.counts[entry] if entry >= 0 else 0
            size += 1
            v = tree.parent[v]
        n += 1
        first[n] = size
    row, share = np.empty(size, np.int32), np.empty((size, 4))
    for step in range(size):
        row[step] = shares.row[node[step]]
        for k in range(4):
            share[step, k] = shares.of[node[step], k]
    return Paths(first[: n + 1], row, count[:size], share, leaf_rows[:n], hit[:n])


@compiled
def _loss(paths: Paths, discounts: Discounts, vocabulary_size: int) -> tuple[float, Discounts]:
    """Nats of all events, and their derivatives by the discounts, by the chain rule."""
    by_node, by_leaf = np.zeros_like(discounts.node), np.zeros_like(discounts.leaf)
    row, share, taken = paths.row, paths.share, discounts.node
    backoff, shorter = np.empty(len(row)), np.empty(len(row))  # b_v and p(w | u) at each step
    nats = 0.0
    for i in range(len(paths.leaf)):
        p = 1.0 / vocabulary_size
        for s in range(paths.first[i + 1] - 1, paths.first[i] - 1, -1):
            r, seen = row[s], paths.counts[s]
            shorter[s] = p
            backoff[s] = share[s, 0] * taken[r, 0] + share[s, 1] * taken[r, 1] + share[s, 2] * taken[r, 2]
            p *= backoff[s]
            if seen > 0:
                p += (seen - taken[r, min(seen, 3) - 1]) * share[s, 3]
        leaf, kept = paths.leaf[i], 1.0
        if leaf >= 0:
            kept, followed = discounts.leaf[leaf], 1.0 if paths.hit[i] else 0.0
            mixed = (1 - kept) * followed + kept * p
            by_leaf[leaf] += (followed - p) / mixed
            p = mixed
        nats -= np.log(p)
        slope = -kept / p
        for s in range(paths.first[i], paths.first[i + 1]):
            r, seen = row[s], paths.counts[s]
            for k in range(3):
                by_node[r, k] += slope * share[s, k] * shorter[s]
            if seen > 0:
                by_node[r, min(seen, 3) - 1] -= slope * share[s, 3]
            slope *= backoff[s]
    return nats, Discounts(by_node, by_leaf)


def learn_discounts(
    tree: ContextTree, shares: Shares, ids: np.ndarray, lengths: np.ndarray, vocabulary_size: int
) -> Discounts:
    """The discounts under which ``ids`` are most likely.

    ``ids``: int32 (N,), held out; the first is not an event. ``lengths``: int32 (N,), tokens of history of each.
    L-BFGS (Liu & Nocedal 1989) within bounds; deterministic, whatever the number of threads.
    """
    from scipy.optimize import minimize

    end = min(len(ids), LEARNT_FROM + 1)
    parts = [(begin, min(begin + PART, end)) for begin in range(1, end, PART)]
    paths = in_threads(lambda part: _paths(tree, shares, ids, lengths, *part), parts)
    events = sum(len(part.leaf) for part in paths)
    start = Discounts.start()
    edge = start.node.size
    origin = np.concatenate([start.node.ravel(), start.leaf])
    ranges = np.concatenate([np.tile([1.0, 2.0, 3.0], DEPTHS * TYPES), np.ones(start.leaf.size)])

    def unpack(moved: np.ndarray) -> Discounts:
        values = np.clip(origin + moved * ranges, LEAST, ranges)
        return Discounts(values[:edge].reshape(-1, 3), values[edge:])

    def loss(moved: np.ndarray) -> tuple[float, np.ndarray]:
        answers = in_threads(lambda part: _loss(part, unpack(moved), vocabulary_size), paths)
        nats = sum(nats for nats, _ in answers) + PRIOR * float(moved @ moved)
        slopes = sum(np.concatenate([slope.node.ravel(), slope.leaf]) for _, slope in answers)
        return nats / events, (slopes * ranges + 2 * PRIOR * moved) / events

    bounds = np.stack([(LEAST - origin) / ranges, (ranges - origin) / ranges], axis=1)
    found = minimize(
        loss, np.zeros_like(origin), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ITERATIONS}
    )
    return unpack(found.x)
