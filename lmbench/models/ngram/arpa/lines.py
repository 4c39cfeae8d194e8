"""Lines of an ARPA file <-> arrays of words and base-ten logarithms: what reading and writing share, compiled.

A line is ``log10 p``, the words, and, below the highest order, the log10 backoff weight, with tabs or spaces between
them. Words are numbered as the unigrams list them; a hash table (open addressing) over their bytes in the file itself
finds the number again.
"""

from __future__ import annotations

import numpy as np

from lmbench.compiled import compiled

AT, ENTRIES, FAULT, WHERE = range(4)
"""Of ``state``: byte to go on from, n-grams read, what is wrong, and the byte at which that was seen."""
SOUND, SURPLUS, WORDS, NUMBER, POSITIVE, BACKOFF, UNKNOWN_WORD, TWICE = range(8)
"""What can be wrong with a line; ``SURPLUS``: there are more n-grams than there is room for."""
ZERO = -99.0
"""log10 that stands for a probability, or weight, of zero."""
LARGEST = 1e30
"""No logarithm is larger than this; one below its negative counts as minus infinity."""
DIGITS = 1e8
"""Numbers are written with 9 significant digits, which give the float32 back that they came from."""
TENS = 10.0 ** np.arange(23)
"""The powers of ten that float64 holds exactly."""
OFFSET, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)  # of the hash FNV-1a, 64 bits
HALF = np.uint64(32)


@compiled
def _gap_end(text: np.ndarray, at: int) -> int:
    """The first byte from ``at`` on that is neither space, tab nor carriage return."""
    while text[at] == 32 or text[at] == 9 or text[at] == 13:
        at += 1
    return at


@compiled
def _field_end(text: np.ndarray, at: int) -> int:
    """Where the field ends that begins at ``at``."""
    while text[at] != 32 and text[at] != 9 and text[at] != 13 and text[at] != 10:
        at += 1
    return at


@compiled
def _decimal(text: np.ndarray, at: int, end: int) -> float:
    """The number written in ``text[at:end]``, right to 15 digits; NaN where it is none, and for infinity itself."""
    sign = 1.0
    if text[at] == 45 or text[at] == 43:  # - or +
        sign = -1.0 if text[at] == 45 else 1.0
        at += 1
    if end - at == 3 and sign < 0 and (text[at] | 32) == 105 and (text[at + 1] | 32) == 110:
        return -np.inf if (text[at + 2] | 32) == 102 else np.nan  # -inf
    mantissa, scale, digits, point = 0, 0, 0, False
    while at < end:
        byte = text[at]
        if 48 <= byte <= 57:
            if mantissa < 10**17:
                mantissa = 10 * mantissa + (byte - 48)
                scale -= 1 if point else 0
            else:
                scale += 0 if point else 1
            digits += 1
        elif byte == 46 and not point:
            point = True
        else:
            break
        at += 1
    if at < end and digits and (text[at] | 32) == 101:  # e or E
        at += 1
        rising = True
        if at < end and (text[at] == 45 or text[at] == 43):
            rising = text[at] == 43
            at += 1
        exponent, written = 0, at
        while at < end and 48 <= text[at] <= 57:
            exponent = min(10 * exponent + (text[at] - 48), 10_000)
            at += 1
        if at == written:
            return np.nan
        scale += exponent if rising else -exponent
    if at < end or digits == 0:
        return np.nan
    if scale < -300:  # ten to this power alone would be lost
        return sign * (mantissa * 1e-300) * 10.0 ** (scale + 300)
    if -len(TENS) < scale <= 0:
        return sign * (mantissa / TENS[-scale])
    return sign * (mantissa * 10.0**scale) if mantissa else 0.0


@compiled
def _slot(text: np.ndarray, start: int, end: int, slots: np.ndarray, spans: np.ndarray) -> np.int64:
    """The slot that holds the word ``text[start:end]``, or the empty one where it would go."""
    key = OFFSET
    for i in range(start, end):
        key = (key ^ np.uint64(text[i])) * PRIME
    at = np.int64((key ^ (key >> HALF)) & np.uint64(len(slots) - 1))
    while slots[at] != 0:
        first = spans[slots[at] - 1, 0]
        if spans[slots[at] - 1, 1] - first == end - start:
            i = 0
            while i < end - start and text[first + i] == text[start + i]:
                i += 1
            if i == end - start:
                break
        at = (at + 1) & (len(slots) - 1)
    return at


@compiled
def parse_lines(
    text: np.ndarray,  # uint8 (N,): ends with a newline
    state: np.ndarray,  # int64 (4,)
    words: np.ndarray,  # int32 (order, G): room for the numbers of the words
    log10_probs: np.ndarray,  # float64 (G,)
    log10_backoffs: np.ndarray,  # float64 (G,)
    slots: np.ndarray,  # int32 (power of two,): number of a word plus one, 0 where there is none
    spans: np.ndarray,  # int64 (V, 2): where in ``text`` each word begins and ends
) -> None:
    """Read n-grams from ``state[AT]`` up to a line that begins with a backslash, or to the first that is wrong.

    Unigrams are added to the table of words; the words of longer n-grams must be in it.
    """
    order, at, n = len(words), state[AT], 0
    state[FAULT] = SOUND
    while True:
        at = _gap_end(text, at)
        while at + 1 < len(text) and text[at] == 10:
            at = _gap_end(text, at + 1)
        if text[at] == 92 or text[at] == 10:
            break
        state[WHERE] = at
        if n == len(log10_probs):
            state[FAULT] = SURPLUS
            break
        end = _field_end(text, at)
        value = _decimal(text, at, end)
        if not value <= LARGEST:
            state[FAULT] = NUMBER
            break
        if value > 0:
            state[FAULT] = POSITIVE
            break
        log10_probs[n] = value if value > -LARGEST else ZERO
        for j in range(order):
            at = _gap_end(text, end)
            if text[at] == 10:
                state[FAULT] = WORDS
                break
            end = _field_end(text, at)
            slot = _slot(text, at, end, slots, spans)
            if order == 1 and slots[slot] == 0:
                slots[slot] = n + 1
                spans[n, 0], spans[n, 1] = at, end
            elif order == 1 or slots[slot] == 0:
                state[FAULT], state[WHERE] = TWICE if order == 1 else UNKNOWN_WORD, at
                break
            words[j, n] = slots[slot] - 1
        if state[FAULT] != SOUND:
            break
        at = _gap_end(text, end)
        log10_backoffs[n] = 0.0
        if text[at] != 10:
            end = _field_end(text, at)
            value = _decimal(text, at, end)
            state[WHERE] = at
            at = _gap_end(text, end)
            if not value <= LARGEST or text[at] != 10:
                state[FAULT] = BACKOFF
                break
            log10_backoffs[n] = value if value > -LARGEST else ZERO
        n += 1
    state[AT], state[ENTRIES] = at, n


@compiled
def put_decimal(value: float, buffer: np.ndarray, at: int) -> int:
    """Write ``value`` into ``buffer`` from ``at``, at most 24 bytes; returns where it ends."""
    size = min(abs(value), LARGEST)
    decimals, scale = 8, DIGITS
    while decimals > 0 and size * scale >= 10 * DIGITS - 0.5:
        decimals, scale = decimals - 1, scale / 10
    while decimals < 16 and size * scale < DIGITS - 0.5:
        decimals, scale = decimals + 1, scale * 10
    number = np.int64(np.rint(size * scale)) if size * scale < 9e18 else np.int64(9e18)
    if number == 0:
        buffer[at] = 48
        return at + 1
    while decimals > 0 and number % 10 == 0:
        number //= 10
        decimals -= 1
    if value < 0:
        buffer[at] = 45
        at += 1
    length, rest = 1, number // 10
    while rest > 0:
        length, rest = length + 1, rest // 10
    length = max(length, decimals + 1)  # a zero before the point
    last = at + length + (1 if decimals > 0 else 0)
    for i in range(last - 1, at - 1, -1):
        if decimals > 0 and last - 1 - i == decimals:
            buffer[i] = 46
        else:
            buffer[i] = 48 + number % 10
            number //= 10
    return last


@compiled
def format_lines(
    words: np.ndarray,  # int32 (order, G)
    log10_probs: np.ndarray,  # float64 (G,)
    log10_backoffs: np.ndarray,  # float64 (G,), or (0,) at the highest order
    letters: np.ndarray,  # uint8: the bytes of all types, one after the other
    starts: np.ndarray,  # int64 (V + 1,): where in ``letters`` each type begins, and after the last, ends
    buffer: np.ndarray,  # uint8: room for the lines
) -> int:
    """Write a line for each n-gram into ``buffer``; returns the bytes used."""
    at = 0
    for n in range(len(log10_probs)):
        at = put_decimal(log10_probs[n], buffer, at)
        for j in range(len(words)):
            buffer[at] = 9 if j == 0 else 32
            at += 1
            for i in range(starts[words[j, n]], starts[words[j, n] + 1]):
                buffer[at] = letters[i]
                at += 1
        if len(log10_backoffs):
            buffer[at] = 9
            at = put_decimal(log10_backoffs[n], buffer, at + 1)
        buffer[at] = 10
        at += 1
    return at
