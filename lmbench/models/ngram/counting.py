"""Token ids -> ``Counts``: every n-gram of every order, numbered, with the counts that smoothing needs.

One pass serves all orders. The k-grams are numbered in the order of their words, first word first, so the children of a
context, the k-grams that continue one (k-1)-gram, stand side by side, sorted by their last word::

    order 1     </s>   <unk>   the    cat   sat         number of a 1-gram: the word's id
                  |              |      |
    order 2      the            cat    sat   </s>       begins[c] .. begins[c + 1]: the children of context c
                  |              |                      words[n]: last word of n-gram n
    order 3      cat            sat                     suffix[n]: the n-gram without its first word

Write ``g_k[i]`` for the number of the k-gram that ends at position i of the text. Its context is ``g_{k-1}[i-1]``, its
suffix ``g_{k-1}[i]``. Positions are kept in the order of the (k-1)-grams that end there, so for the next order only the
words within each context need sorting, and all but two arrays are read from front to back.

The boundary plays two parts: as first word of an n-gram it is the history ``<s>``, as last word the event
``</s>``. An n-gram with a boundary inside does not exist. Its id is 0, so the n-grams that begin with it come first.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.errors import UsageError

SMALL = 40
"""Words of a context up to which they are sorted by insertion."""
DIGIT = 11
"""Bits that a pass of the radix sort looks at, at most."""


@dataclass(frozen=True)
class GramCounts:
    """The G distinct n-grams of one order, numbered 0 .. G-1 by (context, last word).

    ``begins``: int32 (C + 1,), where the children of each of the C contexts begin; for order 1 the one empty
    context. ``words``: int32 (G,), last word; for order 1 the V types, seen or not. ``raw``: int32 (G,), occurrences
    as an event. ``left``: int32 (G,), distinct words seen before the n-gram, 0 at the highest order, where nobody
    asks. ``suffix``: int32 (G,), number of the n-gram without its first word, one order below; 0 for order 1.
    ``opening``: the n-grams 0 .. opening - 1 begin with the boundary as history, so that no word can stand before them.
    """

    begins: np.ndarray
    words: np.ndarray
    raw: np.ndarray
    left: np.ndarray
    suffix: np.ndarray
    opening: int

    def __len__(self) -> int:
        return len(self.words)

    @property
    def context(self) -> np.ndarray:
        """int32 (G,): number of the n-gram without its last word, one order below."""
        return np.repeat(np.arange(len(self.begins) - 1, dtype=np.int32), np.diff(self.begins))

    @property
    def adjusted(self) -> np.ndarray:
        """int32 (G,): Kneser-Ney's count below the highest order: ``left``, but ``raw`` where no word can precede."""
        return np.concatenate((self.raw[: self.opening], self.left[self.opening :]))


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

    def up_to(self, order: int) -> Counts:
        """What counting to a lower ``order`` would have given."""
        return Counts(self.orders[:order], order, self.vocabulary_size)


def count(ids: np.ndarray, vocabulary_size: int, order: int) -> Counts:
    """Count all n-grams up to ``order``.

    ``ids``: int32 (N,), ``</s> w w </s> w </s>``, each below ``vocabulary_size``; a piece of a text will do. The
    first is history only. Raises UsageError where the order is below 1.

    >>> counts = count(np.array([0, 2, 3, 0, 2, 1, 0], np.int32), 4, 2)  # </s> a b </s> a <unk> </s>
    >>> pairs = counts.orders[1]
    >>> np.stack([pairs.context, pairs.words, pairs.raw], axis=1).tolist()
    [[0, 2, 2], [1, 0, 1], [2, 1, 1], [2, 3, 1], [3, 0, 1]]
    """
    if order < 1:
        raise UsageError(f"The order of an n-gram model must be at least 1, not {order}.")
    ids = np.ascontiguousarray(ids, np.int32)
    types = np.arange(vocabulary_size, dtype=np.int32)
    raw = np.bincount(ids[1:], minlength=vocabulary_size).astype(np.int32)
    nothing = np.zeros(vocabulary_size, np.int32)
    orders = [GramCounts(np.array([0, vocabulary_size], np.int32), types, raw, nothing, nothing, 0)]
    opening = 1  # 1-grams that are the boundary; as an event it has words before it, so order 1 itself says 0
    if order > 1:
        grams = ids.copy()  # g_{k-1}; only read where a (k-1)-gram ends
        places = np.empty(len(ids) - 1, np.int32)  # where (k-1)-grams end that words follow, in order of their numbers
        _by_word(ids, vocabulary_size, places)
        contexts = ids.take(places)  # those numbers
    while len(orders) < order and len(places):
        shorter = orders[-1]
        begins, words, raw, suffix, places, contexts = _continue(ids, grams, places, contexts, len(shorter))
        left = np.bincount(suffix, minlength=len(shorter)).astype(np.int32)
        orders[-1] = GramCounts(shorter.begins, shorter.words, shorter.raw, left, shorter.suffix, shorter.opening)
        opening = int(begins[opening])
        orders.append(GramCounts(begins, words, raw, np.zeros(len(words), np.int32), suffix, opening))
    return Counts(tuple(orders), order, vocabulary_size)


def _continue(
    ids: np.ndarray, grams: np.ndarray, places: np.ndarray, contexts: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The k-grams that continue the (k-1)-grams, of which there are ``size``.

    ``grams``: int32 (N,), g_{k-1}, becomes g_k. ``places``, ``contexts``: int32 (n,), positions at which a (k-1)-gram
    ends, and its number, ascending; both are overwritten. Gives begins, words, raw, suffix of the k-grams, and
    ``places`` and ``contexts`` of the next order. Every thread has contexts, and with them positions, of its own.
    """
    bits = max(1, (int(ids.max())).bit_length())
    words = np.empty(len(places), np.int32)
    cuts = np.unique(contexts[np.linspace(0, len(contexts) - 1, 4 * threads() + 1).astype(np.int64)[1:-1]])
    bounds = [0, *np.searchsorted(contexts, cuts).tolist(), len(contexts)]
    firsts = [0, *cuts.tolist(), size]  # the first context of each part
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    counted = in_threads(lambda part: _sort_children(ids, contexts[part], places[part], words[part], bits), parts)
    numbers = np.concatenate(([0], np.cumsum(counted))).tolist()
    begins = np.empty(size + 1, np.int32)
    begins[0] = 0
    last, raw, suffix = (np.empty(numbers[-1], np.int32) for _ in range(3))

    def number(i: int) -> int:
        part, mine = parts[i], slice(numbers[i], numbers[i + 1])
        outputs = (begins[firsts[i] : firsts[i + 1] + 1], last[mine], raw[mine], suffix[mine])
        return _number(contexts[part], places[part], words[part], grams, firsts[i], numbers[i], *outputs)

    kept = in_threads(number, range(len(parts)))
    goes_on = [slice(part.start, part.start + n) for part, n in zip(parts, kept, strict=True)]
    places, contexts = (np.concatenate([array[part] for part in goes_on]) for array in (places, contexts))
    return begins, last, raw, suffix, places, contexts


@compiled
def _by_word(ids, vocabulary_size, places):
    """The positions of ``ids`` but the last, in ascending order of the word there."""
    starts = np.zeros(vocabulary_size + 1, np.int32)
    for i in range(len(ids) - 1):
        starts[ids[i] + 1] += 1
    for w in range(vocabulary_size):
        starts[w + 1] += starts[w]
    for i in range(len(ids) - 1):
        places[starts[ids[i]]] = i
        starts[ids[i]] += 1


@compiled
def _sort_children(ids, contexts, places, words, bits):
    """Move places one on, fetch the words there, sort both by word in each context; the number of distinct n-grams."""
    for i in range(len(places)):
        places[i] += 1
        words[i] = ids[places[i]]
    distinct = 0
    begin = 0
    while begin < len(places):
        end = begin + 1
        while end < len(places) and contexts[end] == contexts[begin]:
            end += 1
        if end - begin > 1:
            if end - begin <= SMALL:
                for i in range(begin + 1, end):
                    word, place = words[i], places[i]
                    j = i
                    while j > begin and words[j - 1] > word:
                        words[j], places[j] = words[j - 1], places[j - 1]
                        j -= 1
                    words[j], places[j] = word, place
            else:
                _radix_sort(words[begin:end], places[begin:end], bits)
        distinct += 1
        for i in range(begin + 1, end):
            if words[i] != words[i - 1]:
                distinct += 1
        begin = end
    return distinct


@compiled
def _radix_sort(words, places, bits):
    """Sort words, below 2 ** bits, and places with them, by word."""
    limit = DIGIT if len(words) > 1000 else 6
    passes = (bits + limit - 1) // limit
    digit = (bits + passes - 1) // passes
    mask = (1 << digit) - 1
    starts = np.empty(mask + 2, np.int64)
    source, source_places = words, places
    target, target_places = np.empty_like(words), np.empty_like(places)
    for number in range(passes):
        shift = number * digit
        starts[:] = 0
        for i in range(len(source)):
            starts[((source[i] >> shift) & mask) + 1] += 1
        for d in range(mask + 1):
            starts[d + 1] += starts[d]
        for i in range(len(source)):
            d = (source[i] >> shift) & mask
            target[starts[d]] = source[i]
            target_places[starts[d]] = source_places[i]
            starts[d] += 1
        source, target = target, source
        source_places, target_places = target_places, source_places
    if passes % 2:
        for i in range(len(words)):
            words[i] = source[i]
            places[i] = source_places[i]


@compiled
def _number(contexts, ends, words, grams, context, number, begins, last, raw, suffix):
    """Number the sorted k-grams of contexts ``context``, ``context + 1`` ... upwards from ``number``.

    Fills begins, last, raw and suffix, renews ``grams`` at ``ends``, and moves what goes on, numbers and ends of
    k-grams that a word follows, to the front of ``contexts`` and ``ends``; returns how many those are.
    """
    kept = 0
    n = -1
    previous = context - 1
    for i in range(len(ends)):
        here = contexts[i]
        if i == 0 or here != previous or words[i] != words[i - 1]:
            n += 1
            last[n] = words[i]
            raw[n] = 0
            suffix[n] = grams[ends[i]]
            while previous < here:
                previous += 1
                begins[previous - context] = number + n
        raw[n] += 1
        grams[ends[i]] = number + n
        # A boundary at the end cannot be followed by more of the same n-gram, nor can the end of a piece of a text.
        if words[i] != 0 and ends[i] < len(grams) - 1:
            contexts[kept] = number + n
            ends[kept] = ends[i]
            kept += 1
    for c in range(previous - context + 1, len(begins)):
        begins[c] = number + n + 1
    return kept
