"""Sums of several models over the same segments -> which of them differ, by how much, and how sure that is.

Segments are sentences, blocks of running text, candidate sets or utterances: whatever may be drawn independently. Every
model has a numerator in each (nats, errors), all share the denominators (events, reference words), and what is compared
is the ratio of the sums. The same text was put to all, so the test is paired: a hard sentence is hard for both.

::

    interval   paired bootstrap: segments are drawn with replacement, the same draws for all models (Efron 1979;
               Koehn 2004), percentiles widened for few segments (Hesterberg 2015)
    p          paired permutation: were the two alike, each segment could as well have gone the other way round, so
               signs of its difference are drawn (Fisher 1935; Noreen 1989); (b + 1) / (n + 1) is never 0
    adjusted   the p-values of all pairs together, by Holm (1979)

Both draws are linear in the numerators: with M models and R draws, one product of draws (R, S) and numerators (S, M)
serves all M (M - 1) / 2 pairs.

Where a model was trained with several seeds, these are a sample as well: the question is then of the way of training,
not of one network. Seeds and segments vary independently (Clark 1973), so the variances add: that of the mean over K
seeds, s^2 / K, and that of the text, from the residuals of the mean; the interval is Student's with the degrees of
freedom of Satterthwaite (1946). A bootstrap over seeds as well (Sellam et al. 2022) is too sure with few of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lmbench.errors import UsageError
from lmbench.scoring.significance import CELLS, check_draws, holm, resampled_sums

EXACT = 1e-10
"""Share of a sum by which rounding may move it: below that, two sums are equal."""
MOST = 10_000
"""Segments drawn from at most: of more, neighbours are taken together, which costs little precision and saves time."""
FEW = 30
"""Effective segments below which an interval may be too narrow: see ``results/reference/significance``."""


@dataclass(frozen=True)
class PairedDifferences:
    """M models compared over S segments. Matrices are float64 (M, M): row minus column, in the unit of the ratio.

    ``values``: float64 (M,), the ratio of each model, its mean over seeds. ``seeds``: int64 (M,), rows of each model;
    ``seed_deviations``: float64 (M,), standard deviation of the ratio over them, NaN for one. ``difference``, and
    ``low`` and ``high``, its interval; ``p``, and ``adjusted``, by Holm over all pairs (1 on the diagonal).
    ``segments``: what was drawn, S or, of more than 10,000, groups of neighbours. ``effective``: the number of segments
    of equal size that would vary as these do, ``(sum d)^2 / sum d^2`` of the denominators (Kish 1965). ``draws``: of
    signs, all 2^S where they are so few.
    """

    values: np.ndarray
    seeds: np.ndarray
    seed_deviations: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    adjusted: np.ndarray
    segments: int
    effective: float
    draws: int
    confidence: float

    @property
    def differ(self) -> np.ndarray:
        """bool (M, M): pairs whose adjusted p is at most 1 - confidence."""
        return self.adjusted <= 1 - self.confidence + 1e-12

    @property
    def few(self) -> bool:
        """Whether the intervals may be too narrow, because the segments are few or some much larger than others."""
        return self.effective < FEW


def paired_differences(
    numerators: np.ndarray,
    denominators: np.ndarray,
    *,
    models: np.ndarray | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 1,
) -> PairedDifferences:
    """Compare every pair of rows of ``numerators`` by ``sum numerators / sum denominators``.

    ``numerators``: finite (N, S), a row a model. ``denominators``: (S,), not negative, the same for all. ``models``:
    int (N,), which of 0 ... M - 1 each row belongs to, where some have several, one a seed; by default each is a model
    of its own. ``resamples``: at least so many draws; more signs are drawn where pairs are so many that Holm's
    correction could find nothing otherwise. The same ``seed``, S and number of models give the same numbers. Raises
    UsageError for fewer than two segments, shapes that do not fit, or numbers that are not finite.

    >>> found = paired_differences(np.array([[3.0, 4.0, 5.0], [1.0, 2.0, 2.0]]), np.array([1, 1, 1]))
    >>> round(float(found.difference[0, 1]), 3), float(found.p[0, 1])
    (2.333, 0.25)
    """
    rows, sizes = np.atleast_2d(np.asarray(numerators, np.float64)), np.asarray(denominators, np.float64)
    _check(rows, sizes)
    check_draws(resamples, confidence)
    if len(sizes) > MOST:
        starts = np.arange(0, len(sizes), -(-len(sizes) // MOST))
        rows, sizes = np.add.reduceat(rows, starts, axis=1), np.add.reduceat(sizes, starts)
    owner = np.arange(len(rows)) if models is None else np.asarray(models)
    seeds = np.bincount(owner)
    means = np.zeros((len(seeds), len(sizes)))
    np.add.at(means, owner, rows)
    means /= seeds[:, None]  # (M, S)
    values = means.sum(1) / sizes.sum()
    deviations = _deviations(rows.sum(1) / sizes.sum(), owner, seeds)
    difference = values[:, None] - values[None, :]
    first, second = np.triu_indices(len(seeds), 1)
    centred = means - means.mean(0)  # differences stay, rounding shrinks
    low, high = np.zeros_like(difference), np.zeros_like(difference)
    p, adjusted = np.ones_like(difference), np.ones_like(difference)
    draws = max(resamples, math.ceil(2 * len(first) / (1 - confidence)))
    ends = _bootstrap(centred, sizes, (first, second), resamples, confidence, seed)
    found, draws = _permutation(centred, (first, second), draws, seed)
    both = (seeds[first] > 1) | (seeds[second] > 1)
    if both.any():
        *ends_seeds, p_seeds = _over_seeds(centred, sizes, (first, second), deviations**2 / seeds, seeds, confidence)
        ends = [np.where(both, new, old) for new, old in zip(ends_seeds, ends, strict=True)]
        found = np.where(both, p_seeds, found)
    low[first, second], high[first, second] = ends
    low[second, first], high[second, first] = -ends[1], -ends[0]
    for matrix, numbers in ((p, found), (adjusted, holm(found))):
        matrix[first, second] = matrix[second, first] = numbers
    effective = float(sizes.sum() ** 2 / (sizes**2).sum())
    return PairedDifferences(
        values, seeds, deviations, difference, low, high, p, adjusted, len(sizes), effective, draws, confidence
    )


Pairs = tuple[np.ndarray, np.ndarray]
"""The two models of each pair, int64 (P,) each."""


def _bootstrap(
    means: np.ndarray, sizes: np.ndarray, pairs: Pairs, resamples: int, confidence: float, seed: int
) -> list[np.ndarray]:
    """Lower and upper ends of the differences, (P,) each, from percentiles of the draws.

    Of n segments the percentiles are too narrow by sqrt((n - 1) / n), as any spread that is divided by n, and by the
    quantile of the normal instead of Student's distribution: they are taken as far out as that asks for.
    """
    from scipy.special import ndtr, stdtrit

    segments = len(sizes)
    sums = np.ascontiguousarray(resampled_sums(np.column_stack([means.T, sizes]), resamples, seed).T)  # (M + 1, R)
    ratios = sums[:-1] / np.where(sums[-1] > 0, sums[-1], 1.0)
    tail = ndtr(-stdtrit(segments - 1, 0.5 + confidence / 2) * math.sqrt(segments / (segments - 1)))
    ends = np.empty((2, len(pairs[0])))
    for part in _parts(len(pairs[0]), resamples):
        ends[:, part] = np.quantile(ratios[pairs[0][part]] - ratios[pairs[1][part]], [tail, 1 - tail], axis=1)
    return list(ends)


def _permutation(means: np.ndarray, pairs: Pairs, draws: int, seed: int) -> tuple[np.ndarray, int]:
    """Two-sided p of each pair, (P,), and how many patterns of signs it is from: all, where ``draws`` are enough."""
    segments = means.shape[1]
    exact = segments < 60 and 2**segments <= draws
    patterns = 2**segments if exact else draws
    sums = np.empty((len(means), patterns))
    seen = 0
    for signs in _signs(segments, patterns, exact, seed):
        sums[:, seen : seen + len(signs)] = (signs @ means.T).T
        seen += len(signs)
    totals, sizes = means.sum(1), np.abs(means).sum(1)
    beyond = np.empty(len(pairs[0]))
    for part in _parts(len(pairs[0]), patterns):
        one, other = pairs[0][part], pairs[1][part]
        least = np.abs(totals[one] - totals[other]) - EXACT * (sizes[one] + sizes[other])
        beyond[part] = (np.abs(sums[one] - sums[other]) >= least[:, None]).sum(1)
    return (beyond / patterns if exact else (beyond + 1) / (patterns + 1)), patterns


def _signs(segments: int, patterns: int, exact: bool, seed: int) -> Iterator[np.ndarray]:
    """float64 (R', S) of -1 and 1, in parts that fit into memory: random, or all there are."""
    generator = np.random.default_rng(seed)
    step = max(1, CELLS // segments)
    for first in range(0, patterns, step):
        rows = min(step, patterns - first)
        if exact:
            signs = ((np.arange(first, first + rows)[:, None] >> np.arange(segments)) & 1).astype(np.float64)
        else:
            drawn = generator.integers(0, 256, (rows, -(-segments // 8)), dtype=np.uint8)
            signs = np.unpackbits(drawn, axis=1, count=segments).astype(np.float64)
        signs *= 2
        signs -= 1
        yield signs


def _over_seeds(
    means: np.ndarray, sizes: np.ndarray, pairs: Pairs, seed_variances: np.ndarray, seeds: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ends and p of each pair, (P,) each, where seeds vary as well as segments (see the module docstring).

    ``seed_variances``: (M,), of the mean over the seeds of a model; NaN for one seed, which is taken as it is.
    """
    from scipy.special import stdtr, stdtrit

    one, other = pairs
    segments, total = len(sizes), sizes.sum()
    residuals = means - np.outer(means.sum(1) / total, sizes)
    products = residuals @ residuals.T
    squares = products[one, one] + products[other, other] - 2 * products[one, other]
    text = np.maximum(squares, 0.0) / total**2 * segments / (segments - 1)
    known = np.nan_to_num(seed_variances)
    parts = np.stack([text, known[one], known[other]])  # (3, P)
    freedom = np.stack([np.full(len(one), segments - 1), *(np.maximum(seeds[model] - 1, 1) for model in pairs)])
    variance = parts.sum(0)
    safe = np.where(variance > 0, variance, 1.0)
    degrees = np.where(variance > 0, safe**2 / np.maximum((parts**2 / freedom).sum(0), 1e-300), 1.0)
    values = means.sum(1) / total
    difference, error = values[one] - values[other], np.sqrt(variance)
    half = stdtrit(degrees, 0.5 + confidence / 2) * error
    p = np.where(error > 0, 2 * stdtr(degrees, -np.abs(difference) / np.sqrt(safe)), difference == 0)
    return difference - half, difference + half, p


def _deviations(ratios: np.ndarray, owner: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """(M,): standard deviation of the ratios of the rows of each model, NaN for one row."""
    means = np.bincount(owner, ratios) / seeds
    squares = np.bincount(owner, (ratios - means[owner]) ** 2)
    return np.where(seeds > 1, np.sqrt(squares / np.maximum(seeds - 1, 1)), np.nan)


def _parts(pairs: int, draws: int) -> Iterator[slice]:
    """The pairs in parts whose draws fit into memory."""
    step = max(1, CELLS // draws)
    return (slice(first, first + step) for first in range(0, pairs, step))


def _check(rows: np.ndarray, sizes: np.ndarray) -> None:
    if rows.shape[1:] != sizes.shape:
        raise UsageError(
            f"Models are compared over the same segments: numerators {rows.shape} and denominators {sizes.shape} do "
            "not fit; give (models, segments) and (segments,)."
        )
    if len(sizes) < 2:
        raise UsageError(f"A comparison needs at least two segments to see how much they vary, not {len(sizes)}.")
    if not (np.isfinite(rows).all() and np.isfinite(sizes).all() and sizes.min() >= 0 and sizes.sum() > 0):
        raise UsageError(
            "Only finite numerators over denominators that are not negative can be compared: leave out models that "
            "rule a token out."
        )
