"""Text -> ids -> text, for every tokenizer: round trip, boundaries, and what is kept on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.segmentation import is_unsegmented_han, split_words
from lmbench.corpus.text import Corpus, Split
from lmbench.corpus.tokenizers import (
    TOKENIZERS,
    ByteTokenizer,
    CharTokenizer,
    WordTokenizer,
    tokenizer_from_dict,
    train_and_encode,
    train_tokenizer,
)
from lmbench.errors import CorpusError, UsageError

TRAIN = ["the cat sat on the mat", "the dog sat", "a cat saw the dog ,  again", "", "Zoë saw 我们 at 10\u00a0pm"]
SPECS = ["word", "word:min_count=1", "word:lower=true", "word:han=true:min_count=1", "char", "byte", "bpe:size=300"]
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
UNITS = st.lists(st.text(CHARACTERS, max_size=30).filter(lambda text: "</s>" not in text.lower()), min_size=1)


@pytest.fixture(scope="module", params=SPECS)
def tokenizer(request: pytest.FixtureRequest):
    return train_tokenizer(request.param, TRAIN)


@settings(max_examples=40, deadline=None)
@given(units=UNITS)
def test_any_text_gives_one_boundary_a_unit_and_ids_in_range(tokenizer, units) -> None:
    tokens = tokenizer.encode(units)
    assert tokens.ids.dtype == np.int32
    assert tokens.ids.min() >= 0
    assert tokens.ids.max() < len(tokenizer.vocabulary)
    assert np.count_nonzero(tokens.ids == 0) == len(units) + 1
    assert len(tokens.rows()) == len(units)


@settings(max_examples=25, deadline=None)
@given(units=UNITS)
def test_units_together_are_encoded_as_each_alone(tokenizer, units) -> None:
    for row, unit in zip(tokenizer.encode(units).rows(), units, strict=True):
        np.testing.assert_array_equal(row, tokenizer.encode([unit]).ids)


@settings(max_examples=40, deadline=None)
@given(units=UNITS)
def test_lossless_means_that_decoding_gives_the_text_back(tokenizer, units) -> None:
    tokens = tokenizer.encode(units)
    decoded = [tokenizer.decode(row[1:-1]) for row in tokens.rows()]
    assert tokenizer.is_lossless(units, tokens) == (decoded == units)


@settings(max_examples=40, deadline=None)
@given(units=UNITS)
@pytest.mark.parametrize("spec", ["byte", "bpe:size=300"])
def test_bytes_write_every_text(spec: str, units) -> None:
    tokenizer = train_tokenizer(spec, TRAIN)
    assert tokenizer.is_lossless(units, tokenizer.encode(units))


@settings(max_examples=25, deadline=None)
@given(units=UNITS)
@pytest.mark.parametrize("spec", ["char", "word:min_count=1:han=true"])
def test_the_training_text_itself_is_written_without_loss(spec: str, units) -> None:
    tokenizer, tokens = train_and_encode(spec, units)
    assert tokens.unknowns == 0
    assert tokenizer.is_lossless(units, tokens)


@settings(max_examples=25, deadline=None)
@given(units=UNITS)
@pytest.mark.parametrize("spec", ["word", "word:min_count=2:size=5", "char:min_count=2", "byte"])
def test_training_and_encoding_together_equals_one_after_the_other(spec: str, units) -> None:
    together, tokens = train_and_encode(spec, units)
    apart = train_tokenizer(spec, units)
    assert together.vocabulary == apart.vocabulary
    assert together.spec == apart.spec
    np.testing.assert_array_equal(together.vocabulary.counts, apart.vocabulary.counts)
    np.testing.assert_array_equal(tokens.ids, apart.encode(units).ids)


def test_what_is_saved_is_restored(tokenizer) -> None:
    state = json.loads(json.dumps(tokenizer.to_dict()))
    restored = tokenizer_from_dict(state)
    assert restored.spec == tokenizer.spec
    assert restored.vocabulary == tokenizer.vocabulary
    assert restored.vocabulary.sha256 == tokenizer.vocabulary.sha256
    assert restored.to_dict() == tokenizer.to_dict()
    text = ["the unicorn sat", "我们 again"]
    np.testing.assert_array_equal(restored.encode(text).ids, tokenizer.encode(text).ids)


def test_the_same_text_gives_the_same_tokenizer(tokenizer) -> None:
    assert train_tokenizer(tokenizer.spec, TRAIN).to_dict() == tokenizer.to_dict()


def test_words_by_hand() -> None:
    # the 2, cat 1, dog 1, ran 1, sat 1: falling count, then code points; 0 is </s>, 1 is <unk>.
    tokenizer = train_tokenizer("word:min_count=1", ["the cat sat", "the dog ran"])
    assert tokenizer.vocabulary.types == ("</s>", "<unk>", "the", "cat", "dog", "ran", "sat")
    assert tokenizer.vocabulary.counts.tolist() == [0, 0, 2, 1, 1, 1, 1]
    assert tokenizer.encode(["the unicorn ran", "cat"]).ids.tolist() == [0, 2, 1, 5, 0, 3, 0]
    assert tokenizer.tokens([2, 1, 0]) == ["the", "<unk>", "</s>"]


def test_rare_words_become_unknown_unless_the_text_brings_its_own() -> None:
    plain = train_tokenizer("word", ["a a b"])
    assert plain.spec == "word:min_count=2:han=false"
    # b occurs once, below 2, and is counted as <unk>.
    assert (plain.vocabulary.types, plain.vocabulary.counts.tolist()) == (("</s>", "<unk>", "a"), [0, 1, 2])
    marked = train_tokenizer("word", ["a a b <unk>"])
    assert marked.vocabulary.types == ("</s>", "<unk>", "a", "b")
    assert marked.vocabulary.counts.tolist() == [0, 1, 2, 1]


def test_an_unknown_that_the_text_brings_hides_nothing() -> None:
    tokenizer = train_tokenizer("word", ["a <unk> b"])
    assert tokenizer.is_lossless(["b <unk>"], tokenizer.encode(["b <unk>"]))
    assert not tokenizer.is_lossless(["b c"], tokenizer.encode(["b c"]))


@pytest.mark.parametrize("space", ["\u00a0", "\u3000", "\u2028", "\x1c", "\x85"])
def test_only_ascii_white_space_separates_words(space: str) -> None:
    assert split_words([f"a{space}b\tc\r\nd  e"]) == [f"a{space}b", "c", "d", "e"]


def test_chinese_is_read_by_characters_with_latin_runs_whole() -> None:
    text = ["我有3只GPU卡，不错。", "今天天气很好我们去公园"]
    tokenizer = train_tokenizer("word:min_count=1", text)
    assert tokenizer.config.han is True
    assert tokenizer.words(text[:1]) == ["我", "有", "3", "只", "GPU", "卡", "，", "不", "错", "。"]
    assert tokenizer.is_lossless(text, tokenizer.encode(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("我们今天去公园玩", True), ("我们 今天 去 公园 玩", False), ("we go to the park", False), ("", False)],
)
def test_chinese_without_spaces_is_recognised(text: str, expected: bool) -> None:
    assert is_unsegmented_han([text]) is expected


def test_bytes_are_the_bytes() -> None:
    tokenizer = train_tokenizer("byte", ["é"])
    assert tokenizer.encode(["é"]).ids.tolist() == [0, 0xC3, 0xA9, 0]  # UTF-8 of U+00E9
    assert len(tokenizer.vocabulary) == 256
    assert tokenizer.tokens([65, 0xC3]) == ["A", "<0xC3>"]


def test_bpe_keeps_to_its_size() -> None:
    tokenizer = train_tokenizer("bpe:size=280", ["the cat sat on the mat"] * 50)
    # 256 bytes, the boundary, and as many merges as there are: fewer than 23 different ones or just 23.
    assert 257 < len(tokenizer.vocabulary) <= 280
    assert len(tokenizer.encode(["the the the"]).ids) < 13  # merges shorten 11 bytes and two boundaries


def test_the_boundary_and_nul_are_refused() -> None:
    with pytest.raises(CorpusError, match="</s> as a word"):
        train_tokenizer("word", ["a </s> b"])
    tokenizer = train_tokenizer("word", ["a b"])
    for text in ("a </s>", "a \0 b"):
        with pytest.raises(CorpusError, match="NUL character or </s>"):
            tokenizer.encode([text])
    with pytest.raises(CorpusError, match="not one sentence"):
        tokenizer.encode([])
    with pytest.raises(CorpusError, match="not one sentence"):
        train_tokenizer("word", [])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("wrod", "Did you mean 'word'"),
        ("word:sise=3", "Did you mean 'size'"),
        ("word:size=1", "at least 2"),
        ("word:min_count=0", "at least 1"),
        ("word:size=many", "whole number"),
        ("bpe:size=256", "at least 257"),
        ("byte:size=3", "size"),
    ],
)
def test_settings_that_cannot_be_are_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train_tokenizer(spec, ["a b"])


def test_a_corpus_is_tokenized_from_its_training_split_alone() -> None:
    splits = [Split(name, (text,)) for name, text in (("train", "a b\na b"), ("valid", "a c"), ("test", "d"))]
    tokenized = Corpus("toy", *splits).tokenize("word")
    assert tokenized.tokenizer.vocabulary.types == ("</s>", "<unk>", "a", "b")
    assert tokenized.train.ids.tolist() == [0, 2, 3, 0, 2, 3, 0]
    assert tokenized.valid.ids.tolist() == [0, 2, 1, 0]
    assert tokenized.test.unknowns == 1
    again = Corpus("toy", *splits).tokenize(tokenized.tokenizer)
    np.testing.assert_array_equal(again.train.ids, tokenized.train.ids)


def test_every_tokenizer_can_be_named() -> None:
    assert list(TOKENIZERS) == ["word", "char", "byte", "bpe", "huggingface"]
    assert (TOKENIZERS["word"], TOKENIZERS["char"], TOKENIZERS["byte"]) == (WordTokenizer, CharTokenizer, ByteTokenizer)
