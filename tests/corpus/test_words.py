"""Where words begin among their pieces, and how many there are: by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.corpus.words import word_counts, word_starts, word_types, written_words

TEXT = ["the old cats\nsleep", "那只猫睡了睡了", "a b c"]
SPECS = ("word:min_count=1", "word:min_count=1:han=yes", "char", "byte", "bpe:size=285")


def read(spec, texts):
    tokenizer = train_tokenizer(spec, TEXT)
    tokens = tokenizer.encode(texts)
    return tokenizer, tokens.ids[1:], tokens.ends, word_types(tokenizer)


@pytest.mark.parametrize("spec", SPECS)
def test_words_begin_where_white_space_ends(spec):
    tokenizer, ids, ends, types = read(spec, ["the cats", "", "a  b"])
    starts = word_starts(ids, ends, types)
    found = written_words(tokenizer, ["the cats", "", "a  b"], ids, ends, starts)
    assert found == ["the", "cats", "</s>", "</s>", "a", "b", "</s>"]
    assert word_counts(ids, ends, types).tolist() == [2, 0, 2]


@pytest.mark.parametrize("spec", SPECS[1:])
def test_chinese_characters_count_though_merges_join_them(spec):
    _, ids, ends, types = read(spec, ["睡了睡了", "那只 cats 睡了"])
    assert word_counts(ids, ends, types).tolist() == [4, 5]


def test_a_token_of_two_characters_is_one_word_to_show_and_two_to_count():
    tokenizer = train_tokenizer("bpe:size=262", ["睡了"])  # five merges make one token of six bytes
    tokens, types = tokenizer.encode(["睡了"]), word_types(tokenizer)
    ids, ends = tokens.ids[1:], tokens.ends
    assert written_words(tokenizer, ["睡了"], ids, ends, word_starts(ids, ends, types)) == ["睡了", "</s>"]
    assert word_counts(ids, ends, types).tolist() == [2]


@pytest.mark.parametrize("spec", ["char", "byte", "bpe:size=285"])
def test_white_space_at_the_end_is_no_word(spec):
    tokenizer, ids, ends, types = read(spec, ["the cats\n"])
    assert word_counts(ids, ends, types).tolist() == [2]
    assert written_words(tokenizer, ["the cats\n"], ids, ends, word_starts(ids, ends, types))[2:] == ["\n", "</s>"]


def test_nothing_has_no_words():
    types = word_types(train_tokenizer("char", TEXT))
    assert word_starts(np.zeros(0, np.int32), np.zeros(0, np.int64), types).tolist() == []


def test_what_the_model_does_not_know_is_written_as_it_stands():
    for spec in ("word:min_count=1", "char"):
        tokenizer, ids, ends, types = read(spec, ["the zebra Ä"])
        found = written_words(tokenizer, ["the zebra Ä"], ids, ends, word_starts(ids, ends, types))
        assert found == ["the", "zebra", "Ä", "</s>"]
