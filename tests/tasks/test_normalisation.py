"""Normalisations of log probabilities, worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_models import Bigram, unigram

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import ByteTokenizer, WordConfig, WordTokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.tasks.normalisation import ORDERS, frequencies, normalised, unigram_log_probs
from lmbench.tasks.ranking import CandidateSet, Ranking, rank

LN = math.log


@pytest.fixture
def seen() -> Bigram:
    """Every next token has 1/4; in training a was seen 5 times, b once: u(a) = 6/9, u(b) = 2/9, u(<unk>) = 1/9."""
    model = Bigram("a b", np.full((4, 4), 0.25))
    model.tokenizer = WordTokenizer.train(["a a a a a b"], WordConfig(min_count=1))
    return model


def test_frequencies_of_a_vocabulary(seen: Bigram) -> None:
    found = frequencies(seen.tokenizer.vocabulary)
    assert found is not None
    assert np.exp(found) == pytest.approx([1, 1 / 9, 6 / 9, 2 / 9])  # the end is certain


def test_all_four_of_one_sentence(seen: Bigram) -> None:
    sets = [CandidateSet(("b", "a a a"), 0)]
    log_probs = [-2 * LN(4), -4 * LN(4)]
    expected = {
        "total": log_probs,
        "token": [-LN(4), -LN(4)],  # a tie
        "character": [log_probs[0] / 2, log_probs[1] / 6],  # "b" and "a a a", one more for the end
        "slor": [(log_probs[0] - LN(2 / 9)) / 2, (log_probs[1] - 3 * LN(6 / 9)) / 4],  # b is rare: no fault of it
    }
    for by, values in expected.items():
        ranking = rank(seen, sets, by=by)  # type: ignore[arg-type]
        assert ranking._values == pytest.approx(values)
        assert ranking.accuracy == {"total": 1, "token": 0.5, "character": 0, "slor": 1}[by]
    assert ranking.ordered_by("total").orders == ORDERS


def test_equal_lengths_and_words_in_another_order_are_decided_alike(seen: Bigram) -> None:
    seen.table = np.log(np.random.default_rng(3).dirichlet(np.ones(4), 4))
    ranking = rank(seen, [CandidateSet(("a b a", "b a a", "a a b"), 0)])
    orders = {by: [placed.number for placed in ranking.ordered_by(by).ordered(0)] for by in ORDERS}
    assert len(set(map(tuple, orders.values()))) == 1


@given(st.lists(st.floats(-50, -1), min_size=2, max_size=5), st.floats(-20, -1))
def test_slor_of_like_words_is_the_order_of_the_sums(log_probs: list[float], words: float) -> None:
    values, same = np.array(log_probs), np.full(len(log_probs), 4)
    slor = normalised("slor", values, same, same, np.full(len(log_probs), words))
    for first, second in pairwise(range(len(log_probs))):
        assert (values[first] < values[second]) == (slor[first] < slor[second]) or math.isclose(
            values[first], values[second], rel_tol=1e-9
        )


def test_a_unigram_model_in_place_of_counts() -> None:
    model = unigram(end=0.5, a=0.25, b=0.25)
    model.max_context = 0
    tokens = model.tokenizer.encode(["a b"])
    found = unigram_log_probs(tokens, model)
    assert found is not None
    assert np.exp(found) == pytest.approx([0.25, 0.25, 0.5])  # it does predict the end
    ranking = rank(model, ["a b", "a"], by="slor", unigram=model)
    assert ranking._values == pytest.approx([0, 0])  # as likely as the words' frequency has it


def test_models_that_are_no_measure_of_frequency() -> None:
    model, tokens = unigram(end=0.5, a=0.25, b=0.25), WordTokenizer.train(["a c"], WordConfig(1)).encode(["a"])
    with pytest.raises(ModelError, match="reads what stands before them"):
        unigram_log_probs(tokens, model)
    model.max_context = 0
    with pytest.raises(ModelError, match="other ones than the model's"):
        unigram_log_probs(tokens, model)
    with pytest.raises(ModelError, match="gives '<unk>' the probability 0"):
        unigram_log_probs(model.tokenizer.encode(["a q"]), model)


def test_without_frequencies_there_is_no_slor() -> None:
    model = unigram(end=0.5, a=0.5)
    object.__setattr__(model.tokenizer.vocabulary, "counts", None)
    ranking = rank(model, ["a", "a a"])
    assert ranking.orders == ("total", "token", "character")
    with pytest.raises(UsageError, match="has no counts"):
        rank(model, ["a", "a a"], by="slor")


def test_bytes_are_counted_too() -> None:
    tokens: Tokens = ByteTokenizer.train(["aab"], ByteTokenizer.Config()).encode(["ab"])
    found = unigram_log_probs(tokens)
    assert found is not None
    assert np.exp(found) == pytest.approx([3 / 258, 2 / 258, 1])  # 3 bytes and 255 types


def test_the_choice_of_a_development_set() -> None:
    sets = (CandidateSet(("x", "y y y"), 1), CandidateSet(("x", "y y y"), 1))
    ranking = Ranking(sets, np.array([-4.0, -6.0, -4.0, -6.0]), np.array([2, 4, 2, 4]))
    # total: wrong twice; token: -2 against -1.5, right; character: -4/2 against -6/6, right: the plainer one
    assert ranking.best_order() == "token"
    with pytest.raises(UsageError, match="cannot be chosen"):
        Ranking((CandidateSet(("x", "y")),), np.array([-1.0, -2.0]), np.array([1, 1])).best_order()
