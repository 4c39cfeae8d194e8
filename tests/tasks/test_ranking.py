"""Order, ties, accuracy and mean reciprocal rank, worked out by hand on a model that is a table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from table_models import Bigram, unigram

from lmbench.errors import UsageError
from lmbench.tasks.ranking import CandidateSet, Ranking, rank


def made(values: list[float], answer: int | None, lengths: list[int] | None = None) -> Ranking:
    """A ranking of one set with these log probabilities."""
    texts = tuple(f"sentence {i}" for i in range(len(values)))
    events = np.array(lengths or [1] * len(values))
    return Ranking((CandidateSet(texts, answer),), np.array(values), events)


def test_log_probabilities_of_whole_sentences() -> None:
    model = unigram(end=0.5, a=0.25, b=0.125, c=0.125)
    ranking = rank(model, ["b a", "a a", "c"])
    best, second, third = ranking.ordered(0)
    # c </s> = 1/8 1/2 = 1/16; a a </s> = 1/16 1/2 = 1/32; b a </s> = 1/32 1/2 = 1/64
    assert [best.text, second.text, third.text] == ["c", "a a", "b a"]
    assert [p.log_prob for p in (best, second, third)] == pytest.approx([-math.log(n) for n in (16, 32, 64)])
    assert [p.events for p in (best, second, third)] == [2, 3, 3]
    assert [p.place for p in (best, second, third)] == [1, 2, 3]
    assert [p.number for p in (best, second, third)] == [2, 1, 0]
    assert best.answer is None
    assert ranking.accuracy is None


def test_per_token_is_another_order() -> None:
    model = unigram(end=0.5, a=0.25, b=0.125, c=0.125)
    ranking = rank(model, ["b a", "a a", "c"], by="token")
    # ln 64 / 3 = ln 4, ln 32 / 3 = ln 3.17, ln 16 / 2 = ln 4: "a a" leads, the others tie at places 2 and 3
    assert [p.text for p in ranking.ordered(0)] == ["a a", "b a", "c"]
    assert [p.place for p in ranking.ordered(0)] == [1, 2.5, 2.5]


def test_accuracy_and_mean_reciprocal_rank() -> None:
    model = unigram(end=0.5, a=0.25, b=0.125, c=0.125)
    sets = [
        CandidateSet(("a", "b"), 0, "one"),  # 1st of 2
        CandidateSet(("b", "a"), 0, "one"),  # 2nd of 2
        CandidateSet(("b b", "a", "b"), 0, "two"),  # 3rd of 3
        CandidateSet(("b", "a"), None, "two"),  # does not count
    ]
    ranking = rank(model, sets)
    assert ranking.accuracy == pytest.approx(1 / 3)
    assert ranking.mean_reciprocal_rank == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert {name: (a.sets, a.correct) for name, a in ranking.by_phenomenon.items()} == {"one": (2, 1), "two": (1, 0)}
    # Wilson for 1 of 2 with z = 1.959964: 1 + z^2 / 2 = 2.920729; the centre is 1/2, the half width
    # 1.959964 sqrt(0.125 + z^2 / 16 = 0.240091) / 2.920729 = 0.405469
    assert ranking.by_phenomenon["one"].interval == pytest.approx((0.094531, 0.905469), abs=1e-6)


def test_a_tie_is_half_a_win() -> None:
    ranking = made([-1.0, -1.0], 0)
    assert ranking.accuracy == 0.5
    assert ranking.mean_reciprocal_rank == pytest.approx((1 + 1 / 2) / 2)
    assert [p.place for p in ranking.ordered(0)] == [1.5, 1.5]


def test_ties_below_the_first_place() -> None:
    # one is better, one ties: the answer stands at 2 or 3, so its reciprocal rank is (1/2 + 1/3) / 2 = 5/12
    ranking = made([-2.0, -1.0, -2.0], 0)
    assert ranking.accuracy == 0.0
    assert ranking.mean_reciprocal_rank == pytest.approx(5 / 12)
    assert [(p.number, p.place) for p in ranking.ordered(0)] == [(1, 1), (0, 2.5), (2, 2.5)]


def test_rounding_is_a_tie_and_a_difference_is_not() -> None:
    assert made([-100.0, -100.00001], 0).accuracy == 0.5
    assert made([-100.0, -100.01], 0).accuracy == 1.0
    assert made([-100.0, -100.01], 1).accuracy == 0.0
    assert [made([-100.0, other], 0).overall.tied for other in (-100.00001, -100.01)] == [1, 0]  # type: ignore[union-attr]


def test_the_order_of_the_candidates_tells_nothing() -> None:
    model = unigram(end=0.5, a=0.25, b=0.25)
    for answer in (0, 1):
        assert rank(model, [CandidateSet(("a b", "b a"), answer)]).accuracy == 0.5


def test_batch_size_does_not_matter() -> None:
    model = unigram(end=0.5, a=0.25, b=0.125, c=0.125)
    sets = [CandidateSet(("a b c", "b"), 0), CandidateSet(("c", "a a a a a a"), 1)]
    whole = rank(model, sets)
    assert np.array_equal(whole.log_probs, rank(model, sets, batch_size=1).log_probs)
    assert np.array_equal(whole.log_probs, rank(model, sets, batch_size=64).log_probs)


def test_lines_of_mere_text_keep_their_newlines() -> None:
    # words know no newline, so the events are those of the sentence: a long document must not become several scores
    model = Bigram("a", np.full((3, 3), 1 / 3))
    long = " ".join("a" * 1500)
    ranking = rank(model, [CandidateSet((long, "a"), 1)], line="text")
    assert ranking.events.tolist() == [1500, 1]  # the boundary after each is no event here
    assert ranking.log_probs == pytest.approx([-1500 * math.log(3), -math.log(3)])


def test_summary_has_both_orders() -> None:
    summary = made([-4.0, -3.0], 0, lengths=[4, 2]).summary()
    assert summary["by"] == "total"
    assert summary["overall"]["accuracy"] == 0.0
    assert summary["by_token"]["accuracy"] == 1.0  # -1 a token against -1.5


def test_what_cannot_be_ranked() -> None:
    model = unigram(end=0.5, a=0.5)
    with pytest.raises(UsageError, match="nothing to rank"):
        rank(model, [])
    with pytest.raises(UsageError, match="nothing to rank"):
        rank(model, "a sentence")
    with pytest.raises(UsageError, match="at least 2"):
        rank(model, ["a"])
    with pytest.raises(UsageError, match="no normalisation of log probabilities 'length'"):
        rank(model, ["a", "a a"], by="length")  # type: ignore[arg-type]
