"""UTF-8 bytes of units -> words, characters and bytes of each: one compiled loop over the text."""

from __future__ import annotations

import numpy as np

from lmbench.compiled import compiled


@compiled
def _space(text: np.ndarray, at: int) -> bool:
    """Whether the character of several bytes at ``at`` is white space as ``str.split`` has it (Unicode 15)."""
    byte, second, third = text[at], text[at + 1], text[at + 2]  # the NUL at the end may be the third
    if byte == 0xC2:  # U+0085 next line, U+00A0 no-break space
        return second == 0x85 or second == 0xA0
    if byte == 0xE1:  # U+1680 Ogham space
        return second == 0x9A and third == 0x80
    if byte == 0xE3:  # U+3000 ideographic space
        return second == 0x80 and third == 0x80
    if byte != 0xE2:
        return False
    if second == 0x80:  # U+2000 to 200A, line and paragraph separators, U+202F narrow no-break space
        return third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF
    return second == 0x81 and third == 0x9F  # U+205F mathematical space


@compiled
def measure(text: np.ndarray, sizes: np.ndarray) -> None:
    """Sizes of the units of ``text`` (uint8, NUL after each) into ``sizes``, int64 (U, 3): words, characters, bytes.

    Without branches but at NUL and at the few bytes that may begin white space beyond ASCII: text is not predictable.
    """
    unit, first, words, continued, inside = 0, 0, 0, 0, False
    for at in range(len(text)):
        byte = text[at]
        if byte == 0:
            sizes[unit, 0], sizes[unit, 1], sizes[unit, 2] = words, at - first - continued, at - first
            unit, first, words, continued, inside = unit + 1, at + 1, 0, 0, False
            continue
        follows = (byte & 0xC0) == 0x80  # inside a character: what its first byte is
        visible = (byte > 32) | (byte < 9) | ((byte > 13) & (byte < 28))
        if byte == 0xC2 or 0xE1 <= byte <= 0xE3:
            visible = not _space(text, at)
        words += visible & (not inside) & (not follows)
        continued += follows
        inside = (follows & inside) | ((not follows) & visible)
