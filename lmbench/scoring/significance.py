"""Sums per segment -> how far chance alone could have moved a number; p-values -> what is left of them.

A perplexity on one test text is a sample: other sentences of the same kind would have given another.
The bootstrap (Efron 1979; for language models Koehn 2004) asks the text itself: draw as many segments as
there are, with replacement, and see how the number moves. Segments (sentences, or blocks of running text)
are drawn, not tokens, because neighbouring tokens are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from lmbench.errors import UsageError

CELLS = 1 << 20
"""Draws held in memory at once (resamples x segments)."""


class Interval(NamedTuple):
    """Lower and upper end, in the unit of the number they belong to."""

    low: float
    high: float


class McNemar(NamedTuple):
    """Sets on which the first model was ``ahead`` of the second or ``behind`` it, and the two-sided p."""

    ahead: int
    behind: int
    p: float


def bootstrap_perplexity(
    nats: np.ndarray, events: np.ndarray, *, resamples: int = 1000, confidence: float = 0.95, seed: int = 1
) -> Interval | None:
    """Percentile interval of the perplexity over segments; None for fewer than two, and where one has infinite nats.

    ``nats`` float (S,), ``events`` int (S,): sums per segment. Each resample is a ratio of sums,
    ``exp(sum nats / sum events)``, so long segments keep their weight. The same ``seed`` and S give the
    same draws to every model, so that two intervals differ by the models and not by the dice.
    """
    if not np.isfinite(nats).all():  # without that segment it would be another number
        return None
    log_perplexity = bootstrap_ratio(nats, events, resamples=resamples, confidence=confidence, seed=seed)
    if log_perplexity is None:
        return None
    with np.errstate(over="ignore"):  # a broken model's infinity is shown, not raised
        return Interval(*(float(np.exp(end)) for end in log_perplexity))


def bootstrap_ratio(
    numerators: np.ndarray,
    denominators: np.ndarray,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 1,
) -> Interval | None:
    """Percentile interval of ``sum numerators / sum denominators`` when segments are drawn anew.

    Arrays (S,); draws whose denominators are all 0 have no ratio and do not count. None for fewer than two segments,
    where resampling says nothing, and where no denominator is above 0. Raises UsageError for
    a confidence outside (0, 1) or fewer than 100 resamples.
    """
    check_draws(resamples, confidence)
    if len(numerators) < 2 or not np.any(denominators):
        return None
    sums = resampled_sums(np.column_stack([numerators, denominators]), resamples, seed)
    tail = (1 - confidence) / 2
    sums = sums[sums[:, 1] > 0]
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [tail, 1 - tail])
    return Interval(float(low), float(high))


def resampled_sums(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """float64 (R, C): the sum of each column of ``values`` (S, C) in each of R draws of S segments with replacement.

    All columns see the same draws: R x S draws are counted once and multiplied with the columns.
    """
    values, segments = np.asarray(values, np.float64), len(values)
    generator, sums = np.random.default_rng(seed), np.empty((resamples, values.shape[1]))
    step = max(1, CELLS // segments)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = generator.integers(0, segments, (rows, segments), dtype=np.int32).astype(np.int64)
        drawn += np.arange(0, rows * segments, segments)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * segments).reshape(rows, segments)
        sums[first : first + rows] = counts.astype(np.float64) @ values
    return sums


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """float64 (P,): the p-values adjusted for being P, by the step-down method of Holm (1979).

    The k-th smallest is multiplied by P - k + 1, and none comes out below a smaller one or above 1. Whoever calls what
    is at most alpha a difference is wrong about any pair at all with probability alpha at most, however they depend.

    >>> [round(float(value), 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Are two models right equally often? The exact test of McNemar (1947) over the sets on which they disagree.

    ``first``, ``second``: float (S,), the credit of each model for each set: 1 right, 0 wrong, between them where the
    right candidate ties with others. Sets where both have the same credit say nothing about who is better. In the
    others, were the two alike, either could be ahead as by a fair coin: p is the two-sided binomial one, without the
    approximation that few such sets would not allow. A tie is less than right and more than wrong: the model that is
    right where the other ties is ahead there.

    >>> mcnemar(np.array([1, 1, 1, 1, 1, 0.5]), np.array([0, 0, 0, 0, 1, 1]))
    McNemar(ahead=4, behind=1, p=0.375)
    """
    from scipy.special import bdtr

    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    ahead, behind = int((difference > 0).sum()), int((difference < 0).sum())
    return McNemar(ahead, behind, min(1.0, 2 * float(bdtr(min(ahead, behind), ahead + behind, 0.5))))


def wilson_interval(successes: float, trials: int, confidence: float = 0.95) -> Interval | None:
    """Interval of a share such as an accuracy (Wilson 1927); None without trials.

    Unlike the textbook ``p +- z sqrt(p (1 - p) / n)`` it stays inside [0, 1] and says something at 0 of n
    and n of n. ``successes`` may be fractional, where ties count in part. With z the normal quantile::

        (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    >>> low, high = wilson_interval(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    _check_confidence(confidence)
    if trials < 1:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, square = successes / trials, z * z / trials
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    centre, scale = share + square / 2, 1 + square
    return Interval(max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def check_draws(resamples: int, confidence: float) -> None:
    """Raises UsageError for a confidence outside (0, 1) or fewer than 100 resamples."""
    _check_confidence(confidence)
    if resamples < 100:
        raise UsageError(f"A percentile interval needs at least 100 resamples, not {resamples}.")


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UsageError(f"A confidence lies between 0 and 1, for example 0.95, not {confidence}.")
