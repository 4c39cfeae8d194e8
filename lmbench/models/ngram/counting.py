"""Token ids -> ``Counts``: every n-gram of every order, numbered, with the counts that smoothing needs.

One pass serves all orders. Write ``g_k[i]`` for the number of the k-gram that ends at position i. A k-gram
is its context, the (k-1)-gram that ends one position earlier, and its last word, so it is one integer::

    position    0     1    2    3     4                key_k[i] = g_{k-1}[i-1] << bits | word[i]
    word      </s>   the  cat  sat  </s>
    g_1         0     5    7    9     0                sorting the keys numbers the k-grams in such an order that
    g_2         -     a    b    c     d                the children of a context stand side by side; the suffix of
    g_3         -     -    e    f     g                the k-gram that ends at i is simply g_{k-1}[i]

Positions are kept in the order of the (k-1)-grams that end there, so that for the next order only the words within
each context need sorting, and arrays by context are read from front to back.

The boundary plays two parts: as first word of an n-gram it is the history ``<s>``, as last word the event
``</s>``. An n-gram with a boundary inside does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmbench.errors import UsageError

PACKED_BITS = 63
"""Bits of a non-negative int64."""
CHUNK = 1 << 18
"""N-grams sorted at a time, about: small enough that a key and its index fit one integer, and all fit the cache."""


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

    @property
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


def count(ids: np.ndarray, vocabulary_size: int, order: int) -> Counts:
    """Count all n-grams up to ``order``.

    ``ids``: int32 (N,), ``</s> w w </s> w </s>``, each below ``vocabulary_size``. Raises UsageError where the
    order is below 1.

    >>> counts = count(np.array([0, 2, 3, 0, 2, 1, 0], np.int32), 4, 2)  # </s> a b </s> a <unk> </s>
    >>> pairs = counts.orders[1]
    >>> np.stack([pairs.context, pairs.words, pairs.raw], axis=1).tolist()
    [[0, 2, 2], [1, 0, 1], [2, 1, 1], [2, 3, 1], [3, 0, 1]]
    """
    if order < 1:
        raise UsageError(f"The order of an n-gram model must be at least 1, not {order}.")
    bits = word_bits(vocabulary_size)
    raw = np.bincount(ids[1:], minlength=vocabulary_size).astype(np.int32)
    types = np.arange(vocabulary_size, dtype=np.int64)
    orders = [(types, raw, types == 0, np.zeros(vocabulary_size, np.int32))]
    lefts: list[np.ndarray] = []
    grams = ids  # g_{k-1}, int32 (N,); only read where a (k-1)-gram ends
    places = _by_word(ids[:-1], vocabulary_size)  # where (k-1)-grams end that words follow, in order of their numbers
    contexts = ids.take(places)  # those numbers
    while len(orders) < order and len(places):
        ends = places + np.int32(1)
        words = ids.take(ends)
        new = _sort_children(contexts, words, ends)
        firsts = np.flatnonzero(new)
        parents, last = contexts.take(firsts), words.take(firsts)
        keys = parents.astype(np.int64)
        keys <<= bits
        keys |= last
        suffix = grams.take(ends.take(firsts))
        lefts.append(np.bincount(suffix, minlength=len(orders[-1][0])).astype(np.int32))
        opens = orders[-1][2].take(parents)
        orders.append((keys, np.diff(firsts, append=len(ends)).astype(np.int32), opens, suffix))
        numbers = np.cumsum(new, dtype=np.int32)
        numbers -= 1
        grams = np.empty_like(ids) if grams is ids else grams
        grams[ends] = numbers
        goes_on = words != 0  # a boundary at the end cannot be followed by more of the same n-gram
        places, contexts = np.compress(goes_on, ends), np.compress(goes_on, numbers)
    lefts.append(np.zeros(len(orders[-1][0]), np.int32))
    orders[0] = (*orders[0][:2], np.zeros(vocabulary_size, bool), orders[0][3])  # as an event, </s> has words before it
    counted = (
        GramCounts(keys, raw, left, opens, suffix, bits)
        for (keys, raw, opens, suffix), left in zip(orders, lefts, strict=True)
    )
    return Counts(tuple(counted), order, vocabulary_size)


def _by_word(ids: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """int32 (n,): the positions of ``ids`` in ascending order of the word there, by radix sort."""
    places = np.argsort(ids.astype(np.uint16), kind="stable").astype(np.int32)
    if vocabulary_size > 1 << 16:
        places = places.take(np.argsort((ids >> 16).astype(np.uint16).take(places), kind="stable"))
    return places


def _sort_children(contexts: np.ndarray, words: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sort the words, and their positions with them, within each context: bool (n,), where a new n-gram begins.

    ``contexts``: int32 (n,), ascending. ``words``, ``ends``: int32 (n,), sorted in place, in chunks of whole contexts.
    """
    new = np.ones(len(contexts), bool)
    cuts = np.unique(np.append(np.searchsorted(contexts, contexts[::CHUNK]), len(contexts)))
    for first, last in pairwise(cuts.tolist()):
        part = slice(first, last)
        _sort_chunk(contexts[part], words[part], ends[part], new[part])
    return new


def _sort_chunk(contexts: np.ndarray, words: np.ndarray, ends: np.ndarray, new: np.ndarray) -> None:
    """Sort one chunk in place. A context that occurs once has one child and stays; in long n-grams most do."""
    same = contexts[1:] == contexts[:-1]
    shared = np.zeros(len(contexts), bool)
    shared[1:] = same
    shared[:-1] |= same
    among = np.flatnonzero(shared)
    if not len(among):
        return
    unsorted = words.take(among)
    keys = contexts.take(among).astype(np.int64)
    keys -= keys[0]
    keys <<= word_bits(int(unsorted.max()) + 1)
    keys |= unsorted
    order, keys = sort(keys)
    new[among[1:]] = keys[1:] != keys[:-1]
    words[among] = unsorted.take(order)
    ends[among] = ends.take(among.take(order))


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
