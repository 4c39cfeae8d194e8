"""Corrupted copies: seeded, different, in any language."""

from __future__ import annotations

from collections import Counter

import pytest

from lmbench.corpus.text import Split
from lmbench.errors import CorpusError
from lmbench.tasks.corruption import LONGEST, SHORTEST, corrupted

ENGLISH = Split("test", ("\n".join(f"the cat number {i} sat on mat {i + 1} ." for i in range(50)),))
CHINESE = Split("test", ("\n".join(f"这只小猫今天坐在第{i}张桌子上面。" for i in range(50)),))
TEXT = Split("test", ("MARY:\n\nThe cat of number one is here.\n" * 3, "So is the cat of number two.\n"), "text")


@pytest.mark.parametrize("split", [ENGLISH, CHINESE])
def test_copies_differ_and_the_kinds_take_turns(split: Split) -> None:
    pairs = corrupted(split, n=48)
    assert all(pair.sentence != pair.corrupted for pair in pairs)
    assert Counter(pair.phenomenon for pair in pairs) == {"swap": 16, "replace": 16, "drop": 16}
    lines = split.documents[0].split("\n")
    assert all(pair.sentence in lines for pair in pairs)
    assert len({pair.sentence for pair in pairs}) == 48


def test_what_each_kind_does_to_words() -> None:
    for pair in corrupted(ENGLISH):
        before, after = pair.sentence.split(), pair.corrupted.split()
        if pair.phenomenon == "swap":
            assert Counter(before) == Counter(after)
            assert sum(a != b for a, b in zip(before, after, strict=True)) == 2
        elif pair.phenomenon == "replace":
            assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        else:
            assert len(after) == len(before) - 1


def test_chinese_is_cut_into_characters_and_whole_numbers() -> None:
    for pair in corrupted(CHINESE):
        assert " " not in pair.corrupted
        if pair.phenomenon == "swap":
            assert Counter(pair.sentence) == Counter(pair.corrupted)


def test_lines_of_mere_text_are_sentences_if_long_enough() -> None:
    assert {pair.sentence for pair in corrupted(TEXT)} == {
        "The cat of number one is here.",
        "So is the cat of number two.",
    }


def test_paragraphs_are_cut_after_full_stops() -> None:
    english = Split("test", ("The first one is here. Is the second one there? " * 9 + "The last one ends!",))
    assert {p.sentence for p in corrupted(english)} == {
        "The first one is here.", "Is the second one there?", "The last one ends!",
    }  # fmt: skip
    chinese = Split("test", ("第一句话在这里说完。第二句话在那里吗？" * 9,))
    assert {p.sentence for p in corrupted(chinese)} == {"第一句话在这里说完。", "第二句话在那里吗？"}


def test_the_seed_decides() -> None:
    assert corrupted(ENGLISH, 1) == corrupted(ENGLISH, 1)
    assert corrupted(ENGLISH, 1) != corrupted(ENGLISH, 2)


def test_replacements_come_from_where_they_are_asked() -> None:
    words = Split("train", ("zebra zebra",))
    replaced = [p for p in corrupted(ENGLISH, replacements=words) if p.phenomenon == "replace"]
    assert replaced
    assert all("zebra" in pair.corrupted for pair in replaced)


def test_text_without_full_stops_is_cut_by_length() -> None:
    endless = Split("test", (" ".join(f"w{i}" for i in range(60)),), "text")
    pairs = corrupted(endless)
    assert {len(pair.sentence.split()) for pair in pairs} == {LONGEST // 2}
    assert len(pairs) == 3


def test_names_are_changed_by_their_letters() -> None:
    pairs = corrupted(Split("test", ("emma\nolivia\nisabella",)))
    assert {pair.sentence for pair in pairs} == {"emma", "olivia", "isabella"}
    assert all(pair.sentence != pair.corrupted for pair in pairs)


def test_texts_without_anything_long_enough() -> None:
    with pytest.raises(CorpusError, match="4 words or 4 characters"):
        corrupted(Split("test", ("abc\nde",)))
    assert SHORTEST == 4


def test_where_one_kind_changes_nothing_another_does() -> None:
    assert [p.phenomenon for p in corrupted(Split("test", ("so so so so",)))] == ["drop"]
