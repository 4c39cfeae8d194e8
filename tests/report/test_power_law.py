"""Power laws: found where there is one, with the uncertainty it has, and not found where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from lmbench.report.power_law import PowerLaw, fit

SIZES = np.array([10_000, 30_000, 100_000, 300_000, 900_000])


def losses(law: PowerLaw, sizes: np.ndarray = SIZES) -> np.ndarray:
    return np.array([law.nats(size) for size in sizes])


@settings(deadline=None, max_examples=50)
@given(floor=st.floats(0.5, 5), fall=st.floats(0.2, 4), exponent=st.floats(0.03, 1.0))
def test_a_law_with_a_floor_is_found_again(floor: float, fall: float, exponent: float) -> None:
    """``fall``: what the text has taken away from the smallest size on, in nats."""
    law = PowerLaw(floor, fall * 1e4**exponent, exponent)
    found = fit(SIZES, losses(law))
    assert found is not None
    assert found.exponent == pytest.approx(exponent, rel=1e-3)
    assert found.nats(1e6) == pytest.approx(law.nats(1e6), rel=1e-5)
    assert found.residual < 1e-5


@pytest.mark.parametrize("sizes", [SIZES[:3], SIZES])
def test_a_law_without_a_floor_is_found_again(sizes: np.ndarray) -> None:
    """Of three sizes nothing else is asked; of more, the best floor is 0."""
    found = fit(sizes, losses(PowerLaw(0.0, 12.0, 0.1), sizes))
    assert found is not None
    assert (found.amount, found.exponent) == pytest.approx((12.0, 0.1), rel=1e-3)
    assert found.floor == pytest.approx(0.0, abs=0.01)


def test_three_sizes_are_too_few_for_a_floor() -> None:
    found = fit(SIZES[:3], losses(PowerLaw(3.0, 40.0, 0.3), SIZES[:3]))
    assert found is not None
    assert found.floor == 0.0
    assert found.residual > 0.001


def test_it_is_what_a_search_in_the_logarithms_finds() -> None:
    """The same least squares by scipy, from a good first guess; the deviations are below a percent, squares of them
    below 1e-4, and by so much the two criteria differ."""
    noise = np.random.default_rng(3).normal(0, 0.004, len(SIZES))
    observed = losses(PowerLaw(3.5, 60.0, 0.3)) * np.exp(noise)

    def deviations(values: np.ndarray) -> np.ndarray:
        return np.log(values[0] + np.exp(values[1]) * SIZES ** -values[2]) - np.log(observed)

    floor, log_amount, exponent = least_squares(
        deviations, [3.5, np.log(60), 0.3], bounds=([0, 0, 0.01], [5, 10, 2]), x_scale="jac", xtol=1e-12
    ).x
    found = fit(SIZES, observed)
    assert found is not None
    assert found.exponent == pytest.approx(exponent, rel=0.02)
    assert found.floor == pytest.approx(floor, rel=0.02)
    assert found.nats(3e6) == pytest.approx(floor + np.exp(log_amount) * 3e6**-exponent, rel=0.002)
    assert found.residual == pytest.approx(
        np.sqrt((deviations(np.array([floor, log_amount, exponent])) ** 2).mean()), rel=0.02
    )


@pytest.mark.parametrize(
    ("sizes", "nats"),
    [
        (SIZES[:1], [5.0]),
        (SIZES[:2], [5.0, 4.0]),
        (SIZES, [5.0] * 5),
        (SIZES[:3], [5.0] * 3),
        (SIZES, [4.0, 4.1, 4.2, 4.3, 4.4]),
        (SIZES[:3], [4.0, 4.1, 4.2]),
        (SIZES[:4], [np.inf, np.inf, 5.0, 4.0]),
        (SIZES[:3], [np.inf] * 3),
    ],
    ids=["one", "two", "flat", "three flat", "rising", "three rising", "two finite", "none finite"],
)
def test_where_there_is_no_law(sizes: np.ndarray, nats: list[float]) -> None:
    assert fit(sizes, np.array(nats)) is None


def test_what_is_infinite_is_left_out() -> None:
    observed = losses(PowerLaw(2.0, 30.0, 0.25))
    observed[0] = np.inf
    found = fit(SIZES, observed)
    assert found is not None
    assert found.exponent == pytest.approx(0.25, rel=1e-3)


def test_the_interval_of_the_exponent_is_that_of_the_fits() -> None:
    """Losses that move together, as those of one text do, leave the exponent where it is; others do not."""
    law = PowerLaw(0.0, 12.0, 0.1)
    sizes, observed = SIZES[:3], losses(law, SIZES[:3])
    generator = np.random.default_rng(1)
    together = fit(sizes, observed, observed * np.exp(generator.normal(0, 0.05, (200, 1))))
    apart = fit(sizes, observed, observed * np.exp(generator.normal(0, 0.05, (200, 3))))
    assert together is not None
    assert apart is not None
    assert (together.exponent_low, together.exponent_high) == pytest.approx((0.1, 0.1), rel=0.01)
    # The slope over x = ln D has standard deviation 0.05 / sqrt(sum (x - mean)^2); x - mean are -1.168, -0.070, 1.134
    # of ln 10,000, ln 30,000, ln 100,000, so 0.05 / 1.63 = 0.031, and the interval is 0.1 +- 1.96 x 0.031.
    assert apart.exponent_low == pytest.approx(0.04, abs=0.015)
    assert apart.exponent_high == pytest.approx(0.16, abs=0.015)
