"""Bytes -> numbers: the compiled table against a dictionary, crowded and with keys that coincide."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.segmentation import split_words
from lmbench.corpus.wordtable import WordTable, _slot

LETTERS = st.text(st.sampled_from("abcdefgé我\x01😀"), min_size=1, max_size=12)
UNITS = st.lists(st.lists(LETTERS, max_size=8), min_size=1, max_size=30)


def numbered(units: list[list[str]]) -> tuple[list[int], list[str]]:
    """The same with a dictionary: words numbered from 1 as they first occur, 0 after each unit."""
    numbers = {"": 0}
    ids = [number for unit in units for number in (*(numbers.setdefault(word, len(numbers)) for word in unit), 0)]
    return ids, list(numbers)


@settings(max_examples=60, deadline=None)
@given(units=UNITS, cut=st.integers(0, 30))
def test_words_are_numbered_as_by_a_dictionary_however_small_the_table_begins(units, cut) -> None:
    table, ids = WordTable(slots=4), []
    for part in (units[:cut], units[cut:]):
        if part:
            ids += table.read("".join(" ".join(unit) + "\0" for unit in part), han=False).tolist()
    expected, types = numbered(units)
    assert (ids, table.types()) == (expected, types)
    assert table.counts[: len(types)].tolist() == [0, *np.bincount(expected, minlength=len(types))[1:]]
    assert table.exact


@settings(max_examples=60, deadline=None)
@given(units=UNITS, known=st.lists(LETTERS, unique=True))
def test_a_given_table_adds_nothing(units, known) -> None:
    types = ["</s>", "<unk>", *known]
    table = WordTable(types, unknown=1, slots=4)
    ids = table.read("".join(" ".join(unit) + "\0" for unit in units), han=False)
    by_word = {word: number for number, word in enumerate(types)}
    assert ids.tolist() == [i for unit in units for i in (*(by_word.get(word, 1) for word in unit), 0)]
    assert table.types() == types
    assert table.exact == all(word in by_word for unit in units for word in unit)


def test_two_long_words_with_one_key_are_two_words() -> None:
    # Four slots, one word in the slot where the key 2 ** 62 begins to look: its key is multiplied by an odd number,
    # and the product's highest two bits, here those of the lowest two bits of that number (..01), tell the slot: 1.
    key = np.uint64(1 << 62)
    slots = np.zeros((4, 2), np.uint64)
    slots[1] = key, 1
    letters, starts = np.frombuffer(bytearray(b"abcdefghij"), np.uint8), np.array([0, 10])
    for word, slot in ((b"abcdefghij", 1), (b"abcdefghik", 2), (b"abcdefghijk", 2), (b"abcdefghi", 2)):
        text = np.frombuffer(bytearray(word + b"\0"), np.uint8)
        assert _slot(slots, letters, starts, text, 0, len(word), key) == slot


def test_white_space_that_would_be_lost_is_noticed() -> None:
    for text, exact in {
        "a b": True,
        "": True,
        "a  b": False,
        " a": False,
        "a ": False,
        "a\tb": False,
        " ": False,
    }.items():
        table = WordTable()
        assert table.read(f"x\0{text}\0", han=False).tolist()[2:] == [*range(2, 2 + len(text.split())), 0]
        assert table.exact == exact, text


def test_every_character_is_cut_as_the_expression_for_chinese_cuts_it() -> None:
    text = "".join(map(chr, [*range(1, 0xD800), *range(0xE000, 0x10200), *range(0x1F000, 0x20100)]))
    table = WordTable()
    numbers, types = table.read(text + "\0", han=True), table.types()
    assert [types[i] for i in numbers[:-1]] == split_words([text], han=True)


def test_strings_that_are_no_unicode_stay_apart() -> None:
    # A pair of surrogates is not the character that it stands for in UTF-16, nor is one of them the other.
    table = WordTable()
    assert table.read("\ud83d\ude00 😀 \ud83d \ude00\0", han=False).tolist() == [1, 2, 3, 4, 0]
    assert table.types()[1:] == ["\ud83d\ude00", "😀", "\ud83d", "\ude00"]
