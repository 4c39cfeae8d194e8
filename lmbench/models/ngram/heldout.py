"""``Counts`` + held-out tokens -> what two methods learn from text they were not counted on.

Jelinek & Mercer (1980) interpolate every history with the shorter one by a weight that depends on how often the history
was seen; Lidstone (1920) adds k to each count. Neither weight can be had from the training text, which would always
trust its own counts alone::

    p(w | h) = l(h) c(hw)/c(h) + (1 - l(h)) p(w | h')       l(h) is shared by histories with alike c(h) (a bucket)
    p(w | h) = (c(hw) + k V base(w)) / (c(h) + k V)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmbench.models.ngram.counting import Counts

BUCKETS = 20
"""Histories seen once, 2 or 3 times, 4 to 7 times ...: by the number of binary digits."""
ROUNDS = 100
"""Rounds of expectation maximisation, at most."""
GAIN = 1e-7
"""Nats per event below which a further round is not worth it."""
LARGEST = 1 << 20
"""Held-out events that are looked at, the first ones: a few hundred weights need no more."""


@dataclass(frozen=True)
class Sightings:
    """How often the events of a held-out text, E of them, and their histories were seen in training.

    ``words``: int32 (E,). ``seen``, ``followed``: int64 (K, E), for each order k the count of the k-gram that ends at
    the event, and how often its history was followed by any word; 0 where it was not seen, and where the sentence has
    no such history. ``longest``: int64 (E,), order of the longest history that the event has, 1 to the highest order.
    """

    words: np.ndarray
    seen: np.ndarray
    followed: np.ndarray
    longest: np.ndarray


def sightings(counts: Counts, ids: np.ndarray) -> Sightings:
    """Look up the tokens of a held-out text, int32 (N,), in the counts of the training text.

    >>> from lmbench.models.ngram.counting import count
    >>> found = sightings(count(np.array([0, 2, 3, 0, 2, 2, 0], np.int32), 4, 2), np.array([0, 2, 3, 0], np.int32))
    >>> found.seen.tolist(), found.followed.tolist()  # a, b, </s>; after </s>, a, b
    ([[3, 1, 2], [2, 1, 1]], [[6, 6, 6], [2, 3, 1]])
    """
    ids = np.asarray(ids[: LARGEST + 1], np.int64)
    positions = np.arange(len(ids))
    since = positions - np.maximum.accumulate(np.where(ids == 0, positions, 0))  # words since the last boundary
    before = since[:-1] + 1  # the history of event i is ids[: i + 1]: so many of its tokens are in its sentence
    grams = ids.copy()  # number of the (k-1)-gram that ends at each position, -1 where it was not seen
    seen, followed = (np.zeros((counts.order, len(ids) - 1), np.int64) for _ in range(2))
    raw = counts.orders[0].raw
    seen[0], followed[0] = raw[ids[1:]], int(raw.sum(dtype=np.int64))
    for k, order in enumerate(counts.orders[1:], 2):
        sums = np.concatenate(([0], np.cumsum(order.raw, dtype=np.int64)))
        totals = np.diff(sums[order.begins])  # by context
        contexts = np.where(before >= k - 1, grams[:-1], -1)
        known = contexts >= 0
        followed[k - 1][known] = totals[contexts[known]]
        keys = order.context.astype(np.int64) * counts.vocabulary_size + order.words  # ascending
        wanted = contexts * counts.vocabulary_size + ids[1:]
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = known & (keys[places] == wanted)
        seen[k - 1][found] = order.raw[places[found]]
        grams = np.concatenate(([-1], np.where(found, places, -1)))
    return Sightings(ids[1:].astype(np.int32), seen, followed, np.minimum(before + 1, counts.order))


def interpolation_weights(found: Sightings, base: np.ndarray) -> np.ndarray:
    """l for each order and bucket, float64 (K, BUCKETS), inside (0, 1), by expectation maximisation.

    Chen & Goodman (1999, sec. 2.3) put histories into buckets by their count; here a bucket is a number of binary
    digits. Two events that nobody saw, one on each side, join every bucket, so that a weight from little text stays
    moderate; a bucket without any takes the weight of the next lower one.
    """
    orders, events = found.seen.shape
    known = found.followed > 0
    buckets = np.zeros((orders, events), np.int64)
    buckets[known] = np.minimum(np.log2(found.followed[known]).astype(np.int64), BUCKETS - 1)
    observed = np.where(known, found.seen / np.maximum(found.followed, 1), 0.0)
    weights, reached = np.full((orders, BUCKETS), 0.5), np.zeros((orders, BUCKETS))
    for k in range(orders):
        reached[k] = np.bincount(buckets[k][known[k]], minlength=BUCKETS)
    last = -np.inf
    for _ in range(ROUNDS):
        probabilities = np.empty((orders + 1, events))  # row k: of order k, all lower ones included
        probabilities[0] = base[found.words]
        own = np.where(known, weights[np.arange(orders)[:, None], buckets], 0.0)
        for k in range(orders):
            probabilities[k + 1] = own[k] * observed[k] + (1 - own[k]) * probabilities[k]
        possible = probabilities[-1] > 0
        value = float(np.log(probabilities[-1][possible]).mean()) if possible.any() else 0.0
        if value - last < GAIN:
            break
        last = value
        share = np.where(possible, 1.0, 0.0) / np.where(possible, probabilities[-1], 1.0)  # of coming down to order k
        for k in range(orders - 1, -1, -1):
            mine = known[k]
            stays, goes = share * own[k] * observed[k], share * (1 - own[k]) * probabilities[k]
            ones, twos = (np.bincount(buckets[k][mine], v[mine], minlength=BUCKETS) for v in (stays, goes))
            weights[k] = (ones + 1) / (ones + twos + 2)
            share = share * (1 - own[k])
    for k in range(orders):
        for bucket in range(1, BUCKETS):
            if not reached[k, bucket]:
                weights[k, bucket] = weights[k, bucket - 1]
    return weights


def best_k(found: Sightings, base: np.ndarray, types: int) -> float:
    """The k of add-k under which the held-out text is most probable, between 1e-6 and 10, to about a thousandth of it.

    ``types``: V, or more where a larger vocabulary is assumed; ``base`` is what each type has of k V.
    """
    from scipy.optimize import minimize_scalar

    rows = found.longest - 1, np.arange(len(found.words))
    seen, followed, share = found.seen[rows], found.followed[rows], types * base[found.words]
    possible = (seen > 0) | (share > 0)
    seen, followed, share = seen[possible], followed[possible], share[possible]

    def nats(exponent: float) -> float:
        k = np.exp(exponent)
        return float(np.log(followed + k * types).sum() - np.log(seen + k * share).sum())

    bounds = (np.log(1e-6), np.log(10.0))
    return float(np.exp(minimize_scalar(nats, bounds=bounds, method="bounded", options={"xatol": 1e-3}).x))
