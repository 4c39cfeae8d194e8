"""Intervals and p-values keep their promise on made-up texts; tests/benchmarks/significance.py is the long study."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.significance import bootstrap_ratio

SETS, SEGMENTS = 1000, 100


@pytest.fixture(scope="module")
def simulated() -> list[tuple[np.ndarray, np.ndarray]]:
    """Texts of sentences with heavy-tailed lengths; two models whose losses are correlated and do not truly differ."""
    generator, texts = np.random.default_rng(7), []
    for _ in range(SETS):
        sizes = 2 + np.floor(generator.lognormal(np.log(18), 0.6, SEGMENTS))
        shared = sizes * generator.gamma(12, 5 / 12, SEGMENTS)
        topic = 0.15 * (generator.gamma(4, 1, SEGMENTS) - 4)  # skewed, as a test of signs would not like it
        noise = 0.8 * np.sqrt(sizes) * generator.standard_t(4, SEGMENTS)
        texts.append((np.stack([shared + sizes * topic + noise, shared]), sizes))
    return texts


def test_intervals_hold_the_truth_and_p_is_uniform(simulated: list[tuple[np.ndarray, np.ndarray]]) -> None:
    held, p = 0, np.empty(SETS)
    for number, (nats, sizes) in enumerate(simulated):
        found = paired_differences(nats, sizes, resamples=500, seed=number)
        held += found.low[0, 1] <= 0 <= found.high[0, 1]
        p[number] = found.p[0, 1]
    assert 0.93 <= held / SETS <= 0.97
    assert kstest(p, "uniform").pvalue > 0.01
    assert binomtest(int((p <= 0.05).sum()), SETS, 0.05).pvalue > 0.01


def test_plain_percentiles_of_few_segments_hold_too_little() -> None:
    # the reason why percentiles are widened: of 6 equal segments, 83 % and not 95 % hold the truth
    generator, plain, widened = np.random.default_rng(8), 0, 0
    for number in range(400):
        nats = generator.normal(size=(2, 6))
        interval = bootstrap_ratio(nats[0] - nats[1], np.ones(6), resamples=500, seed=number)
        found = paired_differences(nats, np.ones(6), resamples=500, seed=number)
        plain += interval is not None and interval.low <= 0 <= interval.high
        widened += found.low[0, 1] <= 0 <= found.high[0, 1]
    assert plain / 400 < 0.9
    assert widened / 400 > plain / 400 + 0.04


def test_seeds_are_held_as_well() -> None:
    generator, held, alone = np.random.default_rng(9), 0, 0
    models = np.repeat([0, 1], 3)
    for number in range(300):
        shared = generator.gamma(12, 0.4, 100)
        rows = shared + generator.normal(0, 0.3, (6, 1)) + generator.normal(0, 0.5, (6, 100))
        found = paired_differences(rows, np.ones(100), models=models, resamples=100, seed=number)
        held += found.low[0, 1] <= 0 <= found.high[0, 1]
        found = paired_differences(rows[[0, 3]], np.ones(100), resamples=100, seed=number)
        alone += found.low[0, 1] <= 0 <= found.high[0, 1]
    assert held / 300 > 0.92
    assert alone / 300 < 0.6, "one seed of each says nothing of the others"
