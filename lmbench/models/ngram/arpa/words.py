"""Tokens <-> the words of an ARPA file, where white space stands between words and cannot stand in one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmbench.corpus.segmentation import HAN_TOKEN
from lmbench.corpus.tokenizers import CharConfig, CharTokenizer, Tokenizer, WordConfig, WordTokenizer
from lmbench.corpus.vocabulary import Vocabulary

SPACE = re.compile(r"[ \t\n\r\v\f\0]")
WRITTEN_SPACE = re.compile(r"<U\+([0-9A-F]{4})>")


def written(token: str) -> str:
    """``token`` as it stands in a file: white space as its code point.

    >>> written(" "), written("the")
    ('<U+0020>', 'the')
    """
    return SPACE.sub(lambda space: f"<U+{ord(space[0]):04X}>", token)


def tokenizer_of(words: Sequence[str]) -> Tokenizer:
    """How text becomes the ``words`` of a file, ``</s>`` and ``<unk>`` first: it is split at white space.

    Unless white space is among them, which ``written`` alone makes: then tokens are characters, or in Chinese
    text characters and runs of Latin letters, as they were when the model was trained.

    >>> tokenizer_of(["</s>", "<unk>", "the", "cat"]).spec, tokenizer_of(["</s>", "<unk>", "a", "<U+0020>"]).spec
    ('word:min_count=1:han=false', 'char')
    """
    types = tuple(WRITTEN_SPACE.sub(lambda code: chr(int(code[1], 16)), word) for word in words)
    if types != tuple(words):
        if all(len(token) == 1 for token in types[2:]):
            return CharTokenizer(CharConfig(), Vocabulary(types))
        if all(HAN_TOKEN.fullmatch(token) for token in types[2:]):
            return WordTokenizer(WordConfig(min_count=1, han=True), Vocabulary(types))
    return WordTokenizer(WordConfig(min_count=1, han=False), Vocabulary(tuple(words)))
