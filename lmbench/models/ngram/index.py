"""Contexts and words -> numbers of n-grams, by one look into memory each: the hash table behind long texts.

Binary search among the children of a frequent word reads memory a dozen times, each time where the time before told
it to. A hash table reads once, and the reads of many words overlap. It is made when so many words are asked for that
making it pays, and is never kept on disk.

A slot is one int64: the n-gram's number above 32 bits of proof. The hash is a bijection of the key ``context << bits |
word``; its upper bits choose the slot, its lower ones stand in the proof, beside the distance from the chosen slot to
the one that was free (Cleary 1984). The three give the key back: an n-gram is found by equality, never by likelihood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmbench.compiled import compiled

ROOM = 1.4
"""Slots for each n-gram, at least; the next power of two is taken."""
REMAINDER_BITS = 24
FARTHEST = 255
"""Distances from the chosen slot that fit the proof."""
ODD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Index:
    """Where the n-grams of one order are. ``slots``: int64 (S,), S a power of two, -1 where free.

    ``bits``: of a word; ``width``: of a key; ``low``: of the hash that do not choose the slot.
    """

    slots: np.ndarray
    bits: int
    width: int
    low: int

    def find(self, contexts: np.ndarray, words: np.ndarray, found: np.ndarray, scratch: np.ndarray) -> None:
        """Fill ``found``, int32 (n,), with the n-gram of each context and word, -1 where it is not stored.

        ``contexts``, ``words``: int32 (n,); a context of -1 has no n-grams. ``scratch``: int64 (2, n).
        """
        _find(contexts, words, self.slots, self.bits, np.uint64(self.width), np.uint64(self.low), scratch, found)


def make_index(begins: np.ndarray, words: np.ndarray, vocabulary_size: int) -> Index | None:
    """The index of one order, from ``Grams.begins`` and ``Grams.words``; None where a key does not fit.

    >>> index = make_index(np.array([0, 2, 3], np.int32), np.array([0, 4, 1], np.int32), 5)
    >>> found = np.empty(3, np.int32)
    >>> index.find(np.array([0, 1, 1], np.int32), np.array([4, 1, 4], np.int32), found, np.empty((2, 3), np.int64))
    >>> found
    array([ 1,  2, -1], dtype=int32)
    """
    bits = max(1, (vocabulary_size - 1).bit_length())
    width = bits + max(1, (len(begins) - 2).bit_length())
    most = max(1, len(words) * 8).bit_length()
    for slot_bits in range(max(1, int(ROOM * len(words)).bit_length(), width - REMAINDER_BITS), most + 1):
        slots = np.full(1 << slot_bits, -1, np.int64)
        index = Index(slots, bits, width, max(0, width - slot_bits))
        if _fill(begins, words, bits, np.uint64(width), np.uint64(index.low), slots):
            return index
    return None


@compiled
def _hash(key, width):
    """A bijection of the integers of ``width`` bits that mixes all of them."""
    one = np.uint64(1)
    mask = (one << width) - one
    half = (width + one) >> one
    mixed = np.uint64(key)
    mixed ^= mixed >> half
    mixed = (mixed * ODD) & mask
    mixed ^= mixed >> half
    mixed = (mixed * ODD) & mask
    return mixed ^ (mixed >> half)


@compiled
def _fill(begins, words, bits, width, low, slots):
    """Put every n-gram into a free slot; whether all distances fit, as they do unless the arrays are damaged."""
    last = len(slots) - 1
    remainder = (np.uint64(1) << low) - np.uint64(1)
    end = 0
    for context in range(len(begins) - 1):
        begin = max(begins[context], end)
        end = min(max(begins[context + 1], begin), len(words))
        for n in range(begin, end):
            mixed = _hash((np.int64(context) << bits) | words[n], width)
            at = np.int64(mixed >> low) & last
            distance = 0
            while slots[at] >= 0:
                at = (at + 1) & last
                distance += 1
                if distance > FARTHEST:
                    return False
            slots[at] = (n << 32) | (np.int64(mixed & remainder) << 8) | distance
    return True


@compiled
def _find(contexts, words, slots, bits, width, low, scratch, found):
    last = len(slots) - 1
    remainder = (np.uint64(1) << low) - np.uint64(1)
    for i in range(len(contexts)):  # arithmetic alone, so that the reads of the next loop follow each other closely
        mixed = _hash((np.int64(max(contexts[i], 0)) << bits) | words[i], width)
        scratch[0, i] = np.int64(mixed >> low) & last
        scratch[1, i] = np.int64(mixed & remainder) << 8
    for i in range(len(contexts)):
        found[i] = -1
        if contexts[i] >= 0:
            at, proof = scratch[0, i], scratch[1, i]
            slot = slots[at]
            while slot >= 0 and slot & 0xFFFFFFFF != proof:
                if proof & 0xFF == FARTHEST:
                    slot = np.int64(-1)
                    break
                at = (at + 1) & last
                proof += 1
                slot = slots[at]
            if slot >= 0:
                found[i] = slot >> 32
