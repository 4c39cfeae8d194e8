"""Suffix arrays and common prefixes, against their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.models.infinigram import suffixes
from lmbench.models.infinigram.suffixes import common_prefixes, suffix_array

TEXTS = st.integers(1, 4).flatmap(
    lambda size: st.builds(
        lambda text, times: text * times, st.lists(st.integers(0, size - 1), min_size=1, max_size=30), st.integers(1, 6)
    )
)


def shared(a: list[int], b: list[int], stop: int) -> int:
    """Tokens that both begin with, up to and with the first ``stop``."""
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
        if a[length - 1] == stop:
            break
    return length


@settings(deadline=None)
@given(TEXTS, st.sampled_from([0, 1, 9]))
def test_suffixes_are_sorted_and_share_what_they_share(text: list[int], stop: int):
    expected = sorted(range(len(text)), key=lambda i: text[i:])
    ids = np.array(text, np.int32)
    order = suffix_array(ids)
    assert order.dtype == np.int32
    assert order.tolist() == expected
    prefixes = [0] + [shared(text[a:], text[b:], stop) for a, b in pairwise(expected)]
    assert common_prefixes(ids, order, stop).tolist() == prefixes


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_the_parts_in_which_groups_are_sorted_do_not_matter(monkeypatch: pytest.MonkeyPatch, chunk: int):
    half = np.random.default_rng(2).integers(0, 2, 800, np.int32)
    text = np.concatenate([half, half[100:400], half])
    whole = suffix_array(text)
    monkeypatch.setattr(suffixes, "CHUNK", chunk)
    np.testing.assert_array_equal(suffix_array(text), whole)
    assert whole.tolist() == sorted(range(len(text)), key=lambda i: text[i:].tolist())


def test_one_symbol_only():
    order = suffix_array(np.full(5000, 7, np.int32))
    np.testing.assert_array_equal(order, np.arange(4999, -1, -1))  # the shorter of two is the smaller


def test_a_long_text_twice():
    half = np.random.default_rng(1).integers(0, 50, 3000, np.int32)
    text = np.concatenate([half, half])
    order = suffix_array(text)
    prefixes = common_prefixes(text, order, -1)
    assert prefixes.max() == 3000
    for x in range(1, len(text)):
        a, b, length = order[x - 1], order[x], prefixes[x]
        np.testing.assert_array_equal(text[a : a + length], text[b : b + length])
        following = [int(text[i + length]) if i + length < len(text) else -1 for i in (a, b)]
        assert following[0] < following[1]


@pytest.mark.parametrize("largest", [0, 1, 254, 255, 256, 1 << 20, (1 << 31) - 2])
def test_any_size_of_token(largest: int):
    text = np.array([largest, 0, largest, largest, 0], np.int32)
    expected = sorted(range(5), key=lambda i: text[i:].tolist())
    assert suffix_array(text).tolist() == expected


def test_nothing():
    assert suffix_array(np.empty(0, np.int32)).tolist() == []
