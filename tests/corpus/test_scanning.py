"""Large text and small text give the same tokens and sizes: threads and blocks against plain Python."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus import scanning
from lmbench.corpus.scanning import unit_sizes
from lmbench.corpus.segmentation import HAN_TOKEN
from lmbench.corpus.tokenizers import WordTokenizer, train_and_encode, train_tokenizer
from lmbench.errors import CorpusError

PIECES = [
    "a",
    "b",
    "The",
    "the",
    "ΟΔΟΣ",
    "İ",
    "<unk>",
    "<UNK>",
    "unbelievably",
    "unbelievable",
    "我",
    "们",
    "ｘ９",
    "é",
    "😀",
]
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\u00a0", "\u3000", "\x1c", "\u2028", ""]
UNIT = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(SPACES)), max_size=8).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
ANY = st.text(st.characters(codec="utf-8", exclude_characters="\0<"), max_size=20)
UNITS = st.lists(UNIT | ANY, min_size=1, max_size=12)
SPECS = [
    f"word:lower={lower}:han={han}:min_count={least}"
    for lower in ("true", "false")
    for han in ("true", "false")
    for least in (1, 2)
]


@pytest.fixture(scope="module", autouse=True)
def every_text_is_large():
    """The compiled path, in blocks of a few characters, whatever the size of the text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "SMALL", 0)
        patch.setattr(scanning, "BLOCK", 16)
        yield


def words(unit: str, tokenizer: WordTokenizer) -> list[str]:
    unit = unit.lower() if tokenizer.config.lower else unit
    return HAN_TOKEN.findall(unit) if tokenizer.config.han else [w for w in re.split("[ \t\n\r\x0b\x0c]", unit) if w]


@settings(max_examples=40, deadline=None)
@given(units=UNITS, others=UNITS)
@pytest.mark.parametrize("spec", SPECS)
def test_large_texts_are_encoded_as_by_plain_python(spec: str, units: list[str], others: list[str]) -> None:
    tokenizer, tokens = train_and_encode(spec, units)
    ids = tokenizer.vocabulary.ids
    for text, encoded in ((units, tokens), (others, tokenizer.encode(others)), (units, tokenizer.encode(units))):
        expected = [i for unit in text for i in (*(ids.get(word, 1) for word in words(unit, tokenizer)), 0)]
        assert encoded.ids.tolist() == [0, *expected]
        decoded = [tokenizer.decode(row[1:-1]) for row in encoded.rows()]
        assert encoded.lossless is (decoded == text)
        assert tokenizer.is_lossless(text, encoded) is (decoded == text)


@settings(max_examples=40, deadline=None)
@given(units=UNITS)
@pytest.mark.parametrize("spec", ["word", *SPECS])
def test_large_and_small_texts_have_one_vocabulary(spec: str, units: list[str]) -> None:
    large, tokens = train_and_encode(spec, units)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanning, "SMALL", 1 << 20)
        small, expected = train_and_encode(spec, units)
        lossless = small.is_lossless(units, expected)
    assert large.to_dict() == small.to_dict()
    np.testing.assert_array_equal(tokens.ids, expected.ids)
    assert expected.lossless is None
    assert tokens.lossless is lossless


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    units = [f"word{i * i % 97} and {'x' * (i % 40)}" for i in range(300)] + ["", "", "end"]
    expected, tokens = train_and_encode("word", units)
    monkeypatch.setattr("lmbench.compiled.threads", lambda: size)
    tokenizer, again = train_and_encode("word", units)
    assert tokenizer.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(again.ids, tokens.ids)
    np.testing.assert_array_equal(tokenizer.encode(units).ids, tokens.ids)
    assert unit_sizes(units).tolist() == [[len(u.split()), len(u), len(u)] for u in units]


def test_the_boundary_and_nul_are_refused_in_large_texts_too() -> None:
    with pytest.raises(CorpusError, match="</s> as a word"):
        train_tokenizer("word", ["a </s> b"])
    with pytest.raises(CorpusError, match="</s> as a word"):
        train_tokenizer("word:lower=true", ["a </S> b"])
    tokenizer = train_tokenizer("word", ["a b"])
    for text in ("a </s>", "a \0 b", "a\0b", "\0"):
        with pytest.raises(CorpusError, match="NUL character or </s>"):
            tokenizer.encode([text])
    with pytest.raises(CorpusError, match="not one sentence"):
        train_tokenizer("word", [])


@settings(max_examples=60, deadline=None)
@given(units=UNITS)
def test_sizes_are_those_of_python_strings(units: list[str]) -> None:
    assert unit_sizes(units).tolist() == [[len(u.split()), len(u), len(u.encode())] for u in units]


def test_every_character_is_white_space_or_not_as_in_python() -> None:
    units = [f"a{chr(c)}b" for c in [*range(1, 0xD800), *range(0xE000, 0x10200), *range(0x1F000, 0x1F100)]]
    np.testing.assert_array_equal(unit_sizes(units), [[len(u.split()), len(u), len(u.encode())] for u in units])
