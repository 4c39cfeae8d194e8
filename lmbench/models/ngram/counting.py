"""Token ids -> ``Counts``: every n-gram of every order, numbered, with the counts that smoothing needs.

One pass serves all orders. Write ``g_k[i]`` for the number of the k-gram that ends at position i. A k-gram
is its context, the (k-1)-gram that ends one position earlier, and its last word, so it is one integer::

    position    0     1    2    3     4                key_k[i] = g_{k-1}[i-1] << bits | word[i]
    word      </s>   the  cat  sat  </s>
    g_1         0     5    7    9     0                sorting the keys numbers the k-grams in such an order that
    g_2         -     a    b    c     d                the children of a context stand side by side; the suffix of
    g_3         -     -    e    f     g                the k-gram that ends at i is simply g_{k-1}[i]

The boundary plays two parts: as first word of an n-gram it is the history ``<s>``, as last word the event
``</s>``. An n-gram with a boundary inside does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmbench.errors import UsageError

PACKED_BITS = 63
"""Bits of a non-negative int64."""


@dataclass(frozen=True)
class GramCounts:
    """The G distinct n-grams of one order, numbered 0 .. G-1 by (context, last word).

    ``keys``: int64 (G,), ascending, ``context << bits | word``; for order 1 the V types themselves, seen or not.
    ``raw``: int32 (G,), occurrences as an event. ``left``: int32 (G,), distinct words seen before the n-gram, 0 at
    the highest order, where nobody asks. ``opens``: bool (G,), begins with the boundary as history (no word
    can stand before it). ``suffix``: int32 (G,), number of the n-gram without its first word, one order below.
    ``bits``: width of a word in a key.
    """

    keys: np.ndarray
    raw: np.ndarray
    left: np.ndarray
    opens: np.ndarray
    suffix: np.ndarray
    bits: int

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def context(self) -> np.ndarray:
        """int32 (G,): number of the n-gram without its last word, one order below."""
        return (self.keys >> self.bits).astype(np.int32)

    @property
    def words(self) -> np.ndarray:
        """int32 (G,): last word."""
        return (self.keys & ((1 << self.bits) - 1)).astype(np.int32)

    @property
    def adjusted(self) -> np.ndarray:
        """int32 (G,): Kneser-Ney's count below the highest order: ``left``, but ``raw`` where no word can precede."""
        return np.where(self.opens, self.raw, self.left)


@dataclass(frozen=True)
class Counts:
    """Counts of one text. ``orders[k - 1]`` holds the k-grams.

    Orders for which the text is too short are missing, so there may be fewer than the ``order`` that was asked for.
    ``vocabulary_size``: V, the boundary included.
    """

    orders: tuple[GramCounts, ...]
    order: int
    vocabulary_size: int

    def of(self, order: int) -> np.ndarray:
        """int32 (G,): the counts Kneser-Ney smoothing uses at ``order``: raw at the highest, else adjusted."""
        grams = self.orders[order - 1]
        return grams.raw if order == self.order else grams.adjusted


def word_bits(vocabulary_size: int) -> int:
    """Bits that hold any word id."""
    return max(1, (vocabulary_size - 1).bit_length())


def history_lengths(ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """int32 (N,): how many tokens position i may look back on: those since the last start before it, that one included.

    ``ids``: int (N,). ``starts``: bool (N,), where history begins anew: boundaries and beginnings of rows.
    """
    positions = np.arange(len(ids), dtype=np.int32)
    begins = np.maximum.accumulate(np.where(starts, positions, np.int32(0)))
    lengths = np.zeros(len(ids), np.int32)
    lengths[1:] = positions[1:] - begins[:-1]
    return lengths


def count(ids: np.ndarray, vocabulary_size: int, order: int) -> Counts:
    """Count all n-grams up to ``order``.

    ``ids``: int32 (N,), ``</s> w w </s> w </s>``, each below ``vocabulary_size``. Raises UsageError where the
    order is below 1.
    """
    if order < 1:
        raise UsageError(f"The order of an n-gram model must be at least 1, not {order}.")
    bits = word_bits(vocabulary_size)
    types = np.arange(vocabulary_size, dtype=np.int64)
    raw = np.bincount(ids[1:], minlength=vocabulary_size).astype(np.int32)
    orders = [(types, raw, np.zeros(vocabulary_size, bool), np.zeros(vocabulary_size, np.int32))]
    lefts: list[np.ndarray] = []
    lengths = history_lengths(ids, ids == 0)
    grams = ids  # g_{k-1}, int32 (N,); -1 where no (k-1)-gram ends
    ends = np.arange(1, len(ids), dtype=np.int32)  # where a k-gram ends
    for k in range(2, order + 1):
        ends = np.compress(lengths.take(ends) >= k - 1, ends)
        if not len(ends):
            break
        contexts, words = grams.take(ends - 1), ids.take(ends)
        numbers, size = _number(contexts, words, len(orders[-1][0]), bits)
        raw = np.bincount(numbers, minlength=size).astype(np.int32)
        example = np.empty(size, np.int32)  # one of the places where each k-gram stands
        example[numbers] = np.arange(len(ends), dtype=np.int32)
        keys = contexts.take(example).astype(np.int64)
        keys <<= bits
        keys |= words.take(example)
        at = ends.take(example)
        suffix = grams.take(at)
        lefts.append(np.bincount(suffix, minlength=len(orders[-1][0])).astype(np.int32))
        orders.append((keys, raw, lengths.take(at) == k - 1, suffix))
        grams = np.full(len(ids), -1, np.int32)
        grams[ends] = numbers
    lefts.append(np.zeros(len(orders[-1][0]), np.int32))
    counted = (
        GramCounts(keys, raw, left, opens, suffix, bits)
        for (keys, raw, opens, suffix), left in zip(orders, lefts, strict=True)
    )
    return Counts(tuple(counted), order, vocabulary_size)


def _number(contexts: np.ndarray, words: np.ndarray, size: int, bits: int) -> tuple[np.ndarray, int]:
    """Number the distinct pairs (context, word) in ascending order: int32 (n,) and how many there are.

    ``contexts``: int32 (n,), below ``size``. ``words``: int32 (n,), below ``1 << bits``. A context that occurs once
    has one child and needs no sorting; in long n-grams those are the most. The rest is sorted.
    """
    occurrences = np.bincount(contexts, minlength=size)
    shared = occurrences > 1
    dense = np.cumsum(shared, dtype=np.int32)  # 1 + number among the shared contexts
    dense -= 1
    among = np.flatnonzero(shared.take(contexts))
    keys = dense.take(contexts.take(among)).astype(np.int64)
    keys <<= bits
    keys |= words.take(among)
    order, keys = sort(keys)
    new = np.empty(len(keys), bool)
    new[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=new[1:])
    children = (occurrences == 1).astype(np.int32)
    children[shared] = np.bincount(np.compress(new, keys) >> bits, minlength=int(shared.sum()))
    before = np.cumsum(children, dtype=np.int32)  # children of the contexts up to and with each
    before -= children
    numbers = before.take(contexts)  # right where there is one child
    lone = np.cumsum(occurrences == 1, dtype=np.int32)  # children that were not sorted
    places = among.take(order)
    ranks = np.cumsum(new, dtype=np.int32)
    ranks -= 1
    ranks += lone.take(contexts.take(places))
    numbers[places] = ranks
    return numbers, int(children.sum())


def sort(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts ``keys``, int64 (n,), none negative, and the sorted keys.

    Sorting values is faster than sorting indices, so where key and index fit one integer they are sorted as such.
    """
    index_bits = len(keys).bit_length()
    if not len(keys) or int(keys.max()).bit_length() + index_bits > PACKED_BITS:
        order = np.argsort(keys, kind="stable")
        return order, keys.take(order)
    packed = keys << index_bits
    packed |= np.arange(len(keys))
    packed.sort()
    return packed & ((1 << index_bits) - 1), packed >> index_bits
