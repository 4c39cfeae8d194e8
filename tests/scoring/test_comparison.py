"""Paired comparisons: by hand where a hand can, against laws and simulation where not."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lmbench.errors import UsageError
from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.significance import bootstrap_ratio, holm, mcnemar


def test_all_signs_of_three_segments_by_hand() -> None:
    # Differences 3, 1, -2, their sum 2. The eight sums under all signs are 6 2 ... : +-6 (+3+1+2), +-4 (+3-1+2),
    # +-2 (+3+1-2), +-0 (+3-1-2). At least 2 in size are six of eight: p = 6 / 8.
    found = paired_differences(np.array([[3.0, 1.0, 0.0], [0.0, 0.0, 2.0]]), np.array([1, 1, 2]))
    assert found.p[0, 1] == found.p[1, 0] == 0.75
    assert found.difference[0, 1] == pytest.approx(2 / 4)
    assert found.draws == 8


def test_differences_that_all_go_one_way() -> None:
    # Only all signs as they are, and all the other way round, give a sum as large: 2 / 2^S.
    found = paired_differences(np.array([[2.0] * 6, [1.0] * 6]), np.ones(6))
    assert found.p[0, 1] == 2 / 64
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((1.0, 1.0))


def test_equal_models() -> None:
    found = paired_differences(np.ones((2, 40)), np.ones(40))
    assert found.p[0, 1] == found.adjusted[0, 1] == 1
    assert found.low[0, 1] == found.high[0, 1] == 0
    assert not found.differ.any()


def test_random_signs_are_never_sure() -> None:
    numerators = np.stack([np.full(100, 2.0), np.full(100, 1.0)])
    found = paired_differences(numerators, np.ones(100), resamples=999)
    assert found.draws == 999
    assert found.p[0, 1] == 1 / 1000  # (b + 1) / (n + 1) with b = 0


def test_random_signs_agree_with_all_signs() -> None:
    generator = np.random.default_rng(3)
    numerators = generator.normal(size=(2, 13)) + np.array([[0.9], [0.0]])
    exact = paired_differences(numerators, np.ones(13))  # 8192 patterns
    drawn = paired_differences(numerators, np.ones(13), resamples=8000)
    assert (exact.draws, drawn.draws) == (8192, 8000)
    assert 0.05 < exact.p[0, 1] < 0.5
    assert drawn.p[0, 1] == pytest.approx(exact.p[0, 1], abs=4 * np.sqrt(0.25 / 8000))


def test_many_pairs_ask_for_more_signs() -> None:
    # 45 models have 990 pairs: the least adjusted p of 10,000 signs would be 0.099. So 2 x 990 / 0.05 are drawn.
    numerators = np.random.default_rng(0).normal(size=(45, 30)) + np.arange(45)[:, None]
    found = paired_differences(numerators, np.ones(30))
    assert found.draws == 39600
    assert found.adjusted[0, 44] <= 0.025 + 1e-9


def test_long_segments_keep_their_weight() -> None:
    found = paired_differences(np.array([[100.0, 1.0], [50.0, 2.0]]), np.array([100, 1]))
    assert found.values == pytest.approx([101 / 101, 52 / 101])
    assert found.effective == pytest.approx(101**2 / (100**2 + 1))
    assert found.few


def test_the_interval_is_that_of_the_difference_per_segment() -> None:
    # with many segments the widened percentiles are those of a bootstrap of the differences themselves
    generator = np.random.default_rng(0)
    sizes = generator.integers(5, 40, 2000)
    one, other = sizes * generator.gamma(20, 0.2, (2, 2000))
    found = paired_differences(np.stack([one, other]), sizes)
    low, high = bootstrap_ratio(one - other, sizes, resamples=10_000) or (0, 0)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((low, high), abs=0.02 * (high - low))


def test_all_pairs_of_ten_models_take_about_a_second() -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(2, 80, 3761)
    numerators = sizes * generator.gamma(20, 0.2, (10, 3761))
    began = time.process_time()
    found = paired_differences(numerators, sizes)
    assert time.process_time() - began < 3  # 0.4 s on the machine where it was written
    assert found.p.shape == (10, 10)


numbers = st.floats(-100, 100, allow_nan=False).map(lambda number: round(number, 3))


@settings(max_examples=30, deadline=None)
@given(arrays(np.float64, (4, 7), elements=numbers), arrays(np.int64, 7, elements=st.integers(1, 30)))
def test_laws_of_pairs(numerators: np.ndarray, sizes: np.ndarray) -> None:
    found = paired_differences(numerators, sizes, resamples=200)
    turned = paired_differences(numerators[::-1], sizes, resamples=200)
    assert np.array_equal(found.difference, -found.difference.T)
    assert np.array_equal(found.low, -found.high.T)
    assert np.array_equal(found.p, found.p.T)
    assert (found.low <= found.high + 1e-12).all()
    assert (found.adjusted >= found.p - 1e-12).all()
    assert ((found.p > 0) & (found.p <= 1)).all()
    assert turned.p[::-1, ::-1] == pytest.approx(found.p, abs=1e-12)
    assert turned.low[::-1, ::-1] == pytest.approx(found.low, abs=1e-9)


def test_seeds_are_a_source_of_variance_of_their_own() -> None:
    # Three trainings of one model, at 1.0, 1.2 and 1.4 in every segment, against a fixed model at 1.3. The text says
    # nothing (no segment differs), so the variance is that of the seeds: s = 0.2, s^2 / 3 = 0.013333, its root
    # 0.115470; Student's quantile with 2 degrees is 4.302653: -0.1 +- 0.496828; t = 0.866025, p = 0.477767
    # (with 2 degrees p = 1 - t / sqrt(2 + t^2)). As single networks, each differs from the fixed model for sure.
    rows = np.outer([1.0, 1.2, 1.4, 1.3], np.ones(50))
    found = paired_differences(rows, np.ones(50), models=np.array([0, 0, 0, 1]))
    assert found.values == pytest.approx([1.2, 1.3])
    assert found.seeds.tolist() == [3, 1]
    assert found.seed_deviations[0] == pytest.approx(0.2)
    assert np.isnan(found.seed_deviations[1])
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((-0.1 - 0.496828, -0.1 + 0.496828), abs=1e-5)
    assert found.p[0, 1] == pytest.approx(0.477767, abs=1e-5)
    assert paired_differences(rows[[0, 3]], np.ones(50)).p[0, 1] < 0.001


def test_seeds_that_agree_leave_the_text() -> None:
    # equal trainings add no variance: the interval is Student's of the text alone
    generator = np.random.default_rng(1)
    one, other = generator.normal(size=(2, 200))
    found = paired_differences(np.stack([one, one, other]), np.ones(200), models=np.array([0, 0, 1]))
    alone = paired_differences(np.stack([one, other]), np.ones(200))
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx((alone.low[0, 1], alone.high[0, 1]), abs=0.02)
    assert found.p[0, 1] == pytest.approx(alone.p[0, 1], abs=0.02)


def test_pairs_without_seeds_are_as_before() -> None:
    generator = np.random.default_rng(2)
    rows = generator.normal(size=(4, 90))
    with_seeds = paired_differences(rows, np.ones(90), models=np.array([0, 0, 1, 2]))
    without = paired_differences(rows[2:], np.ones(90))
    assert with_seeds.difference[1, 2] == pytest.approx(without.difference[0, 1])
    assert with_seeds.p[1, 2] == without.p[0, 1]


@pytest.mark.parametrize(
    ("numerators", "denominators", "message"),
    [
        (np.ones((2, 3)), np.ones(4), "same segments"),
        (np.ones((2, 1)), np.ones(1), "at least two segments"),
        (np.array([[1.0, np.inf], [1.0, 1.0]]), np.ones(2), "finite"),
        (np.ones((2, 2)), np.zeros(2), "finite"),
    ],
)
def test_what_cannot_be_compared(numerators: np.ndarray, denominators: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        paired_differences(numerators, denominators)


def test_draws_must_make_sense() -> None:
    with pytest.raises(UsageError, match="at least 100"):
        paired_differences(np.ones((2, 3)), np.ones(3), resamples=10)
    with pytest.raises(UsageError, match="between 0 and 1"):
        paired_differences(np.ones((2, 3)), np.ones(3), confidence=95)


def test_holm_by_hand() -> None:
    # 0.005 x 4 = 0.02; 0.01 x 3 = 0.03; 0.03 x 2 = 0.06; 0.04 x 1 = 0.04, not below the one before: 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_only_raises(p: list[float]) -> None:
    adjusted = holm(p)
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert adjusted.max() <= 1
    assert adjusted.min() == pytest.approx(min(1.0, min(p) * len(p)))


def test_mcnemar_is_the_binomial() -> None:
    # 2 against 8: 2 (C(10,0) + C(10,1) + C(10,2)) / 2^10 = 2 x 56 / 1024
    first = np.array([1.0] * 2 + [0.0] * 8 + [1.0] * 5 + [0.0] * 3)
    second = np.array([0.0] * 2 + [1.0] * 8 + [1.0] * 5 + [0.0] * 3)
    assert mcnemar(first, second) == (2, 8, pytest.approx(112 / 1024))
    assert mcnemar(second, first) == (8, 2, pytest.approx(112 / 1024))


def test_mcnemar_without_a_difference() -> None:
    assert mcnemar(np.ones(4), np.ones(4)) == (0, 0, 1.0)
    assert mcnemar(np.array([1.0, 0.0]), np.array([0.0, 1.0])).p == 1.0  # 2 x 3 / 4, at most 1


def test_mcnemar_counts_a_tie_as_less_than_right_and_more_than_wrong() -> None:
    assert mcnemar(np.array([1.0, 0.5, 0.5]), np.array([0.5, 0.5, 0.0]))[:2] == (2, 0)
