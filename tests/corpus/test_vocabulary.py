"""Counts -> types and ids: order, limits, <unk>."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.vocabulary import Vocabulary
from lmbench.errors import CorpusError, UsageError

COUNTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 9), max_size=30)


@given(counts=COUNTS, order=st.randoms())
def test_the_order_of_counting_does_not_matter(counts, order) -> None:
    items = list(counts.items())
    order.shuffle(items)
    assert Vocabulary.from_counts(dict(items)).types == Vocabulary.from_counts(counts).types


@given(counts=COUNTS, least=st.integers(1, 6), size=st.one_of(st.none(), st.integers(2, 20)), opened=st.booleans())
def test_limits_hold_and_no_occurrence_is_lost(counts, least, size, opened) -> None:
    vocabulary = Vocabulary.from_counts(counts, min_count=least, size=size, open=opened)
    assert vocabulary.types[0] == "</s>"
    assert size is None or len(vocabulary) <= size
    kept = vocabulary.types[2 if opened else 1 :]
    assert all(counts[word] >= least for word in kept)
    assert all(vocabulary.types[vocabulary.id(word)] == word for word in kept)
    if opened:
        assert vocabulary.counts.sum() == sum(counts.values())
    frequencies = [counts[word] for word in kept]
    assert frequencies == sorted(frequencies, reverse=True)


def test_equal_counts_stand_in_code_point_order() -> None:
    assert Vocabulary.from_counts({"b": 1, "a": 1, "Z": 1, "é": 1, "c": 2}).types[2:] == ("c", "Z", "a", "b", "é")


def test_a_size_counts_the_boundary_and_the_unknown() -> None:
    # 4 = </s>, <unk>, x (3), y (2); z (1) falls to <unk>.
    vocabulary = Vocabulary.from_counts({"x": 3, "y": 2, "z": 1}, size=4)
    assert vocabulary.types == ("</s>", "<unk>", "x", "y")
    assert vocabulary.counts.tolist() == [0, 1, 3, 2]


def test_a_closed_vocabulary_has_no_unknown() -> None:
    vocabulary = Vocabulary.from_counts({"x": 1}, open=False)
    assert vocabulary.types == ("</s>", "x")
    assert vocabulary.unknown is None
    with pytest.raises(KeyError):
        vocabulary.id("y")


def test_equal_types_have_equal_checksums() -> None:
    one, two = Vocabulary.from_counts({"a": 2, "b": 1}), Vocabulary.from_counts({"a": 5, "b": 4})
    assert one == two
    assert one.sha256 == two.sha256 != Vocabulary.from_counts({"b": 2, "a": 1}).sha256


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CorpusError, match="</s> as a word"):
        Vocabulary.from_counts({"</s>": 1})
    with pytest.raises(UsageError, match="min_count must be at least 1"):
        Vocabulary.from_counts({}, min_count=0)
    with pytest.raises(UsageError, match="size must be at least 2"):
        Vocabulary.from_counts({}, size=1)
