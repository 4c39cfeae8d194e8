"""Counts against arithmetic by hand, and against a count word by word in Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.models.ngram import counting
from lmbench.models.ngram.counting import Counts, count

# Three sentences: "a b", "a b", "a c", with </s> = 0, <unk> = 1, a = 2, b = 3, c = 4.
THREE = np.array([0, 2, 3, 0, 2, 3, 0, 2, 4, 0], np.int32)


def flat(sentences: list[list[int]]) -> np.ndarray:
    return np.array([0] + [i for words in sentences for i in (*words, 0)], np.int32)


def spelled(counts: Counts, order: int) -> list[tuple[int, ...]]:
    """The words of each n-gram, in the order of their numbers."""
    grams = counts.orders[order - 1]
    if order == 1:
        return [(int(word),) for word in grams.words]
    contexts = spelled(counts, order - 1)
    return [(*contexts[c], int(w)) for c, w in zip(grams.context, grams.words, strict=True)]


def test_counts_of_three_sentences() -> None:
    counts = count(THREE, 5, 3)
    # </s> ends three sentences; its part as history is not an occurrence.
    assert counts.orders[0].raw.tolist() == [3, 0, 3, 2, 1]
    # Distinct words before: </s> after b, c; <unk> none; a after <s>; b after a; c after a.
    assert counts.of(1).tolist() == [2, 0, 1, 1, 1]
    assert spelled(counts, 2) == [(0, 2), (2, 3), (2, 4), (3, 0), (4, 0)]
    assert counts.orders[1].raw.tolist() == [3, 2, 1, 2, 1]
    # <s> a keeps its 3 occurrences, for nothing can precede <s>; the others follow one word each.
    assert counts.of(2).tolist() == [3, 1, 1, 1, 1]
    assert counts.orders[1].opening == 1
    assert counts.orders[1].begins.tolist() == [0, 1, 1, 3, 4, 5]  # children of </s>, <unk>, a, b, c
    assert spelled(counts, 3) == [(0, 2, 3), (0, 2, 4), (2, 3, 0), (2, 4, 0)]
    assert counts.of(3).tolist() == [2, 1, 2, 1]
    # Without their first word these are a b, a c, b </s>, c </s>.
    assert counts.orders[2].suffix.tolist() == [1, 2, 3, 4]


def test_highest_order_keeps_raw_counts() -> None:
    assert count(THREE, 5, 1).of(1).tolist() == [3, 0, 3, 2, 1]
    assert count(THREE, 5, 2).of(2).tolist() == [3, 2, 1, 2, 1]


def test_orders_longer_than_every_sentence_do_not_exist() -> None:
    assert [len(grams) for grams in count(THREE, 5, 20).orders] == [5, 5, 4, 2]  # <s> a b </s>, <s> a c </s>
    assert [len(grams) for grams in count(np.array([0, 2, 0], np.int32), 3, 9).orders] == [3, 2, 1]
    assert [len(grams) for grams in count(np.array([0, 0], np.int32), 2, 9).orders] == [2, 1]  # an empty sentence


def test_large_vocabularies_are_counted_alike() -> None:
    rng = np.random.default_rng(0)
    words = [rng.integers(1, 6, rng.integers(1, 9)).tolist() for _ in range(300)]
    small, large = count(flat(words), 6, 4), count(flat(words) * 40_000, 200_001, 4)
    for k in range(2, 5):
        assert np.array_equal(small.orders[k - 1].raw, large.orders[k - 1].raw)
        assert np.array_equal(small.of(k), large.of(k))
        assert np.array_equal(small.orders[k - 1].words * 40_000, large.orders[k - 1].words)


def test_order_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1, not 0"):
        count(THREE, 5, 0)


sentences = st.lists(st.lists(st.integers(1, 4), max_size=8), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(sentences, st.integers(1, 6))
def test_counts_equal_those_of_a_plain_count(text: list[list[int]], order: int) -> None:
    compare(text, order, 5)


@pytest.mark.parametrize(("size", "length"), [(3, 300), (3, 5000), (70, 5000), (3000, 9000), (150_000, 20_000)])
def test_large_contexts_are_sorted_alike(size: int, length: int) -> None:
    """Contexts of a few, of some hundred and of thousands of words take different ways to be sorted."""
    rng = np.random.default_rng(size)
    words = (size * rng.random(length) ** 4).astype(int)  # frequent words first, as in a text
    compare([[int(w) or 1 for w in part] for part in np.array_split(words, length // 100)], 4, size)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_change_the_numbers(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "threads", lambda: threads)
    rng = np.random.default_rng(1)
    compare([rng.integers(1, 30, 20).tolist() for _ in range(200)], 5, 30)


def compare(text: list[list[int]], order: int, size: int) -> None:
    """Count with dictionaries, and compare."""
    counts = count(flat(text), size, order)
    for k in range(1, order + 1):
        raw: Counter[tuple[int, ...]] = Counter()
        left: dict[tuple[int, ...], set[int]] = {}
        for words in text:
            row = [0, *words, 0]
            for i in range(1, len(row)):
                if i - k + 1 >= 0:
                    gram = tuple(row[i - k + 1 : i + 1])
                    raw[gram] += 1
                    if i - k >= 0:
                        left.setdefault(gram, set()).add(row[i - k])
        if k > len(counts.orders):
            assert not raw
            continue
        grams, names = counts.orders[k - 1], spelled(counts, k)
        if k > 1:
            assert sorted(raw) == names
            assert np.diff(grams.begins).sum() == len(grams)
            assert len(grams.begins) == len(counts.orders[k - 2]) + 1
            assert [name[0] == 0 for name in names] == [n < grams.opening for n in range(len(names))]
            shorter = spelled(counts, k - 1)
            assert [shorter[s] for s in grams.suffix] == [name[1:] for name in names]
        assert grams.raw.tolist() == [raw[name] for name in names]
        if k < order:
            assert grams.left.tolist() == [len(left.get(name, ())) for name in names]
