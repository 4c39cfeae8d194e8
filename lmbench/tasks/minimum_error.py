"""Features and errors of hypotheses -> the weights under which the chosen ones have the fewest errors.

Of each list the hypothesis with the largest ``weights . features`` is chosen. Along one weight t the score of a
hypothesis is a line ``a + b t``, so which one is chosen changes only where two lines cross; the number of errors is a
step function of t, and all its steps are found exactly (minimum error rate training, Och 2003)::

    score                    upper envelope of three lines: h1 is chosen left of t1, h2 between, h3 right of t2
      |\\       /
      | \\_____/        errors(t) = sum over lists of the errors of the hypothesis on top
      | h1 h2 h3
      +----t1--t2-- t

Coordinate after coordinate, the step that saves most is taken until none saves any; then the same from random starts.
Of equal steps the nearest is taken, of equal ends the first, so that nothing changes without a gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmbench.errors import UsageError

MARGIN = 0.1
"""How far behind its last crossing a weight goes where nothing bounds it, as a share of the crossing itself."""
ROUNDS = 100


@dataclass(frozen=True)
class Features:
    """What is known of the hypotheses of U lists, N at most in each.

    ``names``: F features. ``values``: float64 (U, N, F), 0 where a list is shorter. ``present``: bool (U, N).
    """

    names: tuple[str, ...]
    values: np.ndarray
    present: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def chosen(self, weights: np.ndarray) -> np.ndarray:
        """int64 (U,): index of the hypothesis with the largest score in each list; of equal ones the first."""
        return np.where(self.present, self.values @ weights, -np.inf).argmax(1)

    def of(self, lists: np.ndarray) -> Features:
        """Those of some lists, by index."""
        return Features(self.names, self.values[lists], self.present[lists])


def joined(parts: list[Features]) -> Features:
    """The lists of all ``parts``, one part after the other. Raises UsageError where their features differ."""
    for part in parts:
        if part.names != parts[0].names:
            raise UsageError(f"Features that differ cannot be joined: {parts[0].names} and {part.names}.")
    width = max(part.present.shape[1] for part in parts)
    values = [np.pad(p.values, ((0, 0), (0, width - p.values.shape[1]), (0, 0))) for p in parts]
    present = [np.pad(p.present, ((0, 0), (0, width - p.present.shape[1]))) for p in parts]
    return Features(parts[0].names, np.concatenate(values), np.concatenate(present))


def errors_at(features: Features, errors: np.ndarray, weights: np.ndarray) -> int:
    """Errors of the hypotheses chosen under ``weights``. ``errors``: int64 (U, N)."""
    return int(np.take_along_axis(errors, features.chosen(weights)[:, None], 1).sum())


def tune(
    features: Features, errors: np.ndarray, start: np.ndarray, *, restarts: int = 10, seed: int = 1
) -> tuple[np.ndarray, int]:
    """Weights, float64 (F,), with the fewest errors that were found, and how many these are.

    ``errors``: int64 (U, N), of each hypothesis. ``start``: where the search begins; its own errors are never exceeded.
    ``restarts``: further searches from weights drawn with ``seed``, each feature on the scale of its differences
    inside a list.
    """
    counts = np.maximum(features.present.sum(1), 1)
    means = features.values.sum(1, where=features.present[..., None]) / counts[:, None]
    deviations = np.where(features.present[..., None], features.values - means[:, None], 0.0)
    spread = np.sqrt(np.square(deviations).sum((0, 1)) / counts.sum())
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    generator = np.random.default_rng(seed)
    starts = [np.asarray(start, np.float64), *(scale * generator.standard_normal((restarts, len(scale))))]
    found = [_descend(features, errors, weights) for weights in starts]
    return min(found, key=lambda pair: pair[1])


def _descend(features: Features, errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, int]:
    """From ``weights`` along the coordinate that saves most, again and again."""
    best = errors_at(features, errors, weights)
    for _ in range(ROUNDS):
        trials = []
        for axis in range(len(weights)):
            moved = weights.copy()
            moved[axis] = line_search(features, errors, weights, axis)
            trials.append((errors_at(features, errors, moved), moved))
        least, moved = min(trials, key=lambda trial: trial[0])
        if least >= best:
            break
        best, weights = least, moved
    return weights, best


def line_search(features: Features, errors: np.ndarray, weights: np.ndarray, axis: int) -> float:
    """The value of one weight with the fewest errors, the others as they are; of equal ones that nearest to the old.

    It lies in the middle between the two crossings that bound it.
    """
    slopes = features.values[..., axis]
    old = float(weights[axis])
    others = weights.copy()
    others[axis] = 0.0
    crossings, changes, opening = _envelope(features.values @ others, slopes, features.present, errors)
    order = np.argsort(crossings, kind="stable")
    crossings = crossings[order]
    totals = opening + np.concatenate(([0], np.cumsum(changes[order])))
    low, high = np.concatenate(([-np.inf], crossings)), np.concatenate((crossings, [np.inf]))
    totals, low, high = (
        part[high > low] for part in (totals, low, high)
    )  # lines that meet in one point: no room between
    best = np.flatnonzero(totals == totals.min())
    distance = np.maximum(np.maximum(low[best] - old, old - high[best]), 0.0)
    chosen = best[distance.argmin()]
    if distance.min() == 0.0:
        return old
    return _inside(float(low[chosen]), float(high[chosen]))


def _inside(low: float, high: float) -> float:
    """A value between two crossings."""
    if np.isinf(low):
        return high - MARGIN * max(abs(high), MARGIN)
    if np.isinf(high):
        return low + MARGIN * max(abs(low), MARGIN)
    return (low + high) / 2


def _envelope(
    heights: np.ndarray, slopes: np.ndarray, present: np.ndarray, errors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """All crossings of the upper envelopes, float64 (K,), the change of errors at each, and the errors left of all.

    All lists take their next crossing together: at most N - 1 rounds.
    """
    rows = np.arange(len(slopes))
    flattest = np.where(present, slopes, np.inf)
    left = np.where(flattest == flattest.min(1, keepdims=True), heights, -np.inf)
    top = left.argmax(1)  # the line on top far to the left
    opening = int(errors[rows, top].sum())
    crossings, changes = [], []
    while len(rows):
        height, slope = heights[rows, top, None], slopes[rows, top, None]
        steeper = present[rows] & (slopes[rows] > slope)
        where = np.full(steeper.shape, np.inf)
        np.divide(height - heights[rows], slopes[rows] - slope, out=where, where=steeper)
        nearest = where.min(1)
        ties = np.where(where == nearest[:, None], slopes[rows], -np.inf)
        following = ties.argmax(1)  # of lines that cross in one point the steepest goes on
        going = np.isfinite(nearest)
        rows, top, following = rows[going], top[going], following[going]
        crossings.append(nearest[going])
        changes.append(errors[rows, following] - errors[rows, top])
        top = following
    return np.concatenate([*crossings, np.zeros(0)]), np.concatenate([*changes, np.zeros(0, np.int64)]), opening
