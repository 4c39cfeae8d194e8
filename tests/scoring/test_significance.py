"""Intervals: by hand where a hand can, against simulation where not."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lmbench.errors import UsageError
from lmbench.scoring.significance import bootstrap_perplexity, bootstrap_ratio, wilson_interval


def test_constant_data_give_a_point() -> None:
    interval = bootstrap_perplexity(np.full(50, 3.0), np.full(50, 2))
    assert interval == pytest.approx((np.exp(1.5), np.exp(1.5)))


def test_one_segment_says_nothing() -> None:
    assert bootstrap_perplexity(np.array([3.0]), np.array([2])) is None


def test_two_segments_by_hand() -> None:
    # The four equally likely draws of two segments (2 nats / 1 event, 1 nat / 1 event) are 11 12 21 22,
    # with ratios 2, 1.5, 1.5, 1; the outer 2.5 % on each side lie in the quarters at 1 and 2.
    assert bootstrap_ratio(np.array([2.0, 1.0]), np.array([1, 1])) == (1.0, 2.0)


def test_segments_weigh_by_their_events() -> None:
    # one long segment of 100 events at 1 nat, 99 short ones of 1 event at 1 nat: whatever is drawn, the ratio is 1
    events = np.array([100] + [1] * 99)
    assert bootstrap_ratio(events.astype(float), events) == pytest.approx((1.0, 1.0))


def test_same_seed_same_interval() -> None:
    nats = np.random.default_rng(0).gamma(2.0, size=300)
    events = np.full(300, 2)
    assert bootstrap_perplexity(nats, events) == bootstrap_perplexity(nats, events)
    assert bootstrap_perplexity(nats, events) != bootstrap_perplexity(nats, events, seed=2)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    # For the mean of n = 2000 equal segments the interval is mean +- 1.96 s / sqrt(n).
    nats = np.random.default_rng(0).normal(4.0, 1.0, 2000)
    low, high = bootstrap_ratio(nats, np.ones(2000), resamples=4000) or (0, 0)
    half = 1.96 * nats.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((nats.mean() - half, nats.mean() + half), abs=0.1 * half)


def test_bootstrap_is_fast() -> None:
    nats, events = np.ones(4000), np.full(4000, 20)
    began = time.perf_counter()
    bootstrap_perplexity(nats, events)
    assert time.perf_counter() - began < 2.0


def test_wilson_by_hand() -> None:
    # z = 1.959964, z^2 = 3.841459; n = 10, p = 0.8: centre (0.8 + 0.192073) = 0.992073,
    # half = 1.959964 sqrt(0.016 + 0.00960365) = 0.313617; divided by 1.3841459.
    assert wilson_interval(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-6)  # z^2 / (n + z^2)
    assert wilson_interval(10, 10) == pytest.approx((1 - 0.277533, 1.0), abs=1e-6)
    assert wilson_interval(0, 0) is None


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_must_be_a_share(confidence: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        wilson_interval(1, 2, confidence)


def test_few_resamples_give_no_percentiles() -> None:
    with pytest.raises(UsageError, match="at least 100"):
        bootstrap_ratio(np.ones(3), np.ones(3), resamples=10)
