"""Text -> words, as they are written: between white space, or in Chinese by characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

NUL = "\0"
HAN = r"\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# In Chinese text a token is one character, or a whole run of Latin letters and digits.
HAN_TOKEN = re.compile(r"[0-9A-Za-z\u00c0-\u024f\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+|\s|.")
HAN_RUN = re.compile(f"[{HAN}]+")


def split_words(units: Sequence[str], *, lower: bool = False, han: bool = False) -> list[str]:
    """All words of all units as they are written, NUL between units."""
    text = (NUL if han else f" {NUL} ").join(units)
    if lower:
        text = text.lower()
    if han:
        return HAN_TOKEN.findall(text)
    # Only ASCII white space separates words, as in KenLM: str.split() would also split at a no-break space.
    for space in "\t\n\r\x0b\x0c":
        if space in text:
            text = text.replace(space, " ")
    return list(filter(None, text.split(" ")))


def is_unsegmented_han(units: Sequence[str], sample: int = 200_000) -> bool:
    """Whether the text is mostly Chinese characters in runs too long to be single words."""
    text = "\n".join([unit[:sample] for unit in units[: max(1, sample // 20)]])[:sample]
    runs = HAN_RUN.findall(text)
    han = sum(map(len, runs))
    visible = len(text) - len(re.findall(r"\s", text))
    return bool(runs) and han > 0.3 * visible and han / len(runs) > 3
