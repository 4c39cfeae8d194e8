"""What is known of hypotheses, how weights are found, and what the choice is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lmbench.errors import UsageError
from lmbench.tasks.error_rates import count_errors
from lmbench.tasks.nbest import NBestList
from lmbench.tasks.rescoring import features, normalised, rescore
from tests.tasks.table_models import Bigram

# Ids: </s> 0, <unk> 1, a 2, b 3, c 4. "a b" is likely, "a c" not.
TABLE = np.array(
    [
        [0.1, 0.1, 0.6, 0.1, 0.1],
        [0.4, 0.2, 0.2, 0.1, 0.1],
        [0.2, 0.1, 0.0, 0.6, 0.1],
        [0.5, 0.1, 0.2, 0.1, 0.1],
        [0.5, 0.1, 0.2, 0.1, 0.1],
    ]
)
MODEL = Bigram("a b c", TABLE)


def heard(number: int, *, scores: bool = True) -> NBestList:
    """ "a b" was said, and "a c" scored a little better."""
    values = {"score": (-1.0, -1.5)} if scores else {}
    return NBestList(f"u{number}", ("a c", "a b"), values, "a b")


def test_features_by_hand() -> None:
    lists = [heard(1), NBestList("u2", ("A zebra.", "", "a a"), {"score": (0.5, 0.25, -1.0)})]
    known = features({"lm": MODEL}, lists, normalise=["lower", "punctuation"])
    assert known.names == ("lm", "score", "length", "unknown")
    assert known.present.tolist() == [[True, True, False], [True, True, True]]
    # ln p(a | </s>) p(c | a) p(</s> | c) = 0.6 * 0.1 * 0.5, and so on; "a a" is ruled out: 100 nats below the least
    least = math.log(0.6 * 0.1 * 0.4)
    expected = [
        [[math.log(0.03), -1.0, 2, 0], [math.log(0.6 * 0.6 * 0.5), -1.5, 2, 0], [0, 0, 0, 0]],
        [[least, 0.5, 2, 1], [math.log(0.1), 0.25, 0, 0], [least - 100, -1.0, 2, 0]],
    ]
    np.testing.assert_allclose(known.values, expected, rtol=1e-6)


def test_given_weights_choose() -> None:
    # ln p differs by ln 6 = 1.79, the scores by 0.5: the model wins from a weight of 0.28 on
    for weight, text in ((0.27, "a c"), (0.29, "a b")):
        done = rescore({"lm": MODEL}, [heard(1)], weights={"lm": weight, "score": 1})
        assert done.texts == [text]
        assert done.tunings[0].weights == {"lm": weight, "score": 1, "length": 0, "unknown": 0}


def test_weights_are_tuned_on_other_lists() -> None:
    done = rescore({"lm": MODEL}, [heard(1), heard(2)], development=[heard(3)])
    (tuning,) = done.tunings
    assert (tuning.utterances, tuning.edits_before, tuning.edits) == (1, 1, 0)
    assert tuning.weights["score"] == 1
    assert tuning.weights["lm"] > 0.5 / math.log(6)
    assert done.texts == ["a b", "a b"]
    assert [done.errors(system).rate for system in ("first", "chosen", "oracle")] == [0.5, 0, 0]
    assert done.errors("first", "character").rate == 0.5
    assert done.difference is not None
    assert (done.difference.rate, done.difference.better, done.difference.worse) == (-0.5, 2, 0)


def test_the_answers_of_a_part_do_not_choose_its_weights() -> None:
    """With one wrong answer, the part that holds it is decided by the others, and its weights by the true ones."""
    liar = NBestList("liar", ("a c", "a b"), {"score": (-1.0, -1.5)}, "a c")
    done = rescore({"lm": MODEL}, [heard(1), liar], folds=2)
    assert done.texts == ["a c", "a b"], "each was decided by the answer of the other"
    assert [tuning.edits for tuning in done.tunings] == [0, 0]
    assert done.difference is not None
    assert done.difference.rate == pytest.approx(1 / 4)


def test_without_scores_the_order_is_one() -> None:
    lists = [heard(number, scores=False) for number in range(3)]
    known = features({"lm": MODEL}, lists)
    assert known.names == ("lm", "order", "length", "unknown")
    np.testing.assert_allclose(known.values[0, :, 1], [0, -math.log(2)])
    assert rescore({"lm": MODEL}, lists, folds=3).texts == ["a b"] * 3


def test_several_models() -> None:
    other = Bigram("a b c", TABLE[:, [0, 1, 2, 4, 3]])  # it takes b for c
    done = rescore({"one": MODEL, "two": other}, [heard(1)], weights={"one": 1, "two": 0.5})
    assert done.texts == ["a b"]
    done = rescore({"one": MODEL, "two": other}, [heard(1)], development=[heard(2)])
    assert done.texts == ["a b"]


def test_lists_without_references() -> None:
    lists = [NBestList("u1", ("a c", "a b")), NBestList("u2", ("a b",), {}, "a b")]
    done = rescore({"lm": MODEL}, lists, weights={"lm": 1})
    assert done.texts == ["a b", "a b"]
    assert done.answered.tolist() == [1]
    assert done.errors("chosen").lengths.tolist() == [2]
    nobody = rescore({"lm": MODEL}, lists[:1], weights={"lm": 1})
    assert nobody.difference is None


def test_chinese_counts_characters() -> None:
    lists = [NBestList("u1", ("我在看一本书", "我再看一本书"), {}, "我再看一本书")] * 1
    done = rescore({"lm": MODEL}, lists, weights={"order": -1})
    assert done.unit == "character"
    assert done.errors("first").rate == pytest.approx(1 / 6)
    assert done.errors("chosen").rate == 0


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="one of three places"):
        rescore({"lm": MODEL}, [heard(1)])
    with pytest.raises(UsageError, match="one of three places"):
        rescore({"lm": MODEL}, [heard(1)], weights={}, folds=2)
    with pytest.raises(UsageError, match="2 to 1 parts"):
        rescore({"lm": MODEL}, [heard(1)], folds=2)
    with pytest.raises(UsageError, match="Did you mean 'score'"):
        rescore({"lm": MODEL}, [heard(1)], weights={"scores": 1})
    with pytest.raises(UsageError, match="no list has a reference"):
        rescore({"lm": MODEL}, [heard(1)], development=[NBestList("u", ("a",), {"score": (1.0,)})])
    with pytest.raises(UsageError, match="Rename"):
        rescore({"score": MODEL}, [heard(1)], weights={})


def test_normalisation() -> None:
    assert normalised("“Don’t!” -- 'He', she\tsaid", ["punctuation"]) == "Don't He she said"
    assert normalised("Don't", ["lower"]) == "don't"
    assert normalised("他说：“好的。”", ["punctuation"]) == "他说 好的"


def test_the_p_value_by_hand() -> None:
    # Five of seven utterances one edit better, two alike: all signs alike in 2 of 32 cases
    lists = [
        *(heard(number) for number in range(5)),
        *(NBestList(f"v{i}", ("a b",), {"score": (0.0,)}, "a b") for i in "12"),
    ]
    done = rescore({"lm": MODEL}, lists, weights={"lm": 1})
    assert done.difference is not None
    assert done.difference.p == pytest.approx(2 / 32)
    assert (done.difference.better, done.difference.worse) == (5, 0)
    alone = rescore({"lm": MODEL}, [heard(1)], weights={"lm": 1}).difference
    assert alone is not None
    assert (alone.rate, alone.interval, alone.p) == (-0.5, None, None)


def test_errors_are_counted_on_what_was_normalised() -> None:
    lists = [NBestList("u1", ("A, b!",), {}, "a b")]
    assert rescore({"lm": MODEL}, lists, weights={}, normalise=["lower", "punctuation"]).errors("first").rate == 0
    assert rescore({"lm": MODEL}, lists, weights={}).errors("first").rate == 1
    assert count_errors(["A, b!"], ["a b"]).rate == 1
