"""What may have been meant at each place of a line: sets, near words, capitals, and how models read them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lmbench.corpus.tokenizers import WordConfig, WordTokenizer, train_tokenizer
from lmbench.errors import UsageError
from lmbench.tasks.confusions import Candidates, Doubts, read_confusions, reads_words, recase, shipped_confusions

WORDS = WordTokenizer.train(["they lost their way there", "the dog, the cats and the cat"], WordConfig(min_count=1))
SETS = {"their": ("there",), "there": ("their",)}
RATE = math.log(0.01)


def options(doubts: Doubts) -> dict[str, dict[str, float]]:
    """Place as it stands -> what else may have been meant, and its cost."""
    return {
        place.options[0].written: {option.written: option.nats for option in place.options[1:]}
        for place in doubts.places
    }


def test_the_sets_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sets.txt"
    path.write_text("# remark\nTheir there, they're # mixed up\n\n在，再、才\nthere where\n", encoding="utf-8")
    assert read_confusions([path]) == {
        "their": ("there", "they're"),
        "there": ("their", "they're", "where"),
        "they're": ("their", "there"),
        "在": ("再", "才"),
        "再": ("在", "才"),
        "才": ("在", "再"),
        "where": ("there",),
    }
    path.write_text("a b\nthere there\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 2: a confusion set names at least two words"):
        read_confusions([path])


def test_the_sets_that_come_with_the_package() -> None:
    sets = read_confusions([shipped_confusions()])
    assert "their" in sets["there"]
    assert "在" in sets["再"]
    assert all(word not in others for word, others in sets.items())


def test_words_of_sets_keep_capitals_and_punctuation() -> None:
    (doubts,) = Candidates(WORDS, SETS).doubts(['They  lost "THERE" way, There!'])
    assert options(doubts)["THERE"] == {"THEIR": pytest.approx(RATE)}
    assert options(doubts)["There"] == {"Their": pytest.approx(RATE)}
    assert [doubts.text[place.start : place.end] for place in doubts.places] == [
        "They",
        "lost",
        "THERE",
        "way",
        "There",
    ]
    read = "".join(place.options[0].read for place in doubts.places)
    assert read == "they lost there way there", "in the forms in which the model knows them"


def test_a_form_with_punctuation_is_read_where_the_model_knows_it() -> None:
    tokenizer = WordTokenizer.train(["the dog, the dog. a cat"], WordConfig(min_count=1))
    (doubts,) = Candidates(tokenizer, {"dog": ("cat", "hog")}).doubts(["The dog, (dog)"])
    assert [place.options[0].read for place in doubts.places] == ["the", " dog,", " dog"]
    assert [len(place.options) for place in doubts.places] == [1, 1, 2], "the model knows no 'cat,', but it knows 'cat'"


def test_near_words_for_unknown_ones() -> None:
    candidates = Candidates(WORDS, {}, distance=1)
    (doubts,) = candidates.doubts(["the cst losst thier ctas cat xyzzy"])
    found = options(doubts)
    assert found["cst"] == {"cat": pytest.approx(RATE)}
    assert found["losst"] == {"lost": pytest.approx(RATE)}
    assert found["thier"] == {"their": pytest.approx(RATE)}, "neighbours that change places are one edit"
    assert found["ctas"] == {"cats": pytest.approx(RATE)}
    assert found["cat"] == found["xyzzy"] == {}
    assert doubts.places[0].options[0].nats == 0.0
    assert doubts.places[1].options[0].nats < -3, "an unknown word pays for its spelling"
    assert doubts.places[6].options[0].nats == 0.0, "where there is no choice it would be paid in vain"


def test_farther_words_and_known_words() -> None:
    (doubts,) = Candidates(WORDS, {}, distance=2).doubts(["cxtz"])
    assert options(doubts)["cxtz"] == {"cat": pytest.approx(2 * RATE), "cats": pytest.approx(2 * RATE)}
    (doubts,) = Candidates(WORDS, SETS, distance=1, all_words=True).doubts(["the cat there"])
    assert options(doubts)["cat"] == {"cats": pytest.approx(RATE)}
    assert set(options(doubts)["the"]) == {"they"}
    assert options(doubts)["there"] == {"their": pytest.approx(RATE)}, "in a set: one confusion, not two edits"


def test_names_are_left_alone() -> None:
    candidates = Candidates(WORDS, {}, distance=1)
    (doubts,) = candidates.doubts(["Thier dog Catt lost THIER way. Thier cats"])
    assert [len(place.options) for place in doubts.places] == [2, 1, 1, 1, 2, 1, 2, 1]


def test_running_text_in_chinese() -> None:
    sets = {"在": ("再",), "再": ("在",), "现在": ("现再",), "现再": ("现在",), "卖": ("麦",)}
    tokenizer = train_tokenizer("word", ["我再看一本书，我在家里看书现", "我们在学校，你们再来一次现"] * 2)
    assert not reads_words(tokenizer)
    (doubts,) = Candidates(tokenizer, sets).doubts(["  我在家 再看，现再卖"])
    assert options(doubts) == {
        "在": {"再": pytest.approx(RATE)},
        "再": {"在": pytest.approx(RATE)},
        "现再": {"现在": pytest.approx(RATE)},  # the longest of the sets that match
        "卖": {},  # 麦 is unknown to the model
    }
    assert doubts.places[-1].options[0].nats == pytest.approx(-math.log(len(tokenizer.vocabulary)))
    assert "".join(place.options[0].read for place in doubts.places) + doubts.after == "我在家 再看，现再卖"
    (plain,) = Candidates(tokenizer, sets).doubts([" 你好 "])
    assert (plain.places, plain.after) == ((), "你好")


def test_running_text_in_english() -> None:
    tokenizer = train_tokenizer("char", ["they lost their way there, The"])
    (doubts,) = Candidates(tokenizer, SETS).doubts(["There  theirs, their"])
    assert options(doubts) == {"There": {"Their": pytest.approx(RATE)}, "their": {"there": pytest.approx(RATE)}}
    assert [place.options[0].read for place in doubts.places] == ["There", " theirs, their"]


def test_capitals() -> None:
    assert [recase("there", like) for like in ("their", "Their", "THEIR", "I", "iPad")] == [
        "there", "There", "THERE", "There", "there",
    ]  # fmt: skip


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="probability between"):
        Candidates(WORDS, SETS, error_rate=0)
    with pytest.raises(UsageError, match="0, 1 or 2 edits"):
        Candidates(WORDS, SETS, distance=3)
    with pytest.raises(UsageError, match="vocabulary, and that of a char tokenizer holds no words"):
        Candidates(train_tokenizer("char", ["abc"]), SETS, distance=1)
