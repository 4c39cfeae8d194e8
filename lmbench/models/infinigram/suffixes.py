"""Token ids -> their suffixes in order, and how much neighbours share: a suffix array and its common prefixes.

::

    text  b a n a n a      order  5 3 1 0 4 2        suffixes  a, ana, anana, banana, na, nana
    at    0 1 2 3 4 5      shared 0 1 3 0 0 2        tokens each begins with as the one before it
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled

KEY_BITS = 63
"""Bits of a non-negative int64."""
CHUNK = 1 << 18
"""Suffixes sorted at a time, about, where groups are small: their keys stay in the cache."""


def suffix_array(text: np.ndarray) -> np.ndarray:
    """int32 (n,): where the suffixes of ``text``, int32 (n,), none negative, begin, in ascending order.

    Manber & Myers (1993): the order by the first h tokens gives that by the first 2h, since what follows the first h
    tokens is a suffix too. The first round packs as many tokens as fit an integer; each further round sorts only
    suffixes that still equal another (Larsson & Sadakane 2007), few in natural text.

    >>> suffix_array(np.array([2, 1, 3, 1, 3, 1], np.int32)).tolist()
    [5, 3, 1, 0, 4, 2]
    """
    n = len(text)
    if n == 0:
        return np.empty(0, np.int32)
    keys, sorted_tokens = _first_tokens(text)
    order = np.argsort(keys).astype(np.int32)
    keys = keys.take(order)
    new = np.ones(n + 1, bool)  # where in ``order`` another group of equals begins
    np.not_equal(keys[1:], keys[:-1], out=new[1:-1])
    del keys
    rank = np.empty(n, np.int32)  # of each suffix: where its group begins
    rank[order] = np.maximum.accumulate(np.where(new[:-1], np.arange(n, dtype=np.int32), np.int32(0)))
    places = np.flatnonzero(~(new[:-1] & new[1:])).astype(np.int32)  # of suffixes that equal another
    while len(places):
        begins = np.flatnonzero(new.take(places)).astype(np.int32)
        near = np.searchsorted(begins, np.arange(0, len(places), CHUNK, dtype=np.int32), "right") - 1
        for first, last in pairwise(np.unique(np.append(begins.take(near), len(places))).tolist()):
            _sort_groups(order, rank, new, places[first:last], sorted_tokens)
        places = places[~(new.take(places) & new.take(places + 1))]
        sorted_tokens *= 2
    return order


def _sort_groups(order: np.ndarray, rank: np.ndarray, new: np.ndarray, places: np.ndarray, sorted_tokens: int) -> None:
    """Sort the suffixes at ``places``, whole groups, by what follows their first tokens; split groups, all in place."""
    suffixes = order.take(places)
    after = suffixes.astype(np.int64) + sorted_tokens
    keys = np.where(after < len(order), rank.take(after, mode="clip") + 1, 0).astype(np.int64)
    keys |= rank.take(suffixes).astype(np.int64) << 32
    by_key = np.argsort(keys)
    keys, suffixes = keys.take(by_key), suffixes.take(by_key)
    order[places] = suffixes
    fresh = np.ones(len(places), bool)
    np.not_equal(keys[1:], keys[:-1], out=fresh[1:])
    new[places[fresh]] = True
    rank[suffixes] = np.maximum.accumulate(np.where(fresh, places, np.int32(0)))


def _first_tokens(text: np.ndarray) -> tuple[np.ndarray, int]:
    """int64 (n,): the first tokens of each suffix as one integer, ordered as they are; and how many tokens that is."""
    bits = int(text.max() + 1).bit_length()  # 0 stands for the end
    fit = max(1, KEY_BITS // bits)
    keys = np.zeros(len(text), np.int64)
    shifted = text.astype(np.int64) + 1
    for token in range(min(fit, len(text))):
        keys[: len(text) - token] |= shifted[token:] << bits * (fit - 1 - token)
    return keys, fit


@compiled
def common_prefixes(text: np.ndarray, order: np.ndarray, stop: int) -> np.ndarray:
    """int32 (n,): how many first tokens each suffix shares with the one before it in ``order``; 0 at the first.

    ``text``, ``order``: int32 (n,). A suffix is read up to and with the first token ``stop`` only. Linear (Kasai et al.
    2001): the suffix that begins one token later shares at most one token less with its own neighbour.
    """
    n = len(text)
    before = np.empty(n, np.int32)  # of each suffix, the one before it in order
    before[order[0]] = -1
    for x in range(1, n):
        before[order[x]] = order[x - 1]
    length, end = 0, 0
    for i in range(n):
        while end < n and (end < i or text[end] != stop):
            end += 1
        j = before[i]
        if j < 0:
            length = 0
            before[i] = 0
            continue
        while i + length < n and j + length < n and text[i + length] == text[j + length]:
            length += 1
        before[i] = min(length, end + 1 - i)
        length = max(length - 1, 0)
    shared = np.empty(n, np.int32)
    for x in range(n):
        shared[x] = before[order[x]]
    return shared
