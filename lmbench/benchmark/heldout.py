"""A tokenized corpus -> ``Heldout``: the test split as the report needs it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from lmbench.benchmark.evidence import Heldout
from lmbench.corpus.text import TokenizedCorpus
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.corpus.words import notation
from lmbench.scoring.scorer import segment_ends

LIMIT = 1 << 22
"""Events of the test split that are kept one by one, 16 MiB a model: of a longer one the units that fit, or its first
part where not even one does."""
CHARACTERS = 200
"""About the length of a passage, the part of a document that is shown, and of a sample."""
STOPS = (".", "!", "?", "。", "！", "？", "\n")
"""What ends a token behind which a passage may end."""
VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
HIDDEN = {256 + number: byte for number, byte in enumerate(byte for byte in range(256) if byte not in VISIBLE)}
"""Byte-level pairs write visible bytes as themselves, the others, in their order, as the characters from 256 on
(Radford et al. 2019)."""
LONE_BYTE = re.compile("<0x[0-9A-F]{2}>")
"""How types that are single bytes are written among types that are text."""
BLOCK = 1 << 20
"""Ids that are counted at a time."""


def hold_out(data: TokenizedCorpus) -> Heldout:
    """The test split of ``data`` as the report needs it, and how often its types stand in the training split."""
    tokens, tokenizer, line = data.test, data.tokenizer, data.corpus.line
    ends = tokens.ends[tokens.ends <= LIMIT]
    if not len(ends):
        ends = np.array([LIMIT])
    ids, types = np.ascontiguousarray(tokens.ids[1 : 1 + ends[-1]]), tokenizer.tokens(range(tokens.vocabulary_size))
    pieces = _pieces(tokenizer)
    length = CHARACTERS * tokens.events / max(1, sum(map(len, data.corpus.test.units)))
    return Heldout(
        ids=ids,
        ends=ends,
        passages=ends if line == "sentence" else _passages(ids, ends, types, pieces, max(1, round(length))),
        segments=segment_ends(ends, line),
        counts=_counts(data.train.ids[1:], tokens.vocabulary_size),
        types=tuple(types),
        separator=" " if _are_words(tokenizer) else "",
        pieces=pieces,
        line=line,
        tokenizer=tokenizer.spec,
        unknown=tokenizer.vocabulary.unknown,
        events=tokens.events,
        events_sha256=hashlib.sha256(np.ascontiguousarray(tokens.ids).data).hexdigest(),
    )


def _passages(
    ids: np.ndarray, ends: np.ndarray, types: Sequence[str], pieces: Sequence[str] | None, size: int
) -> np.ndarray:
    """int64: where parts of about ``size`` tokens of documents end, after a full stop or a newline if one is near, and
    never inside a character."""
    stops = np.array([written.rstrip(" ").endswith(STOPS) for written in types])
    goes_on = np.array(["\x80" <= piece[:1] <= "\xbf" for piece in pieces or ()] or [False] * len(types))
    whole = np.append(np.flatnonzero(~goes_on[ids[1:]]) + 1, len(ids))
    near = np.append(whole[:-1][stops[ids[whole[:-1] - 1]]], len(ids))
    even = segment_ends(ends, "text", size)
    even, moved = whole[np.searchsorted(whole, even)], near[np.searchsorted(near, even)]
    inside = ~np.isin(even, ends) & (moved - even < size / 2)
    return np.unique(np.concatenate((ends, np.where(inside, moved, even))))


def _counts(ids: np.ndarray, types: int) -> np.ndarray:
    """int64 (V,): how often each type stands in ``ids``, int32, of which numpy would count a copy in 64 bits."""
    counts = np.zeros(types, np.int64)
    for first in range(0, len(ids), BLOCK):
        counts += np.bincount(ids[first : first + BLOCK], minlength=types)
    return counts


def _are_words(tokenizer: Tokenizer) -> bool:
    """Whether spaces stand between tokens."""
    return notation(tokenizer) == "word" and not getattr(tokenizer.config, "han", False)


def _pieces(tokenizer: Tokenizer) -> tuple[str, ...] | None:
    """See ``Heldout.pieces``: what each type adds to a text, in UTF-8, a character for each byte."""
    style, types = notation(tokenizer), tokenizer.vocabulary.types[1:]
    if style == "byte":
        return ("", *map(chr, range(1, 256)))
    if style == "bpe":
        return ("", *(written.translate(HIDDEN) for written in types))
    if style == "pieces":
        types = tuple(written[2:] if written.startswith("##") else f" {written}" for written in types)
    elif style != "spaces":
        return None
    texts = (written.replace("▁", " ").encode().decode("latin-1") for written in types)
    return ("", *(chr(int(text[3:5], 16)) if LONE_BYTE.fullmatch(text) else text for text in texts))
