"""Which tokens are asked for where something stands before the text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.scoring.conditioning import ask

TEXT = ["the dogs bark at\nthe old dog", "那只狗在叫。那只猫睡了。"]
WORD, HAN = (train_tokenizer(f"word:min_count=1:han={han}", TEXT) for han in ("no", "yes"))
CHAR, BYTE, BPE = (train_tokenizer(spec, TEXT) for spec in ("char", "byte", "bpe:size=300"))
MERGED = train_tokenizer("bpe:size=262", ["那只"])  # five merges make one token of it
SPELLED = {"char": CHAR, "byte": BYTE, "bpe": BPE}


def asked_text(tokenizer, asked, number=0):
    """What the asked tokens of a text spell."""
    row = asked.tokens.ids[1:][asked.starts[number] : asked.ends[number]]
    return tokenizer.decode(row[row != 0])


def test_a_text_alone_is_asked_for_with_its_end():
    asked = ask(WORD, ["the  dogs", "", "bark"])
    assert asked.events.tolist() == [3, 1, 2]
    assert asked.places.all()
    assert asked.sums(np.array([1.0, 2, 4, 8, 16, 32])).tolist() == [7, 8, 48]


def test_after_a_prefix_only_the_text_is():
    asked = ask(WORD, ["bark at", "", "the dog"], ["the dogs", "the", ""])
    assert asked.events.tolist() == [3, 1, 3]
    assert [asked_text(WORD, asked, number) for number in range(3)] == ["bark at", "", "the dog"]
    # events: the dogs | bark at </s>   the | </s>   the dog </s>
    assert asked.places.tolist() == [False, False, True, True, True, False, True, True, True, True]
    assert asked.sums(np.arange(10.0)[asked.places]).tolist() == [2 + 3 + 4, 6, 7 + 8 + 9]


@pytest.mark.parametrize("name", sorted(SPELLED))
def test_the_space_at_the_seam_belongs_to_the_text(name):
    assert asked_text(SPELLED[name], ask(SPELLED[name], ["bark"], "the dogs")) == " bark"
    assert ask(SPELLED[name], ["bark"], "the dogs").crossing == 0


@pytest.mark.parametrize("name", ["han", "char", "byte"])
@pytest.mark.parametrize(
    ("prefix", "text"), [("那只猫", "睡了。"), ("那只", "dog"), ("dog。", "the"), ("the", "狗在叫")]
)
def test_no_space_stands_beside_a_chinese_character(name, prefix, text):
    tokenizer = {**SPELLED, "han": HAN}[name]
    asked = ask(tokenizer, [text], prefix)
    assert asked.tokens.ids.tolist() == tokenizer.encode([prefix + text]).ids.tolist()
    assert asked_text(tokenizer, asked) == text


def test_white_space_that_was_given_stands_at_the_seam():
    assert asked_text(CHAR, ask(CHAR, ["睡"], "那只猫 ")) == " 睡"
    assert asked_text(CHAR, ask(CHAR, [" 睡"], "那只猫")) == " 睡"
    assert ask(CHAR, [" the  dog "], None).texts == ("the dog",)


def test_words_between_spaces_keep_their_space_in_chinese_too():
    spaced = train_tokenizer("word:min_count=1:han=no", ["那只 狗 在 叫"])
    assert ask(spaced, ["在 叫"], "那只 狗").tokens.ids.tolist() == spaced.encode(["那只 狗 在 叫"]).ids.tolist()


def test_a_token_across_the_seam_is_asked_for_as_a_whole():
    """Merges know "那只" as one token: after "那" comes nothing that was seen, so it is asked for from the boundary."""
    assert len(MERGED.encode(["那只"]).ids) == 3
    asked = ask(MERGED, ["只狗"], "那")
    assert asked.crossing == 1
    assert asked_text(MERGED, asked) == "那只狗"
    assert ask(MERGED, ["只狗", "bark"], ["那", "the dogs"]).crossing == 1


@pytest.mark.parametrize("name", ["char", "byte"])
@given(prefix=st.text("ab 那只。", max_size=8), text=st.text("ab 那只。", max_size=8))
def test_history_and_what_is_asked_for_are_the_whole(name, prefix, text):
    tokenizer = SPELLED[name]
    asked = ask(tokenizer, [text], prefix)
    row = asked.tokens.ids[1:-1]
    opening = tokenizer.decode(row[: asked.starts[0]])
    assert opening == tokenizer.decode(tokenizer.encode([" ".join(prefix.split())]).ids[1:-1])
    assert tokenizer.decode(row) == opening + asked_text(tokenizer, asked)


@given(prefix=st.text("ab 那只。", max_size=8), text=st.text("ab 那只。", max_size=8))
def test_the_history_is_all_tokens_that_end_within_the_prefix(prefix, text):
    """Each character of a byte-level type is a byte."""
    asked, size = ask(BPE, [text], prefix), len(" ".join(prefix.split()).encode())
    widths = [len(BPE.vocabulary.types[i]) for i in asked.tokens.ids[1:-1]]
    first = int(asked.starts[0])
    assert sum(widths[:first]) <= size
    assert first == len(widths) or sum(widths[: first + 1]) > size
    assert asked.crossing == (sum(widths[:first]) < size)


@pytest.mark.parametrize("name", ["word", "char", "byte", "bpe"])
def test_in_mere_text_newlines_stand_around_it_and_no_boundary_is_asked_for(name):
    tokenizer = {**SPELLED, "word": WORD}[name]
    asked = ask(tokenizer, ["the dogs"], line="text")
    assert asked.tokens.ids.tolist() == tokenizer.encode(["\nthe dogs\n"]).ids.tolist()
    assert asked_text(tokenizer, asked) == ("the dogs" if name == "word" else "the dogs\n")
    assert 0 not in asked.ids


def test_prefixes_and_texts_are_as_many():
    with pytest.raises(UsageError, match="2 texts and 1 prefixes"):
        ask(WORD, ["a", "b"], ["the"])
    with pytest.raises(UsageError, match="list"):
        ask(WORD, "the dog")
