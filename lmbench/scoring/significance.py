"""Sums per segment -> how far chance alone could have moved a number.

A perplexity on one test text is a sample: other sentences of the same kind would have given another.
The bootstrap (Efron 1979; for language models Koehn 2004) asks the text itself: draw as many segments as
there are, with replacement, and see how the number moves. Segments (sentences, or blocks of running text)
are drawn, not tokens, because neighbouring tokens are not independent.
"""

from __future__ import annotations

import math
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

    Arrays (S,); None for fewer than two segments, where resampling says nothing. Raises UsageError for
    a confidence outside (0, 1) or fewer than 100 resamples.
    """
    _check_confidence(confidence)
    if resamples < 100:
        raise UsageError(f"A percentile interval needs at least 100 resamples, not {resamples}.")
    segments = len(numerators)
    if segments < 2:
        return None
    generator = np.random.default_rng(seed)
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    ratios = np.empty(resamples)
    step = max(1, CELLS // segments)
    for first in range(0, resamples, step):
        drawn = generator.integers(0, segments, (min(step, resamples - first), segments), dtype=np.int32)  # (R, S)
        ratios[first : first + step] = top[drawn].sum(1) / bottom[drawn].sum(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(float(low), float(high))


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


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UsageError(f"A confidence lies between 0 and 1, for example 0.95, not {confidence}.")
