"""Power means against arithmetic that is written out beside them, and the search for their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.models import power_mean as module
from lmbench.models.power_mean import fit_power_mean, power_mean

HALF = np.array([0.5, 0.5])


def distributions(random: np.random.Generator, models: int, events: int, types: int) -> np.ndarray:
    """float32 (M, N, V), nats."""
    scores = 2 * random.standard_normal((models, events, types))
    return (scores - np.log(np.exp(scores).sum(-1, keepdims=True))).astype(np.float32)


def test_half_way_between_sum_and_product() -> None:
    # Roots .8 .6 and 1 0, their means .9 .3, squared .81 .09: nine to one.
    with np.errstate(divide="ignore"):
        parts = np.log([[[0.64, 0.36]], [[1.0, 0.0]]])
    np.testing.assert_allclose(np.exp(power_mean(parts, HALF, np.ones(2), 0.5)), [[0.9, 0.1]], rtol=1e-6)


def test_at_one_it_is_the_weighted_sum_and_near_zero_the_product() -> None:
    parts, weights = distributions(np.random.default_rng(1), 3, 5, 7), np.array([0.5, 0.2, 0.3])
    linear = np.tensordot(weights, np.exp(parts), 1)
    np.testing.assert_allclose(np.exp(power_mean(parts, weights, np.ones(3), 1.0)), linear, rtol=1e-5)
    product = np.exp(np.tensordot(weights, parts, 1))
    product /= product.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(power_mean(parts, weights, np.ones(3), 1e-4)), product, rtol=1e-2)


def test_an_exponent_sharpens_one_model() -> None:
    # The second has no weight: what is left is the first to the power of 2, .16 : .36 = 4 : 9.
    parts = np.log([[[0.4, 0.6]], [[0.5, 0.5]]])
    found = np.exp(power_mean(parts, np.array([1.0, 0.0]), np.array([2.0, 1.0]), 0.5))
    np.testing.assert_allclose(found, [[4 / 13, 9 / 13]], rtol=1e-6)


def test_what_none_thinks_possible_stays_impossible() -> None:
    with np.errstate(divide="ignore"):
        parts = np.log([[[0.4, 0.6, 0.0]], [[0.5, 0.5, 0.0]]])
    found = power_mean(parts, HALF, np.ones(2), 0.5)
    assert found[0, 2] == -np.inf
    assert np.exp(found).sum() == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(
    models=st.integers(2, 4), types=st.integers(2, 30), seed=st.integers(0, 999), power=st.sampled_from([0.1, 0.5, 2])
)
def test_the_gradient_is_that_of_the_loss(models: int, types: int, seed: int, power: float) -> None:
    random = np.random.default_rng(seed)
    parts, targets = distributions(random, models, 6, types), random.integers(0, types, 6)
    numbers = np.concatenate((random.standard_normal(models), 0.5 + random.random(models), [power]))

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        found = module._expect(parts, targets, at[:models], at[models:-1], at[-1], np.empty_like(parts))
        return found[0], found[1:]

    _, gradient = loss(numbers)
    for number in range(len(numbers)):
        step = np.where(np.arange(len(numbers)) == number, 1e-2 * (0.1 if number == len(numbers) - 1 else 1), 0)
        slope = (loss(numbers + step)[0] - loss(numbers - step)[0]) / (2 * step.sum())
        assert gradient[number] == pytest.approx(slope, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("power", [0.2, 1.0])
def test_what_is_found_is_no_worse_than_the_truth(power: float) -> None:
    random = np.random.default_rng(4)
    parts = distributions(random, 3, 3000, 12)
    truth = np.array([0.6, 0.3, 0.1]), np.array([1.0, 1.5, 0.7]), power
    chances = np.exp(power_mean(parts, *truth).astype(np.float64)).cumsum(1)
    targets = (random.random((3000, 1)) > chances).sum(1).clip(0, 11)

    def nats(*numbers: object) -> float:
        return -float(power_mean(parts, *numbers)[np.arange(3000), targets].mean())

    weights, exponents, found, loss = fit_power_mean(parts.copy(), targets)
    assert weights.sum() == pytest.approx(1)
    assert nats(weights, exponents, found) == pytest.approx(loss, abs=1e-5)
    assert loss < nats(*truth)
    assert loss < nats(np.array([0.6, 0.3, 0.1]), np.ones(3), 1.0) - 0.005


def test_a_model_that_forbids_what_happened_is_no_error() -> None:
    random = np.random.default_rng(2)
    parts, targets = distributions(random, 2, 50, 5), random.integers(0, 5, 50)
    parts[1, np.arange(50), targets] = -np.inf
    weights, _, _, loss = fit_power_mean(parts, targets)
    assert np.isfinite(loss)
    assert weights[0] > 0.9


def test_an_event_that_is_impossible_for_all_is_set_aside() -> None:
    random = np.random.default_rng(5)
    parts, targets = distributions(random, 2, 200, 5), random.integers(0, 5, 200)
    *expected, _ = fit_power_mean(parts[:, 1:].copy(), targets[1:])
    parts[:, 0, targets[0]] = -np.inf
    *found, loss = fit_power_mean(parts, targets)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert loss == np.inf
    nowhere = np.full((2, 1, 3), -np.inf, np.float32)
    assert fit_power_mean(nowhere, np.array([1]))[3] == np.inf


def test_a_handful_of_events_moves_little() -> None:
    # Ten events that the first model thought likely, each time rightly: without the prior it has an exponent of 11.7.
    parts = np.log(np.array([[[0.8, 0.2]] * 10, [[0.5, 0.5]] * 10], np.float32))
    _, exponents, power, _ = fit_power_mean(parts, np.zeros(10, np.int64))
    assert (exponents < 3).all()
    assert 0.1 < power < 3


def test_numbers_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    parts, targets = distributions(random, 2, 21, 5), random.integers(0, 5, 21)
    whole, fitted = power_mean(parts, HALF, np.ones(2), 0.5), fit_power_mean(parts.copy(), targets)
    monkeypatch.setattr(module, "BLOCK", 10)  # of two events each, two to a thread
    monkeypatch.setattr(module, "BLOCKS", 2)
    np.testing.assert_array_equal(power_mean(parts, HALF, np.ones(2), 0.5), whole)
    for one, other in zip(fit_power_mean(parts, targets), fitted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-2)


def test_a_search_that_ends_above_the_weighted_sum_begins_there_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy import optimize

    random = np.random.default_rng(6)
    parts, targets = distributions(random, 2, 200, 5), random.integers(0, 5, 200)
    expected, search, powers = fit_power_mean(parts.copy(), targets)[3], optimize.minimize, []

    def lost_at_first(loss: Callable[..., Any], start: np.ndarray, **how: Any) -> Any:
        powers.append(np.exp(start[-1]))
        found = search(loss, start, **how)
        if len(powers) == 1:
            found.x, found.fun = start, 99.0
        return found

    monkeypatch.setattr(optimize, "minimize", lost_at_first)
    assert fit_power_mean(parts.copy(), targets)[3] == pytest.approx(expected, abs=1e-3)
    assert powers == pytest.approx([0.5, 1.0])
