"""Tokens -> words: which types open a word, and how the words of a text were written.

::

    tokens   the  un able  cat </s>        pieces of words (bpe, byte, char): white space opens a word
    words    the  unable   cat </s>        so does a Chinese, Japanese or Korean character: none stands between them
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lmbench.corpus.huggingface import HuggingFaceTokenizer
from lmbench.corpus.segmentation import NUL
from lmbench.corpus.tokenizers import Tokenizer, WordTokenizer
from lmbench.corpus.vocabulary import BOUNDARY

WHITE = b" \t\n\v\f\r"


def notation(tokenizer: Tokenizer) -> str:
    """How its types are written: word, char, byte, bpe (byte-level pairs), spaces (▁ for a space) or pieces (##)."""
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return {"bytes": "bpe", "words": "word"}.get(tokenizer.style, tokenizer.style)
    return tokenizer.kind


def word_openings(tokenizer: Tokenizer) -> np.ndarray:
    """bool (V,): whether a type opens a word. A word of characters, bytes or their pairs is white space and all up to
    the next; a Chinese, Japanese or Korean character opens one as well, since no white space stands between them."""
    kind, types = notation(tokenizer), tokenizer.vocabulary.types
    if kind == "pieces":
        return np.array([not written.startswith("##") for written in types])
    if kind == "spaces":
        kind, types = "char", tuple(written.replace("▁", " ") for written in types)
    if kind == "word":
        return np.ones(len(types), bool)
    first = np.array([_first_byte(kind, written, number) for number, written in enumerate(types)])
    opens = np.isin(first, list(WHITE)) | ((first >= 0xE3) & (first <= 0xED))  # U+3000 to U+D7FF
    opens[0] = True  # the boundary
    return opens


def _first_byte(kind: str, written: str, number: int) -> int:
    """First byte, in UTF-8, of the text that a type stands for."""
    if kind == "byte":
        return number
    if kind == "char":
        return written.encode()[0]
    point = ord(written[0])  # byte-level pairs write bytes 0 to 32 as the characters from 256 on
    return point - 256 if 256 <= point <= 288 else min(point, 255)


class WordTypes(NamedTuple):
    """What types of tokens say of words. ``opens``: bool (V,), whether each opens one. ``blank``: bool (V,), whether it
    is white space and no more. ``inner``: int64 (V,), Chinese, Japanese or Korean characters that begin within it."""

    opens: np.ndarray
    blank: np.ndarray
    inner: np.ndarray


@lru_cache(maxsize=8)
def word_types(tokenizer: Tokenizer) -> WordTypes:
    """What the types of ``tokenizer`` say of words."""
    kind, types = notation(tokenizer), tokenizer.vocabulary.types
    if kind == "byte":
        blank = np.isin(np.arange(len(types)), list(WHITE))
    else:
        spaces = {chr(256 + point) for point in WHITE} if kind == "bpe" else {*map(chr, WHITE), "▁"}
        blank = np.fromiter((spaces.issuperset(written) for written in types), bool, len(types))
    inner = np.zeros(len(types), np.int64)
    if kind in ("bpe", "spaces"):
        first, last = ("\xe3", "\xed") if kind == "bpe" else ("\u3000", "\ud7ff")
        inner[:] = [sum(first <= character <= last for character in written[1:]) for written in types]
    return WordTypes(word_openings(tokenizer), blank, inner)


def word_starts(ids: np.ndarray, ends: np.ndarray, types: WordTypes) -> np.ndarray:
    """int64 (W,): where the words of texts begin. ``ids``: int (N,), their tokens; ``ends``: int64 (U,), where each
    text ends among them. A text and a boundary always begin a word; white space belongs to what follows it."""
    first = types.opens[ids]
    first[1:] &= ~types.blank[ids[:-1]]
    first[ids == 0] = True
    first[ends[ends < len(ids)]] = True
    first[:1] = True
    return np.flatnonzero(first)


def word_counts(ids: np.ndarray, ends: np.ndarray, types: WordTypes) -> np.ndarray:
    """int64 (U,): the words of each text, boundaries and white space at the end not counted; see ``word_starts``. Where
    merges made one token of several Chinese characters, these are so many words, as they are to other tokenizers."""
    starts = word_starts(ids, ends, types)
    empty = types.blank[ids[starts]] & (np.diff(np.append(starts, len(ids))) == 1)
    words = starts[(ids[starts] != 0) & ~empty]
    return np.diff(np.searchsorted(words, ends) + np.append(0, np.cumsum(types.inner[ids]))[ends], prepend=0)


def written_words(
    tokenizer: Tokenizer, texts: Sequence[str], ids: np.ndarray, ends: np.ndarray, starts: np.ndarray
) -> list[str]:
    """The words that begin at ``starts``, as they stand in ``texts``, also where the tokens say ``<unk>``; without the
    white space that opens them, and ``</s>`` for the end of a text. For the other arguments see ``word_starts``."""
    words, bounds, numbers = [], [*starts.tolist(), len(ids)], np.searchsorted(ends, starts, "right").tolist()
    if isinstance(tokenizer, WordTokenizer):
        found = iter(tokenizer.words(texts))
        each = [BOUNDARY if i == 0 else next(word for word in found if word != NUL) for i in ids.tolist()]
    for (first, last), number in zip(pairwise(bounds), numbers, strict=True):
        if ids[first] == 0:
            words.append(BOUNDARY)
            continue
        if isinstance(tokenizer, WordTokenizer):
            word = "".join(each[first:last])
        elif tokenizer.kind == "char":
            begin = int(ends[number - 1]) if number else 0
            word = texts[number][first - begin : last - begin]
        else:
            word = tokenizer.decode(ids[first:last])
        words.append(word.strip() or word)
    return words
