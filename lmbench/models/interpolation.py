"""What several models say of held-out events -> the weights of their linear interpolation."""

from __future__ import annotations

import numpy as np

from lmbench.compiled import compiled

TOLERANCE = 1e-9
"""Nats per event: the search ends where a step gains less."""
STEPS = 5000
MOST = 0.999
"""The share of the second of two at most, so that what it rules out is not impossible."""


def fit_weights(
    log_probs: np.ndarray, buckets: np.ndarray | None = None, general: np.ndarray | None = None, prior: float = 0.0
) -> tuple[np.ndarray, list[float]]:
    """Weights float64 (K, M) under which the events are most probable, and the objective at each step, never falling.

    Expectation maximisation (Dempster et al. 1977), as Jelinek & Mercer (1980) used it: with r the share of model i in
    event t, and a ``prior`` of so many events in each bucket b that vote for the ``general`` weights g::

        r_i(t) = w_i(b) p_i(t) / sum_j w_j(b) p_j(t)      w_i(b) = (prior g_i + sum_t r_i(t)) / (prior + events in b)

    The objective, log likelihood + prior sum_i g_i ln w_i(b), is concave: there is one maximum and it is found.

    ``log_probs``: float64 (M, N), nats, of N events under M models; ``buckets``: int64 (N,), in [0, K), by default one
    for all; ``general``: float64 (M,), by default equal weights.

    >>> weights, _ = fit_weights(np.log([[0.3, 0.7], [0.9, 0.1]]))  # .9 - .6 w = .1 + .6 w
    >>> weights.round(3).tolist()
    [[0.667, 0.333]]
    """
    models, events = log_probs.shape
    buckets = np.zeros(events, np.int64) if buckets is None else buckets.astype(np.int64)
    equal = np.full(models, 1 / models)
    general = equal if general is None else general
    highest = log_probs.max(0)
    highest[highest == -np.inf] = 0.0  # impossible under every model: no weights change that
    probabilities = np.ascontiguousarray(np.exp(log_probs - highest).T)  # (N, M), the best model of each event at 1
    weights = np.tile((general + equal) / 2, (int(buckets.max()) + 1, 1))  # a weight of 0 would stay 0
    objective = [-np.inf]
    for _ in range(STEPS):
        votes, log_likelihood = _expect(probabilities, buckets, weights)
        belief = prior * _agreement(general, weights) if prior else 0.0  # without one a weight may reach 0
        objective.append(log_likelihood + float(highest.sum()) + belief)
        if objective[-1] - objective[-2] < TOLERANCE * events:
            break
        votes += prior * general
        known = votes.sum(1) > 0  # a bucket without an event keeps its weights
        weights[known] = votes[known] / votes[known].sum(1, keepdims=True)
    return weights, objective[1:]


def fit_share(first: np.ndarray, second: np.ndarray) -> float:
    """The weight of ``second`` in the interpolation of two, float64 (N,) nats each, to three digits, as it is told."""
    return min(MOST, float(f"{fit_weights(np.stack([first, second]))[0][0, 1]:.3g}"))


def mix_two(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """ln of the weighted sum of two probabilities that are given as logarithms; ``share``: the weight of ``second``."""
    with np.errstate(divide="ignore"):  # a share of 0 or 1
        return np.logaddexp(np.log(1 - share) + first, np.log(share) + second)


def _agreement(general: np.ndarray, weights: np.ndarray) -> float:
    """sum of g_i ln w_i over all buckets, nats; 0 ln 0 = 0."""
    voted = general > 0
    return float((general[voted] * np.log(weights[:, voted])).sum())


@compiled
def _expect(probabilities, buckets, weights):
    """How many events of each bucket each model accounts for, float64 (K, M), and the log likelihood.

    ``probabilities``: float64 (N, M); ``buckets``: int64 (N,); ``weights``: float64 (K, M).
    """
    events, models = probabilities.shape
    votes, log_likelihood = np.zeros_like(weights), 0.0
    for t in range(events):
        bucket, total = buckets[t], 0.0
        for i in range(models):
            total += weights[bucket, i] * probabilities[t, i]
        if total > 0:
            log_likelihood += np.log(total)
            for i in range(models):
                votes[bucket, i] += weights[bucket, i] * probabilities[t, i] / total
    return votes, log_likelihood
