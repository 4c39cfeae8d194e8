"""Weights of an interpolation against arithmetic that is written out beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.models.interpolation import fit_weights


def test_the_maximum_is_found() -> None:
    # Model 1 is right in two events of three, model 2 in one: ln(.1 + .8 w) twice and ln(.9 - .8 w); derivative
    # 1.6 / (.1 + .8 w) = .8 / (.9 - .8 w), so 1.44 - 1.28 w = .08 + .64 w and w = 1.36 / 1.92.
    weights, objective = fit_weights(np.log([[0.9, 0.9, 0.1], [0.1, 0.1, 0.9]]))
    assert weights[0] == pytest.approx([1.36 / 1.92, 0.56 / 1.92], abs=1e-4)
    w = 1.36 / 1.92
    assert objective[-1] == pytest.approx(2 * np.log(0.1 + 0.8 * w) + np.log(0.9 - 0.8 * w))


def test_a_prior_votes_in_every_bucket() -> None:
    # Bucket 0: each event belongs to model 1 alone, so w_1 = (a g_1 + 2) / (a + 2) = (2 * .25 + 2) / 4.
    log_probs = np.array([[0.0, 0.0, -np.inf], [-np.inf, -np.inf, 0.0]])
    weights, _ = fit_weights(log_probs, np.array([0, 0, 1]), np.array([0.25, 0.75]), prior=2.0)
    assert weights[0] == pytest.approx([2.5 / 4, 1.5 / 4])
    assert weights[1] == pytest.approx([0.5 / 3, 2.5 / 3])  # (2 * .25) / 3


def test_an_event_that_is_impossible_for_all_changes_nothing() -> None:
    log_probs = np.log([[0.3, 0.7], [0.9, 0.1]])
    more = np.concatenate([log_probs, np.full((2, 1), -np.inf)], axis=1)
    np.testing.assert_allclose(fit_weights(more)[0], fit_weights(log_probs)[0], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    models=st.integers(2, 4), events=st.integers(1, 60), buckets=st.integers(1, 3), seed=st.integers(0, 99),
    prior=st.sampled_from([0.0, 5.0]),
)  # fmt: skip
def test_every_step_gains_and_the_end_beats_every_model_alone(models, events, buckets, seed, prior) -> None:
    random = np.random.default_rng(seed)
    log_probs = -5 * random.random((models, events))
    places = random.permutation(np.arange(max(events, buckets)) % buckets)[:events]
    weights, objective = fit_weights(log_probs, places, prior=prior)
    np.testing.assert_allclose(weights[np.unique(places)].sum(1), 1)
    assert (np.diff(objective) > -1e-9).all()
    if not prior:
        assert objective[-1] >= log_probs.sum(1).max() - 1e-5 * events
