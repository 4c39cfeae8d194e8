"""Tokens -> words: which types open a word, and how the words of a text were written.

::

    tokens   the  un able  cat </s>        pieces of words (bpe, byte, char): white space opens a word
    words    the  unable   cat </s>        so does a Chinese, Japanese or Korean character: none stands between them
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lmbench.corpus.huggingface import HuggingFaceTokenizer
from lmbench.corpus.segmentation import NUL
from lmbench.corpus.tokenizers import Tokenizer, WordTokenizer
from lmbench.corpus.vocabulary import BOUNDARY


def word_openings(tokenizer: Tokenizer) -> np.ndarray:
    """bool (V,): whether a type opens a word. A word of characters, bytes or their pairs is white space and all up to
    the next; a Chinese, Japanese or Korean character opens one as well, since no white space stands between them."""
    kind, types = tokenizer.kind, list(tokenizer.vocabulary.types)
    if isinstance(tokenizer, HuggingFaceTokenizer):
        if tokenizer.style == "pieces":
            return np.array([not written.startswith("##") for written in types])
        kind = {"bytes": "bpe", "spaces": "char", "words": "word"}[tokenizer.style]
        types = [written.replace("▁", " ") for written in types]
    if kind == "word":
        return np.ones(len(types), bool)
    first = np.array([_first_byte(kind, written, number) for number, written in enumerate(types)])
    opens = np.isin(first, list(b" \t\n\v\f\r")) | ((first >= 0xE3) & (first <= 0xED))  # U+3000 to U+D7FF
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


def word_starts(ids: np.ndarray, ends: np.ndarray, opens: np.ndarray) -> np.ndarray:
    """int64 (W,): where the words of texts begin. ``ids``: int (N,), their tokens; ``ends``: int64 (U,), where each
    text ends among them; ``opens``: bool (V,), see ``word_openings``. A text and a boundary always begin a word."""
    first = opens[ids]
    first[ids == 0] = True
    first[ends[ends < len(ids)]] = True
    first[:1] = True
    return np.flatnonzero(first)


def written_words(
    tokenizer: Tokenizer, texts: Sequence[str], ids: np.ndarray, ends: np.ndarray, starts: np.ndarray
) -> list[str]:
    """The words that begin at ``starts``, as they stand in ``texts``, also where the tokens say ``<unk>``; without the
    white space that opens them, and ``</s>`` for the end of a text. For the other arguments see ``word_starts``."""
    if isinstance(tokenizer, WordTokenizer):  # a token is a word
        found = iter(tokenizer.words(texts))
        return [BOUNDARY if i == 0 else next(word for word in found if word != NUL) for i in ids.tolist()]
    words, bounds, numbers = [], [*starts.tolist(), len(ids)], np.searchsorted(ends, starts, "right").tolist()
    for (first, last), number in zip(pairwise(bounds), numbers, strict=True):
        if ids[first] == 0:
            words.append(BOUNDARY)
        elif tokenizer.kind == "char":
            begin = int(ends[number - 1]) if number else 0
            words.append(texts[number][first - begin : last - begin].strip())
        else:
            words.append(tokenizer.decode(ids[first:last]).strip())
    return words
