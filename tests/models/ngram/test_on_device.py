"""Counting with torch equals counting in compiled loops, array by array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.on_device import count_on_device

sentences = st.lists(st.lists(st.integers(1, 4), max_size=8), min_size=1, max_size=8)


def compare(ids: np.ndarray, size: int, order: int) -> None:
    found, expected = count_on_device(ids, size, order, "cpu"), count(ids, size, order)
    assert (len(found.orders), found.order) == (len(expected.orders), expected.order)
    for mine, wanted in zip(found.orders, expected.orders, strict=True):
        assert mine.opening == wanted.opening
        for name in ("begins", "words", "raw", "left", "suffix"):
            assert getattr(mine, name).dtype == np.int32
            np.testing.assert_array_equal(getattr(mine, name), getattr(wanted, name), name)


@settings(max_examples=40, deadline=None)
@given(sentences, st.integers(1, 6))
def test_equal_to_counting_in_memory(text: list[list[int]], order: int) -> None:
    compare(np.array([0] + [i for words in text for i in (*words, 0)], np.int32), 5, order)


@pytest.mark.parametrize("size", [2, 3, 128, 129, 40_000])
def test_vocabularies_of_all_sizes(size: int) -> None:
    ids = np.random.default_rng(size).integers(0, size, 5000).astype(np.int32)
    ids[[0, -1]] = 0
    compare(ids, size, 4)


def test_what_cannot_be_is_refused() -> None:
    ids = np.array([0, 1, 0], np.int32)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        count_on_device(ids, 2, 0, "cpu")
    with pytest.raises(UsageError, match="cuba"):
        count_on_device(ids, 2, 2, "cuba")
