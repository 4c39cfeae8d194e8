"""Chains of factors: arithmetic by hand, the n-gram as a special case, and sums to one."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.models.factored import CLASSES, ENDED, WORDS, Factor, Trie, estimate, histories
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.smoothing import modified_kneser_ney

WORD_CLASS = np.array([0, 1, 2, 2, 3, 3, 2, 3, 4], np.int32)
CHAINS = {
    "words": [Factor(WORDS, 1), Factor(WORDS, 2)],
    "classes": [Factor(CLASSES, 1), Factor(CLASSES, 2)],
    "mixed": [Factor(CLASSES, 1), Factor(WORDS, 1), Factor(CLASSES, 2)],
    "skip": [Factor(WORDS, 2), Factor(WORDS, 3)],
    "far first": [Factor(WORDS, 3), Factor(WORDS, 1)],
    "none": [],
}


def text(sentences: int = 200, words: int = 8, seed: int = 0) -> np.ndarray:
    """Sentences of the words 1 to ``words`` - 1 (so that one type is never seen), rare words rare."""
    random = np.random.default_rng(seed)
    rows = [np.append(1 + random.geometric(0.3, random.integers(0, 9)) % (words - 1), 0) for _ in range(sentences)]
    return np.concatenate([[0], *rows]).astype(np.int32)


def starts_of(ids: np.ndarray) -> np.ndarray:
    return np.arange(len(ids)) == 0


def values_of(chain: list[Factor], ids: np.ndarray) -> np.ndarray:
    return histories(chain, (ids, WORD_CLASS[ids]), starts_of(ids))


def fitted(chain: list[Factor], outcomes: str, ids: np.ndarray) -> Trie:
    """The trie of words in the groups of their classes, of words in one group, or of classes."""
    stream = WORD_CLASS[ids] if outcomes == "classes" else ids
    group = {"classes": np.zeros(5, np.int32), "words": np.zeros(9, np.int32), "members": WORD_CLASS}[outcomes]
    return estimate(stream[1:], group, values_of(chain, ids)[1:])


def test_histories_end_with_the_first_token_of_their_row():
    ids = np.array([0, 4, 5, 0, 6, 7, 8, 9])  # the last three are a row of their own, without a boundary
    starts = np.array([1, 0, 0, 0, 0, 1, 0, 0], bool)
    chain = [Factor(WORDS, 2), Factor(WORDS, 1), Factor(WORDS, 3)]
    assert histories(chain, [ids], starts)[1:5].tolist() == [
        [0, ENDED, ENDED],  # nothing stands before the first word's boundary: a boundary is read, and all was seen
        [0, ENDED, ENDED],  # the boundary itself
        [4, 5, 0],
        [0, ENDED, ENDED],
    ]
    assert histories(chain, [ids], starts)[6:].tolist() == [[0, ENDED, ENDED], [7, ENDED, ENDED]]


def test_members_of_a_class_by_hand():
    # Class 0 has the members 0, 1, 2, seen 3, 1 and 0 times. Too few for discounts, so 1.5 and .5 are taken:
    # p(0) = (3 - 1.5) / 4 + (1.5 + .5) / 4 * 1/3 = 13/24, p(1) = (1 - .5) / 4 + 1/6 = 7/24, p(2) = 1/6.
    # Class 1 has one member and was never seen: p(3) = 1.
    trie = estimate(np.array([0, 0, 1, 0]), np.array([0, 0, 0, 1]), np.zeros((4, 0), np.int32))
    expected = [13 / 24, 7 / 24, 4 / 24, 1]
    np.testing.assert_allclose(trie.look_up(np.arange(4), np.zeros((4, 0), np.int32)), expected, rtol=1e-7)
    np.testing.assert_allclose(trie.distributions(np.zeros((1, 0), np.int32)), [expected], rtol=1e-7)


def test_a_chain_of_one_factor_by_hand():
    # Outcome 0 followed the values 5, 5 and 6, outcome 1 followed 6. Without history, 0 counts 2 (it followed two
    # different values) and 1 counts 1: p(0) = (2 - 1) / 3 + 1.5 / 3 * 1/2 = 7/12, p(1) = .5 / 3 + 1/4 = 5/12.
    # After 5: p(0) = (2 - 1) / 2 + 1 / 2 * 7/12 = 19/24. After 6: p(1) = (1 - .5) / 2 + 1 / 2 * 5/12 = 11/24.
    trie = estimate(np.array([0, 0, 0, 1]), np.zeros(2, np.int32), np.array([[5], [5], [6], [6]], np.int32))
    asked = np.array([[5], [5], [6], [7], [ENDED]], np.int32)
    expected = [19 / 24, 5 / 24, 11 / 24, 5 / 12, 7 / 12]  # 7 was never seen
    np.testing.assert_allclose(trie.look_up(np.array([0, 1, 1, 1, 0]), asked), expected, rtol=1e-7)
    assert trie.entries == 2 + 1 + 2


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_chain_of_words_is_the_n_gram(order: int):
    train, test = text(), text(60, seed=1)
    table = modified_kneser_ney(count(train, 9, order))
    chain = [Factor(WORDS, distance) for distance in range(1, order)]
    trie = fitted(chain, "words", train)
    found = np.log(trie.look_up(test, values_of(chain, test)))[1:]
    np.testing.assert_allclose(found, table.log_probs(test, starts_of(test))[1:], atol=1e-6)


@pytest.mark.parametrize("outcomes", ["words", "members", "classes"])
@pytest.mark.parametrize("name", CHAINS)
def test_distributions_sum_to_one_in_each_group_and_agree_with_look_up(name: str, outcomes: str):
    train, test = text(), text(20, seed=1)
    trie, values = fitted(CHAINS[name], outcomes, train), values_of(CHAINS[name], test)
    rows = trie.distributions(values)
    sums = np.zeros((len(values), trie.groups))
    np.add.at(sums.T, trie.group, rows.T)
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    for outcome in range(len(trie.group)):
        np.testing.assert_allclose(trie.look_up(np.full(len(values), outcome), values), rows[:, outcome], rtol=1e-12)


def test_arrays_that_cannot_belong_together_are_refused():
    good = fitted(CHAINS["mixed"], "members", text()).to_arrays("t")
    Trie.of_arrays(good, "t", 9)

    def but(name: str, change) -> dict[str, np.ndarray]:
        return {**good, f"t.{name}": change(good[f"t.{name}"].copy())}

    def first(value: int):
        def change(array: np.ndarray) -> np.ndarray:
            array[0] = value
            return array

        return change

    damaged = [
        but("group", lambda array: array[:-1]),
        but("backoffs", lambda array: array.astype(np.float64)),
        but("child_values", lambda array: array[:-2]),
        but("group", first(1000)),
        but("events", first(-1)),
        but("event_begins", first(3)),
        but("child_begins", lambda array: array[::-1].copy()),
    ]
    for arrays in damaged:
        with pytest.raises(ValueError, match=r"^t"):
            Trie.of_arrays(arrays, "t", 9)
    with pytest.raises(KeyError):
        Trie.of_arrays({}, "t", 9)
