"""Results at several training sizes -> who is better on how much text: a curve of each model, and where two cross.

Between two sizes that were measured a curve is the straight line in the plot: the logarithm of the perplexity over the
logarithm of the tokens. Beyond them it is the power law that was fitted, which is a guess, and is called one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np

from lmbench.benchmark.results import Result, RunFolder
from lmbench.errors import ResultsError
from lmbench.report.power_law import PowerLaw, fit
from lmbench.scoring.significance import resampled_sums

REACH = 10.0
"""A crossing is extrapolated to so many times the largest size that was measured, and no further."""
HOW_SIZES_ARE_CHOSEN = (
    "A training size is a part of the training split: runs of about 500 tokens from all over it, as a text changes on "
    "its way, drawn by the seed of the run; the larger parts hold the smaller. Vocabulary, validation split and test "
    "events are the same at every size, so that all perplexities compare: the vocabulary is that of the whole split, "
    "and a word of it that a part does not show is predicted all the same, not hidden in <unk>. The budget too is the "
    "same at every size: on little text it is many epochs, and a network keeps the weights that were best on the "
    "validation split."
)
RESAMPLES = 300
"""Draws of the test text behind the interval of an exponent."""


@dataclass(frozen=True)
class Curve:
    """One model over the sizes at which it was measured, the smallest first; of several seeds the mean.

    ``events``: what it predicts, and ``measure``: ``perplexity`` or ``adaptive_perplexity``; curves compare where both
    are equal. ``tokens`` int64 (n,), rising; ``nats`` float64 (n,), nats per event, infinite where a token was ruled
    out. ``results``: for each size those of its seeds. ``law``: None where none was found.
    """

    model: str
    events: str
    measure: str
    tokens: np.ndarray
    nats: np.ndarray
    results: tuple[tuple[Result, ...], ...]
    law: PowerLaw | None

    @property
    def title(self) -> str:
        """The model, and whether its perplexity is an adaptive one."""
        return self.model if self.measure == "perplexity" else f"{self.model} (adaptive)"

    @property
    def perplexities(self) -> np.ndarray:
        """float64 (n,)."""
        return np.exp(self.nats)


@dataclass(frozen=True)
class Crossing:
    """Where two curves meet: ``below`` that many ``tokens`` one model is better, ``above`` the other.

    ``perplexity``: of both there. ``measured``: whether it lies between sizes that were measured, or is a guess.
    """

    below: str
    above: str
    tokens: float
    perplexity: float
    measured: bool = True

    def __str__(self) -> str:
        guess = "" if self.measured else ": a guess from the fitted laws, as it was not measured"
        return f"{self.below} is better up to about {rounded(self.tokens)} tokens, {self.above} beyond{guess}."


def at_largest(results: Sequence[Result]) -> list[Result]:
    """The results at the largest training size; all, unless the run compares sizes."""
    largest = max((result.train_tokens or 0 for result in results), default=0)
    return [result for result in results if result.train_tokens in (None, largest)]


def curves(results: Sequence[Result]) -> list[Curve]:
    """A curve of each model with a training size and a perplexity, in the order of the run."""
    apart: dict[tuple[str, str, str], dict[int, list[Result]]] = {}
    for result in results:
        measure = "perplexity" if result.perplexity is not None else "adaptive_perplexity"
        if result.train_tokens is None or getattr(result, measure) is None or result.nats_per_event is None:
            continue
        key = (result.model, result.comparison, measure)
        apart.setdefault(key, {}).setdefault(result.train_tokens, []).append(result)
    return [_curve(*key, points) for key, points in apart.items()]


def _curve(model: str, events: str, measure: str, points: dict[int, list[Result]]) -> Curve:
    sizes = sorted(points)
    rows = tuple(tuple(points[size]) for size in sizes)
    nats = np.array([np.mean([result.nats_per_event for result in row]) for row in rows])
    tokens = np.array(sizes, np.int64)
    return Curve(model, events, measure, tokens, nats, rows, fit(tokens, nats))


def with_intervals(folder: RunFolder, found: Sequence[Curve]) -> list[Curve]:
    """The curves with a 95 % interval of each exponent: the test text is drawn anew, the same draws for all models.

    A curve whose scores are not kept in ``folder`` stays as it is.
    """
    result = []
    for curve in found:
        resampled = None if curve.law is None else _resampled(folder, curve)
        result.append(curve if resampled is None else replace(curve, law=fit(curve.tokens, curve.nats, resampled)))
    return result


def _resampled(folder: RunFolder, curve: Curve) -> np.ndarray | None:
    """float64 (R, n): the losses of ``curve`` on other draws of the segments; None for fewer than two, or no scores."""
    losses = []
    for row in curve.results:
        try:
            sums = [folder.read_scores(result) for result in row]
        except ResultsError:
            return None
        if len(sums[0].events) < 2:
            return None
        columns = np.column_stack([np.mean([one.nats for one in sums], 0), sums[0].events])
        nats, events = resampled_sums(columns, RESAMPLES, seed=1).T
        losses.append(nats / events)
    return np.stack(losses, 1)


def crossings(found: Sequence[Curve]) -> list[Crossing]:
    """Where any two curves that may be compared meet, from few tokens to many."""
    met: list[Crossing] = []
    for one, other in combinations(found, 2):
        if (one.events, one.measure) == (other.events, other.measure):
            met += _measured(one, other)
            met += _beyond(one, other)
    return sorted(met, key=lambda crossing: (crossing.tokens, crossing.below, crossing.above))


def _shared(one: Curve, other: Curve) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logarithms of the sizes at which both have a number, (n,), and their losses there, each (n,)."""
    tokens, mine, yours = np.intersect1d(one.tokens, other.tokens, return_indices=True)
    finite = np.isfinite(one.nats[mine]) & np.isfinite(other.nats[yours])
    return np.log(tokens[finite]), one.nats[mine][finite], other.nats[yours][finite]


def _measured(one: Curve, other: Curve) -> Iterator[Crossing]:
    """The crossings between measured sizes; where both are equal at a size and change places, it is there."""
    places, first, second = _shared(one, other)
    gap = first - second  # above 0 where the other is better
    for left, right in pairwise(np.flatnonzero(gap).tolist()):
        if gap[left] * gap[right] > 0:
            continue
        share = gap[left] / (gap[left] - gap[left + 1])  # 1 where they are equal at the next size
        place = places[left] + share * (places[left + 1] - places[left])
        nats = first[left] + share * (first[left + 1] - first[left])
        names = (one.model, other.model) if gap[left] < 0 else (other.model, one.model)
        yield Crossing(*names, tokens=math.exp(place), perplexity=math.exp(nats))


def _beyond(one: Curve, other: Curve) -> Iterator[Crossing]:
    """The first crossing of the laws after the last measured size, where they agree there with what was measured."""
    from scipy.optimize import brentq

    places, first, second = _shared(one, other)
    if one.law is None or other.law is None or not len(places):
        return
    mine, yours = one.law, other.law

    def gap(place: float) -> float:
        return mine.nats(math.exp(place)) - yours.nats(math.exp(place))

    last = float(places[-1])
    if gap(last) * (first[-1] - second[-1]) <= 0:
        return
    steps = np.linspace(last, last + math.log(REACH), 50).tolist()
    for left, right in pairwise(steps):
        if gap(left) * gap(right) <= 0:
            place = float(brentq(gap, left, right))
            names = (one.model, other.model) if gap(left) < 0 else (other.model, one.model)
            yield Crossing(
                *names, tokens=math.exp(place), perplexity=math.exp(mine.nats(math.exp(place))), measured=False
            )
            return


def matrix(
    found: Sequence[Curve],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], frozenset[tuple[int, int]]]:
    """Headings, a row of perplexities for each curve with a column for each size, and (row, column) of the best.

    Curves of adaptive perplexities say so, and are not among the best.
    """
    sizes = sorted({int(size) for curve in found for size in curve.tokens})
    values = [dict(zip(curve.tokens.tolist(), curve.perplexities.tolist(), strict=True)) for curve in found]
    ranked = [row for row, curve in enumerate(found) if curve.measure == "perplexity"]
    best: set[tuple[int, int]] = set()
    for column, size in enumerate(sizes, 1):
        there = {row: values[row][size] for row in ranked if size in values[row]}
        least = [row for row, value in there.items() if value == min(there.values())]
        best |= {(row, column) for row in least if len(least) < len(there)}
    cells = tuple(
        (curve.title, *(f"{known[size]:,.2f}" if size in known else "" for size in sizes))
        for curve, known in zip(found, values, strict=True)
    )
    return ("model", *(f"{size:,}" for size in sizes)), cells, frozenset(best)


def notes(results: Sequence[Result]) -> list[str]:
    """What a reader of tables by training size must know, and what they show."""
    found = curves(results)
    if not found:
        return []
    several = any(len(row) > 1 for curve in found for row in curve.results)
    means = " Perplexities by size are geometric means over seeds." if several else ""
    return [HOW_SIZES_ARE_CHOSEN + means, *sentences(found)]


def sentences(found: Sequence[Curve]) -> list[str]:
    """What the curves show, in words: who is better where, and how fast each falls."""
    several = [curve for curve in found if len(curve.tokens) > 1]
    if not several:
        return []
    told = [str(crossing) for crossing in crossings(several)]
    if not told and len(several) > 1:
        told = ["The order of the models is the same at every training size."]
    laws = [f"{curve.model} {curve.law}{_certainty(curve.law)}" for curve in several if curve.law is not None]
    if laws:
        told.append(f"Nats per event after D training tokens, fitted: {'; '.join(laws)}.")
    return told


def _certainty(law: PowerLaw) -> str:
    sure = "" if law.exponent_low is None else f", exponent {law.exponent_low:.3f} to {law.exponent_high:.3f}"
    return f" (residual {law.residual:.1%}{sure})"


def rounded(number: float) -> str:
    """A number in two figures, as one says it.

    >>> rounded(41_873), rounded(1_234_567), rounded(9_960)
    ('42,000', '1.2 million', '10,000')
    """
    digits = 1 - math.floor(math.log10(number))
    short = round(number, digits)
    return f"{short / 1e6:,.2g} million" if 1e6 <= short < 1e8 else f"{short:,.0f}"
