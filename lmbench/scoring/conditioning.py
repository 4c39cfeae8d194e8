"""Texts, and what stands before them -> tokens, and which of these are asked for.

A text alone is scored from its boundary on, its end included. After a prefix, ln p(text | prefix) is asked for::

    prefix "the dog", text "barks"      </s> the dog barks </s>
                                          -   -   -    x    x

Prefix and text are encoded together, a space between them unless a Chinese character or mark stands at the seam; the
space counts as a part of the text, as in byte-level pairs that begin with it. A tokenizer that merges may put the end
of the prefix and the beginning of the text into one token: it is asked for as a whole, after the tokens before it.

Where a line was mere text in training (``line="text"``), a newline stands before, as history, and one is asked for
after the text in place of the boundary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmbench.corpus.batches import Tokens
from lmbench.corpus.segmentation import HAN, NUL
from lmbench.corpus.text import Line
from lmbench.corpus.tokenizers import Tokenizer, WordTokenizer
from lmbench.corpus.words import notation
from lmbench.errors import UsageError

UNSPACED = re.compile(f"[{HAN}\\u3000-\\u303f\\uff00-\\uff65]")
"""Characters beside which Chinese and Japanese text has no space: their own, their punctuation."""


@dataclass(frozen=True)
class Asked:
    """Which events of which tokens are asked for.

    ``tokens``: all, prefixes included. ``starts``, ``ends``: int64 (U,), the first event of each text that is asked for
    and the index after the last. ``texts``: what is asked for, as it is written, the space at the seam included.
    ``crossing``: texts whose first token begins in the prefix.
    """

    tokens: Tokens
    starts: np.ndarray
    ends: np.ndarray
    texts: tuple[str, ...]
    crossing: int = 0

    @cached_property
    def events(self) -> np.ndarray:
        """int64 (U,): how many tokens of each text are asked for."""
        return self.ends - self.starts

    @cached_property
    def bounds(self) -> np.ndarray:
        """int64 (U,): where each text ends among the N tokens that are asked for."""
        return np.cumsum(self.events)

    @cached_property
    def places(self) -> np.ndarray:
        """bool (events of ``tokens``,): whether each is asked for."""
        steps = np.zeros(self.tokens.events + 1, np.int64)
        np.add.at(steps, self.starts, 1)
        np.add.at(steps, self.ends, -1)
        return np.cumsum(steps[:-1]) > 0

    @cached_property
    def ids(self) -> np.ndarray:
        """int32 (N,): the tokens that are asked for."""
        return self.tokens.ids[1:][self.places]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """float64 (U,): of ``values``, one for each of the N tokens that are asked for, over each text."""
        totals = np.add.reduceat(np.append(values, 0.0), self.bounds - self.events)
        return np.where(self.events > 0, totals, 0.0)  # reduceat gives an empty part the value it stands at


def ask(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    prefixes: str | Sequence[str] | None = None,
    line: Line = "sentence",
) -> Asked:
    """Encode ``texts``, each after its prefix, or all after the same one.

    Sentences and prefixes are taken with single spaces between their words. Raises UsageError where there is no text or
    not one prefix for each.
    """
    if isinstance(texts, str):
        raise UsageError("Texts are given in a list: [text] for a single one.")
    before = [prefixes or ""] * len(texts) if prefixes is None or isinstance(prefixes, str) else list(prefixes)
    if len(before) != len(texts):
        raise UsageError(f"There are {len(texts)} texts and {len(before)} prefixes: give one for each, or one for all.")
    if line == "sentence":
        spaced = [(_ending(prefix), _beginning(text)) for prefix, text in zip(before, texts, strict=True)]
    else:
        spaced = list(zip(before, texts, strict=True))
    openings, asked = [], []
    newline = "\n" if line == "text" else ""
    for prefix, text in spaced:
        opening = prefix.rstrip()
        asked.append((_separator(tokenizer, prefix, text) if opening else "") + text.lstrip() + newline)
        openings.append(newline + opening)
    tokens = tokenizer.encode([opening + text for opening, text in zip(openings, asked, strict=True)])
    starts = np.concatenate(([0], tokens.ends[:-1]))
    crossing = 0
    if any(openings):
        history, crossing = _histories(tokenizer, tokens, openings)
        starts = starts + history
    return Asked(tokens, starts, tokens.ends - (line == "text"), tuple(asked), crossing)


def _beginning(text: str) -> str:
    """``text`` with single spaces, and one before it if there was white space."""
    return (" " if text[:1].isspace() else "") + " ".join(text.split())


def _ending(prefix: str) -> str:
    """``prefix`` with single spaces, and one after it if there was white space."""
    return " ".join(prefix.split()) + (" " if prefix[-1:].isspace() else "")


def _separator(tokenizer: Tokenizer, prefix: str, text: str) -> str:
    """What stands between ``prefix`` and ``text``: the white space that was given, else a space or nothing."""
    given = prefix[len(prefix.rstrip()) :] or text[: len(text) - len(text.lstrip())]
    if given or not text:
        return given if text.strip() else ""
    if isinstance(tokenizer, WordTokenizer) and not tokenizer.config.han:
        return " "
    return "" if UNSPACED.match(prefix[-1]) or UNSPACED.match(text[0]) else " "


def _histories(tokenizer: Tokenizer, tokens: Tokens, openings: Sequence[str]) -> tuple[np.ndarray, int]:
    """int64 (U,): tokens of each unit that lie in its opening as a whole; and in how many units one lies across."""
    if isinstance(tokenizer, WordTokenizer):
        words = tokenizer.words(openings)
        marks = np.fromiter((word == NUL for word in words), bool, len(words))
        edges = np.concatenate(([-1], np.flatnonzero(marks), [len(words)]))
        return np.diff(edges) - 1, 0
    if tokenizer.kind == "char":
        return np.array([len(opening) for opening in openings], np.int64), 0
    if tokenizer.kind == "byte":
        return np.array([len(opening.encode()) for opening in openings], np.int64), 0
    if notation(tokenizer) != "bpe":
        alone = tokenizer.encode(openings).rows()
        history = np.array([_shared(a[1:-1], b[1:]) for a, b in zip(alone, tokens.rows(), strict=True)], np.int64)
        return history, sum(len(row) - 2 != count for row, count in zip(alone, history.tolist(), strict=True))
    widths = np.array([len(written) for written in tokenizer.vocabulary.types], np.int64)  # a character for each byte
    history, crossing = np.zeros(len(openings), np.int64), 0
    for number, (row, opening) in enumerate(zip(tokens.rows(), openings, strict=True)):
        size, reached = len(opening.encode()), np.cumsum(widths[row[1:-1]])
        history[number] = np.searchsorted(reached, size, "right")
        crossing += bool(size) and size not in reached[max(0, history[number] - 1) : history[number]]
    return history, crossing


def _shared(first: np.ndarray, second: np.ndarray) -> int:
    """How many ids two rows have in common from their beginning on."""
    size = min(len(first), len(second))
    differ = np.flatnonzero(first[:size] != second[:size])
    return int(differ[0]) if len(differ) else size
