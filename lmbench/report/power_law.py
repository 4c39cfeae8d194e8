"""Losses at several training sizes -> the power law that they follow.

With D training tokens and the loss L in nats per event::

    three sizes     L(D) = A / D^alpha             Kaplan et al. 2020, equation 1.2
    four or more    L(D) = E + A / D^alpha         Hoffmann et al. 2022, equation 2, at one size of model; E >= 0

Fitted are relative deviations, ``(L(D) - L) / L``: to first order those of the logarithms. For a given exponent the
best E and A are linear least squares in closed form, so that only the exponent is searched for, on a grid that is made
finer around the best: no first guess that could lead astray, and hundreds of fits at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST_SIZES = 3
"""With two sizes any law of two numbers fits."""
LEAST_FOR_FLOOR = 4
LOWEST, HIGHEST = 1e-5, 4.0
"""Exponents that are tried: what is measured of language lies between 0.05 and 0.5."""
FLAT = 1e-3
"""A law that falls by less than this share of the loss from the smallest size to the largest is none."""
GRID, ZOOMS = 120, 4


@dataclass(frozen=True)
class PowerLaw:
    """``floor + amount / tokens^exponent`` nats per event.

    >>> law = PowerLaw(floor=2.0, amount=30.0, exponent=0.25)
    >>> law.nats(10_000), str(law)
    (5.0, '2.000 + 30 / D^0.250')
    """

    floor: float
    """E, nats per event: what no amount of text would take away; 0 where it was not fitted."""
    amount: float
    """A, nats per event at one token."""
    exponent: float
    """alpha, above 0."""
    residual: float = 0.0
    """Root mean square of the relative deviations of the losses from the law: 0.01 is one percent."""
    exponent_low: float | None = None
    exponent_high: float | None = None
    """95 % bootstrap interval over the segments of the test split, where that was asked for."""

    def nats(self, tokens: float) -> float:
        """The loss after ``tokens``."""
        return self.floor + self.amount * float(tokens) ** -self.exponent

    def __str__(self) -> str:
        falling = f"{self.amount:.4g} / D^{self.exponent:.3f}"
        return f"{self.floor:.3f} + {falling}" if self.floor else falling


def fit(tokens: np.ndarray, nats: np.ndarray, resampled: np.ndarray | None = None) -> PowerLaw | None:
    """The law of losses ``nats`` float (n,) at ``tokens`` int (n,); those that are infinite are left out.

    ``resampled``: float (R, n), the same losses on R other draws of the test text, for an interval of the exponent.
    None for fewer than three sizes, and where the loss does not fall.
    """
    finite = np.isfinite(nats)
    if resampled is not None:
        finite &= np.isfinite(resampled).all(0)
    if finite.sum() < LEAST_SIZES:
        return None
    places = np.log(np.asarray(tokens, np.float64)[finite])
    scale = float(places.mean())  # so that D^-alpha is about 1, whatever alpha
    floor, amount, exponent, cost = (float(part[0]) for part in _fit(places - scale, nats[None, finite]))
    ends = floor + amount * np.exp(-exponent * (places[[0, -1]] - scale))
    if ends[0] - ends[1] < FLAT * ends[1]:
        return None
    low = high = None
    if resampled is not None:
        _, amounts, exponents, _ = _fit(places - scale, resampled[:, finite])
        low, high = map(float, np.quantile(np.where(amounts > 0, exponents, 0.0), [0.025, 0.975]))
    residual = float(np.sqrt(cost / finite.sum()))
    return PowerLaw(floor, amount * float(np.exp(exponent * scale)), exponent, residual, low, high)


def _fit(places: np.ndarray, nats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """E, A, alpha and the sum of squares, each (R,), of losses ``nats`` (R, n) at ``places``, ln D - scale (n,)."""
    low, high = np.full(len(nats), np.log(LOWEST)), np.full(len(nats), np.log(HIGHEST))
    every = np.arange(len(nats))
    for _ in range(ZOOMS):
        grid = np.linspace(low, high, GRID, axis=1)  # (R, K), ln alpha
        floor, amount, cost = _linear(np.exp(-np.exp(grid)[:, :, None] * places), nats[:, None, :])
        best = cost.argmin(1)
        low, high = grid[every, np.maximum(best - 1, 0)], grid[every, np.minimum(best + 1, GRID - 1)]
    return floor[every, best], amount[every, best], np.exp(grid[every, best]), cost[every, best]


def _linear(falling: np.ndarray, nats: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E >= 0 and A >= 0, (R, K), that make the sum of squares of ``(E + A falling - nats) / nats`` least, and that.

    ``falling`` (R, K, n): D^-alpha; ``nats`` (R, 1, n).
    """
    one, slope = np.broadcast_to(1 / nats, falling.shape), falling / nats
    oo, os, ss, o, s = (one**2).sum(-1), (one * slope).sum(-1), (slope**2).sum(-1), one.sum(-1), slope.sum(-1)
    floor, amount = np.zeros_like(o), s / ss
    if nats.shape[-1] >= LEAST_FOR_FLOOR:
        rise = (oo * s - os * o) / (oo * ss - os**2)
        level = (o - os * rise) / oo
        floor, amount = np.where(level > 0, level, floor), np.where(level > 0, rise, amount)
        flat = amount < 0
        floor, amount = np.where(flat, o / oo, floor), np.where(flat, 0.0, amount)
    return floor, amount, ((floor[..., None] * one + amount[..., None] * slope - 1) ** 2).sum(-1)
