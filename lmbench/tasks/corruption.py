"""Held-out sentences -> the same sentences with one thing broken, so that plausibility has an answer.

Three kinds, taken in turn, one corruption a sentence::

    swap      the dog near the cats barks   ->  the dog the near cats barks      two neighbours change places
    replace   the dog near the cats barks   ->  the dog near the said barks      by another word of the corpus
    drop      the dog near the cats barks   ->  the dog near the cats            one word is missing

Nothing is assumed of the language: words stand between white space, or are single characters where Chinese
is written without spaces, or where a line holds no more than a word. The replacement is drawn as often as the
text uses it, so that rare words give nothing away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.corpus.text import Split
from lmbench.corpus.tokenizers import HAN_TOKEN, is_unsegmented_han
from lmbench.errors import CorpusError

SENTENCE_END = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+")
KINDS = ("swap", "replace", "drop")
SHORTEST, LONGEST = 4, 40
"""Words of the sentences that are taken: shorter ones leave too little context, longer ones cost time."""
Cut = Callable[[str], list[str]]
"""Text -> its words."""
POOL = 200_000
"""Words among which replacements are drawn."""


@dataclass(frozen=True)
class Corruption:
    """A sentence of the text, and its copy with one thing broken; ``phenomenon`` is what was broken."""

    sentence: str
    corrupted: str
    phenomenon: str


def corrupted(split: Split, seed: int = 1, n: int = 600, *, replacements: Split | None = None) -> list[Corruption]:
    """At most ``n`` sentences of ``split``, each with a corrupted copy that differs from it.

    Sentences are drawn without repetition. A line is taken as one where it is short enough, be it a sentence or mere
    text; a longer one, a paragraph perhaps, is cut after its full stops, or every 20 words where it has none.
    ``replacements``: where the words of ``replace`` come from, by default ``split`` itself. The same text and seed give
    the same list. Raises CorpusError where nothing in the text is as long as 4 words, or 4 characters.
    """
    lines = [line for document in split.documents for line in document.split("\n")]
    cut: Cut = _cut_han if is_unsegmented_han(lines) else str.split
    sentences = _sentences(lines, cut)
    if not sentences:  # words a line, such as a list of names: their letters are what can be changed
        cut = list
        sentences = _sentences(lines, cut)
    separator = " " if cut is str.split else ""
    generator = np.random.default_rng(seed)
    pool = _pool(replacements or split, cut, generator) if sentences else []
    result: list[Corruption] = []
    for chosen in generator.permutation(len(sentences)):
        if len(result) == n:
            break
        words = sentences[chosen]
        for kind in (KINDS[(len(result) + turn) % len(KINDS)] for turn in range(len(KINDS))):
            copy = _corrupt(words, kind, pool, generator)
            if copy != words:
                result.append(Corruption(separator.join(words), separator.join(copy), kind))
                break
    if not result:
        raise CorpusError(
            f"No line of the {split.name} split has {SHORTEST} words or {SHORTEST} characters, so there is nothing to "
            "corrupt and rank. Give a file of your own with --candidates."
        )
    return result


def _corrupt(words: list[str], kind: str, pool: Sequence[str], generator: np.random.Generator) -> list[str]:
    """A copy of ``words`` with one corruption; equal to it where none was found."""
    if kind == "swap":
        places = [i for i in range(len(words) - 1) if words[i] != words[i + 1]]
        if not places:
            return list(words)
        i = places[generator.integers(len(places))]
        return [*words[:i], words[i + 1], words[i], *words[i + 2 :]]
    i = int(generator.integers(len(words)))
    if kind == "drop":
        return [*words[:i], *words[i + 1 :]]
    others = (pool[j] for j in generator.integers(len(pool), size=20))
    other = next((word for word in others if word != words[i]), words[i])
    return [*words[:i], other, *words[i + 1 :]]


def _pool(split: Split, cut: Cut, generator: np.random.Generator) -> list[str]:
    """Running words of ``split``, from documents in random order until there are enough."""
    pool: list[str] = []
    units = split.units
    for i in generator.permutation(len(units)):
        pool.extend(word for word in cut(units[i]) if not word.isspace())
        if len(pool) >= POOL:
            break
    return pool[:POOL]


def _sentences(lines: Sequence[str], cut: Cut) -> list[list[str]]:
    """The words of each line, or of each sentence in one that is too long, if there are enough; none twice."""
    found: dict[tuple[str, ...], None] = {}
    for line in lines:
        words = cut(line)
        parts = [words] if len(words) <= LONGEST else [cut(part) for part in SENTENCE_END.split(line)]
        for part in parts:
            length = LONGEST if len(part) <= LONGEST else LONGEST // 2
            pieces = (tuple(part[first : first + length]) for first in range(0, len(part), length))
            found |= dict.fromkeys(piece for piece in pieces if len(piece) >= SHORTEST)
    return [list(words) for words in found]


def _cut_han(line: str) -> list[str]:
    return [word for word in HAN_TOKEN.findall(line) if not word.isspace()]
