"""UTF-8 bytes of text -> the numbers of its words: a hash table in compiled loops.

An open-addressing table (linear probing) over the bytes of the words. A slot holds two uint64: a key, and the word's
number plus one (0: the slot is empty). A word of up to 8 bytes is its own key, so that equal keys are equal words; the
key of a longer one is a hash whose lowest byte is 0, which no word begins with, and the bytes themselves are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled

ENCODING, SURROGATES = "utf-8", "surrogatepass"
"""How words become bytes: different strings give different bytes, whatever a string holds."""
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2 ** 64 over the golden ratio (Knuth 1998, section 6.4)
EIGHT, HALF, NONE = np.uint64(8), np.uint64(32), np.uint64(0)
POSITION, WRITTEN, TYPES, UNSEEN, UNEVEN = range(5)
"""Of ``state``: bytes read and numbers written of this text; types in the table, words that it does not hold, and gaps
between words that are not one space each."""


@compiled
def is_space(byte: int) -> bool:
    """ASCII white space."""
    return byte == 32 or 9 <= byte <= 13


@compiled
def _latin(text: np.ndarray, at: int) -> int:
    """Bytes of the Latin letter or digit at ``at`` (those of ``segmentation.HAN_TOKEN``), 0 for another character."""
    byte = text[at]
    if byte < 128:
        return 1 if 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 else 0
    if 0xC3 <= byte <= 0xC9:  # U+00C0 to U+024F
        return 2 if byte < 0xC9 or text[at + 1] <= 0x8F else 0
    if byte == 0xEF:  # full width: U+FF10 to FF19, FF21 to FF3A, FF41 to FF5A
        second, third = text[at + 1], text[at + 2]
        if second == 0xBC:
            return 3 if 0x90 <= third <= 0x99 or 0xA1 <= third <= 0xBA else 0
        return 3 if second == 0xBD and 0x81 <= third <= 0x9A else 0
    return 0


@compiled
def _han_end(text: np.ndarray, start: int) -> int:
    """Where the token of Chinese text ends that begins at ``start``."""
    end = start
    while _latin(text, end):
        end += _latin(text, end)
    if end > start:
        return end
    byte = text[start]
    return start + (1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)


@compiled
def _word(text: np.ndarray, start: int, last: int, whole: bool) -> tuple[int, np.uint64]:
    """The end and the key of the word at ``start``: up to white space or NUL, or ``whole`` up to ``last``."""
    end, key, shift, folded = start, NONE, NONE, SPREAD
    while end < last and (whole or text[end] > 32 or not (text[end] == 0 or is_space(text[end]))):
        if shift == 64:  # eight bytes are full
            folded, key, shift = (folded ^ key) * SPREAD, NONE, NONE
            folded ^= folded >> HALF
        key |= np.uint64(text[end]) << shift
        shift += EIGHT
        end += 1
    if end - start > 8:
        key = (folded ^ key) * SPREAD
        key = (key ^ (key >> HALF)) << EIGHT
    return end, key


@compiled
def _home(slots: np.ndarray, key: np.uint64) -> np.int64:
    """The slot where a word of this ``key`` is looked for first."""
    return np.int64((((key * SPREAD) >> HALF) * np.uint64(len(slots))) >> HALF)


@compiled
def _slot(
    slots: np.ndarray, letters: np.ndarray, starts: np.ndarray, text: np.ndarray, start: int, end: int, key: np.uint64
) -> np.int64:
    """The slot that holds the word ``text[start:end]`` of this ``key``, or the empty one where it would go."""
    at = _home(slots, key)
    while slots[at, 1] != 0:
        if slots[at, 0] == key:
            if end - start <= 8:
                break
            number = np.int64(slots[at, 1])
            first, i = starts[number - 1], np.int64(0)
            if starts[number] - first == end - start:
                while i < end - start and letters[first + i] == text[start + i]:
                    i += 1
                if i == end - start:
                    break
        at = (at + 1) & (len(slots) - 1)
    return at


@compiled
def _fill(slots: np.ndarray, letters: np.ndarray, starts: np.ndarray, types: int) -> None:
    """Put ``types`` words into empty ``slots``. Of equal words the last counts."""
    for number in range(types - 1, -1, -1):
        end, key = _word(letters, starts[number], starts[number + 1], True)
        at = _slot(slots, letters, starts, letters, starts[number], end, key)
        if slots[at, 1] == 0:
            slots[at, 0], slots[at, 1] = key, np.uint64(number + 1)


@compiled
def _cut(
    text: np.ndarray, at: int, begins: np.ndarray, ends: np.ndarray, keys: np.ndarray, state: np.ndarray, han: bool
) -> int:
    """Cut words from ``at`` on, as many as ``begins`` has room for; NUL is a word that ends where it begins."""
    for i in range(len(begins)):
        start = at
        if not han:
            while is_space(text[start]):
                start += 1
            gap = 1 if text[start] != 0 and at > 0 and text[at - 1] != 0 else 0
            if start - at != gap or (gap == 1 and text[at] != 32):
                state[UNEVEN] += 1
        last = len(text)
        if han and text[start] != 0:
            last = _han_end(text, start)
        begins[i] = start
        ends[i], keys[i] = _word(text, start, last, han and text[start] != 0)
        at = ends[i] + (1 if ends[i] == start else 0)
        if at == len(text):
            return i + 1
    return len(begins)


@compiled
def _read(
    text: np.ndarray,  # uint8 (N,): ends with NUL
    numbers: np.ndarray,  # int32 (N,): room for the answer
    slots: np.ndarray,  # uint64 (power of two, 2)
    letters: np.ndarray,  # uint8: the bytes of all types, one after the other
    starts: np.ndarray,  # int64: where in ``letters`` each type begins, and after the last, ends
    counts: np.ndarray,  # int64: occurrences of each type
    state: np.ndarray,  # int64 (5,)
    han: bool,
    unknown: int,  # the number of a word that the table does not hold; negative: it is added
) -> None:
    """Number the words of ``text`` from ``state[POSITION]`` on, NUL as 0. Stops early where the table is full.

    Words are cut some at a time and then looked up together, so that the processor waits for many slots at once.
    """
    begins, ends, keys = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64, np.uint64)
    at, written = state[POSITION], state[WRITTEN]
    while at < len(text):
        cut = _cut(text, at, begins, ends, keys, state, han)
        for i in range(cut):
            start, end, number = begins[i], ends[i], np.int64(0)
            if end > start:
                slot = _home(slots, keys[i])
                if end - start > 8 or slots[slot, 0] != keys[i]:  # most words are short, and where they begin to look
                    slot = _slot(slots, letters, starts, text, start, end, keys[i])
                number = np.int64(slots[slot, 1]) - 1
                if number < 0 and unknown >= 0:
                    number = np.int64(unknown)
                    state[UNSEEN] += 1
                elif number < 0:
                    number = state[TYPES]
                    last = starts[number] + end - start
                    if number == len(counts) or last > len(letters):
                        state[POSITION], state[WRITTEN] = at, written
                        return
                    for j in range(start, end):
                        letters[starts[number] + j - start] = text[j]
                    starts[number + 1] = last
                    slots[slot, 0], slots[slot, 1] = keys[i], np.uint64(number + 1)
                    state[TYPES] = number + 1
                if unknown < 0:
                    counts[number] += 1
            numbers[written] = number
            written += 1
            at = end if end > start else end + 1
    state[POSITION], state[WRITTEN] = at, written


class WordTable:
    """Words and their numbers. Number 0 is the boundary; others are added as they first occur, or are given.

    ``types``: the words to begin with, the one at 0 being the boundary. ``unknown``: the number of every word that is
    not among them; without it such words are added. ``slots``: places to begin with, a power of two.

    >>> table = WordTable()
    >>> table.read("the cat the dog\\0the\\0", han=False), table.types()
    (array([1, 2, 1, 3, 0, 1, 0], dtype=int32), ['', 'the', 'cat', 'dog'])
    """

    def __init__(self, types: Sequence[str] = ("",), *, unknown: int | None = None, slots: int = 1 << 16) -> None:
        self.unknown = -1 if unknown is None else unknown
        self.state = np.zeros(5, np.int64)
        self.state[TYPES] = len(types)
        words = [word.encode(ENCODING, SURROGATES) for word in types]
        self._letters = np.frombuffer(bytearray(b"".join(words) or bytes(4096)), np.uint8)
        self._starts = np.zeros(len(types) + 1, np.int64)
        np.cumsum([len(word) for word in words], out=self._starts[1:])
        while slots < 4 * len(types):
            slots *= 2
        self._slots = np.zeros((slots, 2), np.uint64)
        self.counts = np.zeros(0, np.int64)
        self._place()

    def _place(self) -> None:
        """Give every type a slot: half of the slots stay empty at least."""
        room, types = len(self._slots) // 2, int(self.state[TYPES])
        starts, counts = np.zeros(room + 1, np.int64), np.zeros(room, np.int64)
        starts[: types + 1], counts[: len(self.counts)] = self._starts[: types + 1], self.counts
        self._starts, self.counts = starts, counts
        _fill(self._slots, self._letters, self._starts, types)

    def _grow(self) -> None:
        types = int(self.state[TYPES])
        if types >= len(self.counts):
            self._slots = np.zeros((4 * len(self._slots), 2), np.uint64)
            self._place()
        else:
            self._letters = np.concatenate((self._letters, np.empty_like(self._letters)))

    def read(self, text: str, *, han: bool) -> np.ndarray:
        """int32 numbers of the words of ``text``, which ends with NUL; each NUL is 0. ``han``: Chinese units.

        Several threads may read one table with ``unknown`` at once, each through its own ``shared``.
        """
        content = np.frombuffer(bytearray(text, ENCODING, SURROGATES), np.uint8)
        numbers = np.empty(len(content), np.int32)
        self.state[POSITION] = self.state[WRITTEN] = 0
        while True:
            _read(
                content, numbers, self._slots, self._letters, self._starts, self.counts, self.state, han, self.unknown
            )
            if self.state[POSITION] == len(content):
                return numbers[: self.state[WRITTEN]].copy()
            self._grow()

    def shared(self) -> WordTable:
        """The same words for another thread: it counts for itself what it has not seen."""
        other = object.__new__(WordTable)
        other.__dict__.update(self.__dict__, state=self.state.copy())
        return other

    @property
    def exact(self) -> bool:
        """Whether the words read so far give their text back: none is unknown, and they stand one space apart.

        No space may stand before the first word of a unit or after its last. In Chinese nothing stands between them.
        """
        return not self.state[UNSEEN] and not self.state[UNEVEN]

    def types(self) -> list[str]:
        """The word of each number."""
        count = int(self.state[TYPES])
        starts, letters = self._starts[: count + 1], self._letters.tobytes()
        return [letters[a:b].decode(ENCODING, SURROGATES) for a, b in pairwise(starts.tolist())]
