"""A corpus -> its figures, counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.corpus.describing import describe
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.text import Corpus, Split


def corpus(train: str, valid: str, test: str, line: str = "sentence") -> Corpus:
    parts = (Split(name, (text,), line) for name, text in (("train", train), ("valid", valid), ("test", test)))
    return Corpus("toy", *parts, origin="written here", notes=("a note",))


def test_figures_of_sentences_by_hand() -> None:
    described = describe(corpus("a b\na é\na b", "a b\nc", "c d e\na b\na b"))
    train, valid, test = described.splits
    assert described.tokenizer == "word:min_count=2:han=false"
    assert described.vocabulary == 4  # </s> <unk> a b; é once is below 2
    # "a b\n" + "a é\n" + "a b\n" are 12 characters; é has two bytes.
    assert (train.documents, train.units, train.words, train.characters, train.bytes) == (1, 3, 6, 12, 13)
    assert (train.events, train.types, train.longest) == (9, 4, 2)  # 6 words and 3 boundaries; a b <unk> </s>
    assert (train.unknown_rate, train.new_rate, train.repeated) == (1 / 9, 0, 0)
    assert (valid.events, valid.unknown_rate, valid.new_rate, valid.repeated) == (5, 1 / 5, 1 / 5, 1 / 2)
    # c d e are new, of 7 words and 3 boundaries; two of the three sentences stand in train.
    assert (test.events, test.new_rate, test.repeated, test.longest) == (10, 3 / 10, 2 / 3, 3)
    assert described.sample == ("a b", "a é", "a b")


def test_figures_of_mere_text_by_hand() -> None:
    described = describe(corpus("ab\nc\n", "ab", "az", "text"), "char")
    train, _, test = described.splits
    assert (train.units, train.lines, train.characters, train.events) == (1, 3, 5, 6)  # no newline is added
    assert (test.unknown_rate, test.new_rate) == (1 / 3, 1 / 3)  # a z </s>


@pytest.mark.parametrize("spec", ["byte", "bpe:size=270"])
def test_nothing_is_new_to_bytes(spec: str) -> None:
    described = describe(corpus("a b\na b", "x", "y"), spec)
    assert [split.new_rate for split in described.splits] == [0, 0, 0]


def test_it_can_be_read() -> None:
    text = str(describe(corpus("a b\n" + "long " * 100, "a b", "c")))
    assert "corpus     toy" in text
    assert "note       a note" in text
    assert "repeats of train" in text
    assert max(map(len, text.split("\n"))) <= 200


def test_a_file_named_like_a_known_corpus_has_not_its_licence(tmp_path: Path) -> None:
    (tmp_path / "zh.txt").write_text("我 的\n" * 20, encoding="utf-8")
    described = describe(load_corpus(tmp_path / "zh.txt"))
    assert (described.name, described.title, described.licence) == ("zh", "", "")
