"""Several distributions over the same types -> one: their power mean, its numbers found on held-out events.

With weights w, exponents a and a power r, of models i::

    p(w | h)  proportional to  (sum_i w_i p_i(w | h)^(a_i r))^(1 / r)

At r = 1 and a = 1 that is linear interpolation (Jelinek & Mercer 1980): a word is likely where one model says so. As r
goes to 0 it becomes log-linear interpolation (Klakow 1998), a product: a word is unlikely where one model says so.
Between the two lie the means of Amari (2007, "Integration of stochastic models by minimizing alpha-divergence", r =
(1 - alpha) / 2). An exponent above 1 sharpens a model that is less sure than it could be, one below 1 flattens it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from lmbench.compiled import in_threads
from lmbench.models.interpolation import fit_weights

Result = TypeVar("Result")
BLOCK = 1 << 16
"""Types x events at once, for each model that many float32: caches hold most of them, and a call has enough to do."""
BLOCKS = 16
"""That a thread works on with one scratch array."""
LOWEST = -1e4
"""Nats: what is impossible counts as this where exponents are sought."""
RANGE = 0.02, 20.0
"""Within which power and exponents are sought."""
PRIOR = 5.0
"""Nats x 2 that it takes to move the logarithm of one of them by 1: little where there are hundreds of events."""
STEPS = 60


def power_mean(log_probs: Sequence[np.ndarray], weights: np.ndarray, exponents: np.ndarray, power: float) -> np.ndarray:
    """float32 (N, V), nats: the power mean of ``log_probs``, (N, V) each; a type that none thinks possible has -inf.

    ``weights``, ``exponents``: float64 (M,).

    >>> halves, sure = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    >>> np.exp(power_mean([halves, sure], np.array([0.5, 0.5]), np.ones(2), 1.0)).round(3)
    array([[0.7, 0.3]], dtype=float32)
    >>> np.exp(power_mean([halves, sure], np.array([0.5, 0.5]), np.ones(2), 1e-3)).round(3)  # the root of 9, to 1
    array([[0.75, 0.25]], dtype=float32)
    """
    events, types = log_probs[0].shape
    result, biases = np.empty((events, types), np.float32), _biases(weights, power)

    def fill(rows: slice, scratch: np.ndarray) -> None:
        result[rows] = _mean([part[rows] for part in log_probs], biases, exponents, power, scratch)[0]

    _in_blocks(fill, len(log_probs), events, types)
    return result


def fit_power_mean(log_probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Weights (M,), exponents (M,) and power under which ``targets`` are most probable, and nats per event then.

    By L-BFGS from the weights of linear interpolation, r = 1/2 and a = 1, and with a normal prior there on the
    logarithms of power and exponents. Where that ends above linear interpolation, r = 1, by nats and prior together, it
    is sought from there. An event that is impossible under every model is set aside, since no numbers change that; the
    nats are infinite then. ``log_probs``: float32 (M, N, V), nats, of all types before each of N events, to write on:
    what is impossible is set to ``LOWEST``. ``targets``: int64 (N,), the types that followed.
    """
    from scipy.optimize import minimize

    of_targets = log_probs[:, np.arange(len(targets)), targets].astype(np.float64)
    possible = (of_targets > -np.inf).any(0)
    if not possible.all():
        log_probs, targets = log_probs[:, possible], targets[possible]
    models, events, types = log_probs.shape
    if not events:
        return np.full(models, 1 / models), np.ones(models), 1.0, np.inf
    np.maximum(log_probs, np.float32(LOWEST), out=log_probs)  # 0 times -inf would be no number
    weights = fit_weights(of_targets[:, possible])[0][0]
    start, linear = (
        np.concatenate((_biases(np.maximum(weights, 1e-3), power), np.zeros(models), [np.log(power)]))
        for power in (0.5, 1.0)
    )

    def disbelief(numbers: np.ndarray) -> float:
        away = (numbers - start)[models:]
        return PRIOR / 2 * float(away @ away)

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        biases, exponents, power = _unpacked(numbers)

        def expect(rows: slice, scratch: np.ndarray) -> np.ndarray:
            return _expect(log_probs[:, rows], targets[rows], biases, exponents, power, scratch)

        found = np.sum(_in_blocks(expect, models, events, types), axis=0)
        found[1 + models :] *= np.append(exponents, power)  # they are sought as logarithms
        found[1 + models :] += PRIOR * (numbers - start)[models:]
        return (found[0] + disbelief(numbers)) / events, found[1:] / events

    def least(start: np.ndarray) -> Any:
        return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)

    bounds = [(None, None)] * models + [tuple(np.log(RANGE))] * (models + 1)
    options = {"maxiter": STEPS, "ftol": 1e-7}
    found = least(start)
    if not found.fun <= loss(linear)[0]:
        found = least(linear)
    biases, exponents, power = _unpacked(found.x)
    nats = float(found.fun) - disbelief(found.x) / events if possible.all() else np.inf
    shares = np.exp(power * (biases - biases.max()))
    return shares / shares.sum(), exponents, power, nats


def _in_blocks(function: Callable[[slice, np.ndarray], Result], models: int, events: int, types: int) -> list[Result]:
    """What ``function`` gives for every block of events, in order; it may write on float32 (M, block, V)."""
    size = max(1, BLOCK // types)
    many = size * BLOCKS

    def work(begin: int) -> list[Result]:
        scratch = np.empty((models, size, types), np.float32)
        blocks = [slice(first, min(first + size, events)) for first in range(begin, min(begin + many, events), size)]
        return [function(rows, scratch[:, : rows.stop - rows.start]) for rows in blocks]

    return [result for results in in_threads(work, range(0, events, many)) for result in results]


def _biases(weights: np.ndarray, power: float) -> np.ndarray:
    """ln w / r, float64 (M,): as b, exponents and power hardly move each other's best values."""
    with np.errstate(divide="ignore"):  # a model without weight
        return np.log(weights) / power


def _unpacked(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Biases, exponents and power."""
    models = len(numbers) // 2
    return numbers[:models], np.exp(numbers[models:-1]), float(np.exp(numbers[-1]))


def _mean(
    log_probs: Sequence[np.ndarray], biases: np.ndarray, exponents: np.ndarray, power: float, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ln p, float32 (N, V), and the same before it is made to sum to one.

    ``shares``, float32 (M, N, V), receives the share of each model in it.
    """
    for share, part, exponent, bias in zip(shares, log_probs, exponents, biases, strict=True):
        np.multiply(part, np.float32(power * exponent), out=share, casting="same_kind")
        share += np.float32(power * bias)
    top = shares.max(0)
    np.maximum(top, np.float32(-1e30), out=top)  # where all say impossible, -inf - -inf would be no number
    for share in shares:
        np.exp(np.subtract(share, top, out=share), out=share)
    total = shares.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        for share in shares:
            share /= total
        raw = np.log(total, out=total)
    raw += top
    raw *= np.float32(1 / power)
    highest = raw.max(1, keepdims=True)
    sums = np.exp(np.subtract(raw, highest, out=top), out=top).sum(1, keepdims=True)
    return raw - (highest + np.log(sums)), raw


def _expect(
    log_probs: np.ndarray,
    targets: np.ndarray,
    biases: np.ndarray,
    exponents: np.ndarray,
    power: float,
    shares: np.ndarray,
) -> np.ndarray:
    """-sum ln p of ``targets``, and its gradient by biases, exponents and power, float64 (2 M + 2,).

    With z = ln sum_i exp(r (b_i + a_i ln p_i)) / r and the shares s_i of the models in that sum: dz/db_i = s_i,
    dz/da_i = s_i ln p_i, dz/dr = (sum_i s_i (b_i + a_i ln p_i) - z) / r. Of each, what is expected under the
    mean less what the targets have. ``shares``: float32 (M, N, V), to write on.
    """
    values, raw = _mean(list(log_probs), biases, exponents, power, shares)
    rows = np.arange(len(targets))
    nats = -values[rows, targets].sum(dtype=np.float64)
    probabilities = np.exp(values, out=values)
    by_bias, by_exponent = np.empty(len(biases)), np.empty(len(biases))
    for number, (share, part) in enumerate(zip(shares, log_probs, strict=True)):
        at_targets = share[rows, targets].astype(np.float64)
        share *= probabilities
        by_bias[number] = share.sum() - at_targets.sum()
        by_exponent[number] = np.vdot(share, part) - at_targets @ part[rows, targets]
    expected = np.vdot(probabilities, raw) - raw[rows, targets].sum(dtype=np.float64)
    by_power = (biases @ by_bias + exponents @ by_exponent - expected) / power
    return np.concatenate(([nats], by_bias, by_exponent, [by_power]))
