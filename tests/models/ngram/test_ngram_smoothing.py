"""Modified Kneser-Ney against arithmetic by hand, and against the formula written word by word in Python."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.smoothing import FALLBACK, Discounts, estimate_discounts, modified_kneser_ney
from lmbench.models.ngram.table import Table

FLOAT32 = 1e-6
"""Log probabilities are kept as float32: each is right to 6e-8 of itself."""
SIZE = 5  # </s> = 0, <unk> = 1, a = 2, b = 3, c = 4
THREE = [[2, 3], [2, 3], [2, 4]]  # "a b", "a b", "a c"


def flat(sentences: list[list[int]]) -> np.ndarray:
    return np.array([0] + [i for words in sentences for i in (*words, 0)], np.int32)


def estimate(sentences: list[list[int]], order: int, discounts: list[Discounts] | None = None) -> Table:
    return modified_kneser_ney(count(flat(sentences), SIZE, order), discounts)


def test_discounts_of_three_sentences() -> None:
    # Bigrams: <s> a 3, a b 2, b </s> 2, a c 1, c </s> 1, so n1 = 2, n2 = 2, n3 = 1, n4 = 0; Y = 2 / (2 + 2*2) = 1/3.
    # D1 = 1 - 2/3 * 2/2 = 1/3, D2 = 2 - 3/3 * 1/2 = 3/2, D3 = 3 - 4/3 * 0/1 = 3.
    assert estimate_discounts(count(flat(THREE), SIZE, 2).of(2)) == pytest.approx((1 / 3, 3 / 2, 3))


def test_no_discounts_where_counts_of_counts_give_none() -> None:
    assert estimate_discounts(np.array([1, 1, 1, 2])) is None  # n3 = 0
    assert estimate_discounts(np.array([2, 3])) is None  # n1 = 0
    assert estimate_discounts(np.array([], np.int32)) is None
    # n1 = 6, n2 = 3, n3 = 4: Y = 1/2, D2 = 2 - 3/2 * 4/3 = 0, which would leave nothing to unseen words.
    assert estimate_discounts(np.array([1] * 6 + [2] * 3 + [3] * 4)) is None
    assert estimate_discounts(np.array([1] * 6 + [2] * 3 + [3] * 9)) is None  # D2 = 2 - 3/2 * 3 < 0


def test_probabilities_of_three_sentences() -> None:
    notes: list[str] = []
    table = modified_kneser_ney(count(flat(THREE), SIZE, 2), note=notes.append)
    # Unigrams: adjusted counts </s> 2, a 1, b 1, c 1, in all 5; n3 = 0, so .5 / 1 / 1.5 are taken: 1 + 3 * .5 = 2.5,
    # b() = 2.5 / 5 = .5 spread over V = 5. p(</s>) = (2 - 1)/5 + .5/5 = .3, p(a) = p(b) = p(c) = .5/5 + .1 = .2.
    assert np.exp(table.orders[0].log_probs) == pytest.approx([0.3, 0.1, 0.2, 0.2, 0.2])
    assert len(notes) == 1
    assert "order 1 " in notes[0]
    # <s> a: 3 - D3 = 0, b(<s>) = 3/3: .2.            a b: (2 - 1.5)/3 + 11/18 * .2, b(a) = (1.5 + 1/3)/3 = 11/18.
    # a c: (1 - 1/3)/3 + 11/18 * .2.                  b </s>: (2 - 1.5)/2 + .75 * .3.
    # c </s>: (1 - 1/3)/1 + 1/3 * .3.
    expected = [0.2, 1 / 6 + 11 / 90, 2 / 9 + 11 / 90, 0.25 + 0.225, 2 / 3 + 0.1]
    assert np.exp(table.orders[1].log_probs) == pytest.approx(expected)
    # Histories </s> (as <s>), <unk> (never seen: everything goes to the unigrams), a, b, c.
    assert np.exp(table.orders[0].log_backoffs) == pytest.approx([1, 1, 11 / 18, 0.75, 1 / 3])


def test_order_one_counts_occurrences() -> None:
    # Raw counts </s> 3, a 3, b 2, c 1: n1 = n2 = 1, n3 = 2, n4 = 0; Y = 1/3, D = 1/3, 2 - 1*2 = 0: no estimate.
    # .5 / 1 / 1.5: (1.5 + 1.5 + 1 + .5)/9 = .5 goes to 1/V.
    table = estimate(THREE, 1)
    assert np.exp(table.orders[0].log_probs) == pytest.approx(
        [1.5 / 9 + 0.1, 0.1, 1.5 / 9 + 0.1, 1 / 9 + 0.1, 0.5 / 9 + 0.1]
    )


def test_given_discounts_are_used() -> None:
    table = estimate(THREE, 2, [(0.5, 0.5, 0.5), (0.25, 0.25, 0.25)])
    # Unigrams: 4 * .5 / 5 = .4 spread: p(b) = .5/5 + .08. a has two children: p(b | a) = 1.75/3 + .5/3 * p(b).
    assert np.exp(table.orders[1].log_probs[1]) == pytest.approx(1.75 / 3 + 0.5 / 3 * 0.18)


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 1.5), (1.5, 1.5, 1.5), (0.5, 1.0)])
def test_given_discounts_must_be_possible(wrong: Discounts) -> None:
    with pytest.raises(UsageError, match="order 2"):
        estimate(THREE, 2, [FALLBACK, wrong])
    with pytest.raises(UsageError, match="given for 1 orders"):
        estimate(THREE, 2, [FALLBACK])


class PlainKneserNey:
    """The formulas of ``smoothing.py``, one probability at a time, from dictionaries."""

    def __init__(self, sentences: list[list[int]], order: int) -> None:
        rows = [(0, *words, 0) for words in sentences]
        self.counts: list[dict[tuple[int, ...], dict[int, int]]] = []
        self.discounts: list[Discounts] = []
        for k in range(1, order + 1):
            seen: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for row in rows:
                for i in range(max(1, k - 1), len(row)):
                    seen[row[i - k + 1 : i + 1]].append(row[i - k] if i >= k else -1)
            counts: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
            for gram, before in seen.items():
                raw = k == order or (k > 1 and gram[0] == 0)
                counts[gram[:-1]][gram[-1]] = len(before) if raw else len(set(before))
            self.counts.append(counts)
            all_counts = [a for words in counts.values() for a in words.values()]
            self.discounts.append(estimate_discounts(np.array(all_counts, np.int64)) or FALLBACK)

    def probability(self, word: int, history: tuple[int, ...]) -> float:
        history = history[len(history) - min(len(history), len(self.counts) - 1) :]
        lower = self.probability(word, history[1:]) if history else 1 / SIZE
        words = self.counts[len(history)].get(history)
        if not words:
            return lower
        discounts = (0.0, *self.discounts[len(history)])
        total, taken = sum(words.values()), sum(discounts[min(a, 3)] for a in words.values())
        a = words.get(word, 0)
        return (a - discounts[min(a, 3)]) / total + taken / total * lower


texts = st.lists(st.lists(st.integers(2, 4), max_size=7), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.integers(1, 4), max_size=7), st.integers(1, 6))
def test_table_equals_the_formula(text: list[list[int]], sentence: list[int], order: int) -> None:
    """Seen and unseen histories, <unk> among them, sentences longer and shorter than the order."""
    plain, table = PlainKneserNey(text, order), estimate(text, order)
    row = (0, *sentence, 0)
    expected = [math.log(plain.probability(row[i], row[:i])) for i in range(1, len(row))]
    assert table.log_probs(np.array(row), np.zeros(len(row), bool))[1:] == pytest.approx(expected, rel=FLOAT32)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.lists(st.integers(1, 4), max_size=6), min_size=1, max_size=4), st.integers(1, 6))
def test_every_history_has_a_distribution(text: list[list[int]], histories: list[list[int]], order: int) -> None:
    """Next-word probabilities sum to one after any history, and are those that scoring gives."""
    table = estimate(text, order)
    rows = [np.array([0, *history]) for history in histories]
    answers = table.next_log_probs(rows)
    assert np.exp(answers).sum(1) == pytest.approx(np.ones(len(rows)), abs=FLOAT32)
    for row, answer in zip(rows, answers, strict=True):
        extended = [table.log_probs(np.append(row, word), np.zeros(len(row) + 1, bool))[-1] for word in range(SIZE)]
        assert extended == pytest.approx(answer.tolist(), rel=FLOAT32)


def test_every_stored_history_has_a_distribution() -> None:
    rng = np.random.default_rng(0)
    text = [rng.integers(2, 5, rng.integers(0, 9)).tolist() for _ in range(200)]
    histories = [np.array([0, *words[:length]]) for words in text for length in range(len(words) + 1)]
    for order in (1, 2, 3, 6):
        sums = np.exp(estimate(text, order).next_log_probs(histories)).sum(1)
        assert np.abs(sums - 1).max() < FLOAT32
