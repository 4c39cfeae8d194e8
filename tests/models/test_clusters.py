"""The exchange algorithm against brute force, and what it makes of odd vocabularies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.models import clusters
from lmbench.models.clusters import exchange, objective


def text_of(sentences: list[list[int]]) -> np.ndarray:
    """Sentences of word ids from 1 -> ids between boundaries."""
    return np.array([0, *itertools.chain.from_iterable([*sentence, 0] for sentence in sentences)], np.int32)


def likelihood(ids: np.ndarray, word_class: np.ndarray) -> float:
    """F, counted anew."""
    return objective(clusters._class_pairs(ids, word_class, int(word_class.max()) + 1))


def sampled(words: int, sentences: int = 60, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return text_of([random.integers(1, words + 1, random.integers(1, 7)).tolist() for _ in range(sentences)])


def test_the_objective_by_hand():
    # </s> a b </s> a b </s> as classes 0 2 3 0 2 3 0: the pairs (0,2), (2,3), (3,0) twice each, and each class twice:
    # F = 3 * 2 ln 2 - 2 * 3 * 2 ln 2 = -6 ln 2
    assert likelihood(text_of([[2, 3], [2, 3]]), np.array([0, 1, 2, 3])) == pytest.approx(-6 * np.log(2))


def test_words_that_stand_between_the_same_neighbours_share_a_class():
    # 2 and 3 begin sentences, 4 and 5 follow either, 6 ends all of them
    ids = text_of([[a, b, 6] for a in (2, 3) for b in (4, 5)] * 3)
    word_class = exchange(ids, 7, 5, unknown=1)
    assert word_class[2] == word_class[3]
    assert word_class[4] == word_class[5]
    assert len(set(word_class.tolist())) == 5  # the boundary, <unk>, and three of words


@pytest.mark.parametrize("seed", range(5))
def test_no_single_move_is_left_that_would_help(seed: int):
    """Brute force: put each word into each class, count all pairs anew, and compare."""
    ids = sampled(12, seed=seed)
    word_class = exchange(ids, 13, 6, unknown=1, sweeps=100)
    best = likelihood(ids, word_class)
    for word, other in itertools.product(range(2, 13), range(2, 6)):
        moved = word_class.copy()
        moved[word] = other
        assert likelihood(ids, moved) <= best + 1e-5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=25), st.integers(3, 12), st.integers(0, 2)
)
def test_the_objective_never_falls_and_is_the_one_that_is_claimed(sentences, classes, sweeps):
    ids, told = text_of(sentences), []
    before = exchange(ids, 10, classes, unknown=1, sweeps=0)
    after = exchange(ids, 10, classes, 1, sweeps, lambda sweep, moved, nats: told.append(nats))
    assert all(b >= a - 1e-6 for a, b in itertools.pairwise([likelihood(ids, before), *told]))
    if told:
        assert told[-1] == pytest.approx(likelihood(ids, after))
    np.testing.assert_array_equal(after, exchange(ids, 10, classes, 1, sweeps))


def test_boundary_and_unknown_stand_alone_with_words_never_seen():
    ids = sampled(20)
    word_class = exchange(ids, 30, 8, unknown=1)  # 21 to 29 never occur
    assert np.flatnonzero(word_class == 0).tolist() == [0]
    assert np.flatnonzero(word_class == 1).tolist() == [1, *range(21, 30)]
    assert set(word_class.tolist()) == set(range(8))
    assert word_class.dtype == np.int32


def test_without_an_unknown_word_all_words_are_moved():
    word_class = exchange(sampled(20), 21, 8)
    assert not (word_class == 1).any()
    assert set(word_class.tolist()) == {0, *range(2, 8)}


def test_fewer_words_than_classes_stand_alone():
    word_class = exchange(sampled(4, 10), 5, 100, unknown=1)
    assert sorted(word_class.tolist()) == [0, 1, 2, 3, 4]
    assert exchange(np.zeros(3, np.int32), 2, 5, unknown=1).tolist() == [0, 1]  # two empty sentences


def test_counts_beyond_the_table_are_computed(monkeypatch: pytest.MonkeyPatch):
    ids = sampled(20)
    expected = exchange(ids, 21, 8)
    monkeypatch.setattr(clusters, "TABLE", 2)
    np.testing.assert_array_equal(exchange(ids, 21, 8), expected)


def test_two_classes_are_too_few():
    with pytest.raises(UsageError, match="into 2 classes"):
        exchange(sampled(4), 5, 2)
