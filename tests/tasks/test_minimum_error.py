"""Weights with the fewest errors: every step of the line search is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.tasks.minimum_error import Features, errors_at, joined, line_search, tune


def features(values: list[list[list[float]]]) -> Features:
    """One list after the other, padded."""
    width = max(map(len, values))
    size = len(values[0][0])
    padded = np.zeros((len(values), width, size))
    present = np.zeros((len(values), width), bool)
    for row, hypotheses in enumerate(values):
        padded[row, : len(hypotheses)] = hypotheses
        present[row, : len(hypotheses)] = True
    return Features(tuple(f"f{i}" for i in range(size)), padded, present)


def test_the_middle_of_the_best_step() -> None:
    # Scores along the second weight t, the first being 1: list 1 has 0, -1 + t, -4 + 2 t, crossings at t = 1 and 3;
    # list 2 has 0 and -5 + 2 t, crossing at 2.5. Errors: below 1: 2 + 0; to 2.5: 0 + 0; to 3: 0 + 1; above: 2 + 1.
    known = features([[[0, 0], [-1, 1], [-4, 2]], [[0, 0], [-5, 2]]])
    errors = np.array([[2, 0, 2], [0, 1, 9]])
    assert line_search(known, errors, np.array([1.0, 0.0]), 1) == pytest.approx((1 + 2.5) / 2)
    assert line_search(known, errors, np.array([1.0, 2.0]), 1) == 2.0, "it is in the best step already"
    weights, least = tune(known, errors, np.array([1.0, 0.0]), restarts=0)
    assert least == errors_at(known, errors, weights) == 0


def test_an_end_without_bound() -> None:
    known = features([[[0, 0], [-1, 1]]])  # crossing at 1
    assert line_search(known, np.array([[1, 0]]), np.array([1.0, 0.0]), 1) == pytest.approx(1.1)
    assert line_search(known, np.array([[0, 1]]), np.array([1.0, 5.0]), 1) == pytest.approx(0.9)


def test_nothing_changes_without_a_gain() -> None:
    known = features([[[0, 0], [-1, 1]], [[0, 3], [1, 2]]])
    start = np.array([0.3, 0.4])
    weights, _ = tune(known, np.array([[1, 1], [2, 2]]), start)
    assert weights.tolist() == start.tolist()
    assert known.chosen(np.zeros(2)).tolist() == [0, 0], "equal scores: the recogniser's first"


small = st.integers(-3, 3)


@given(st.lists(st.lists(st.tuples(small, small, st.integers(0, 4)), min_size=1, max_size=5), min_size=1, max_size=5))
def test_no_value_of_the_weight_is_better(lists: list[list[tuple[int, int, int]]]) -> None:
    """Against values between all possible crossings, which are ratios of integers up to 6."""
    known = features([[[a, b] for a, b, _ in hypotheses] for hypotheses in lists])
    errors = np.zeros(known.present.shape, np.int64)
    for row, hypotheses in enumerate(lists):
        errors[row, : len(hypotheses)] = [wrong for _, _, wrong in hypotheses]
    best = line_search(known, errors, np.array([1.0, 0.05]), 1)
    reached = errors_at(known, errors, np.array([1.0, best]))
    grid = [errors_at(known, errors, np.array([1.0, t + 1 / 97])) for t in np.arange(-8, 8, 1 / 16)]
    assert reached <= min(grid)


def test_random_starts_help_and_are_repeatable() -> None:
    generator = np.random.default_rng(3)
    values = generator.standard_normal((40, 5, 3))
    errors = np.rint(3 - values @ [1.0, -2.0, 0.5] + generator.standard_normal((40, 5))).clip(0).astype(np.int64)
    known = Features(("a", "b", "c"), values, np.ones((40, 5), bool))
    start = np.array([-1.0, 0.0, 0.0])
    before = errors_at(known, errors, start)
    _, alone = tune(known, errors, start, restarts=0)
    weights, best = tune(known, errors, start, seed=5)
    assert best <= alone < before
    assert tune(known, errors, start, seed=5)[0].tolist() == weights.tolist()


def test_parts_are_joined() -> None:
    parts = [features([[[1.0], [2.0]]]), features([[[3.0], [4.0], [5.0]], [[6.0]]])]
    whole = joined(parts)
    assert whole.values[..., 0].tolist() == [[1, 2, 0], [3, 4, 5], [6, 0, 0]]
    assert whole.present.sum(1).tolist() == [2, 3, 1]
    assert whole.of(np.array([2])).chosen(np.array([-1.0])).tolist() == [0], "padding is never chosen"
    with pytest.raises(UsageError, match="differ"):
        joined([parts[0], features([[[1.0, 2.0]]])])
