"""Held-out sentences -> the same sentences with one thing broken, so that plausibility has an answer.

Three kinds, taken in turn, one corruption a sentence::

    swap      the dog near the cats barks   ->  the dog the near cats barks      two neighbours change places
    replace   the dog near the cats barks   ->  the dog near the said barks      by another word of the corpus
    drop      the dog near the cats barks   ->  the dog near the cats            one word is missing

Nothing is assumed of the language: words stand between white space, or are single characters where Chinese
is written without spaces. The replacement is drawn as often as the text uses it, so that rare words give
nothing away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.corpus.text import Split
from lmbench.corpus.tokenizers import HAN_TOKEN, is_unsegmented_han
from lmbench.errors import CorpusError

KINDS = ("swap", "replace", "drop")
SHORTEST, LONGEST = 4, 40
"""Words of the sentences that are taken: shorter ones leave too little context, longer ones cost time."""
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

    Sentences are drawn without repetition; of a text whose lines are mere text, the lines are taken.
    ``replacements``: where the words of ``replace`` come from, by default ``split`` itself. The same text
    and seed give the same list. Raises CorpusError where the text holds no sentence of 4 to 40 words.
    """
    lines = [line for document in split.documents for line in document.split("\n")]
    han = is_unsegmented_han(lines)
    separator = "" if han else " "
    sentences = {separator.join(words): words for words in (_words(line, han) for line in lines) if _fits(words)}
    if not sentences:
        raise CorpusError(
            f"No line of the {split.name} split has between {SHORTEST} and {LONGEST} words, so there is nothing to "
            "corrupt and rank. Give a file of your own with --candidates."
        )
    generator = np.random.default_rng(seed)
    pool = _pool(replacements or split, han, generator)
    result: list[Corruption] = []
    for chosen in generator.permutation(len(texts := list(sentences))):
        if len(result) == n:
            break
        words = sentences[texts[chosen]]
        kind = KINDS[len(result) % len(KINDS)]
        copy = separator.join(_corrupt(words, kind, pool, generator))
        if copy != texts[chosen]:
            result.append(Corruption(texts[chosen], copy, kind))
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


def _pool(split: Split, han: bool, generator: np.random.Generator) -> list[str]:
    """Running words of ``split``, from documents in random order until there are enough."""
    pool: list[str] = []
    units = split.units
    for i in generator.permutation(len(units)):
        pool.extend(_words(units[i], han))
        if len(pool) >= POOL:
            break
    return pool[:POOL]


def _words(line: str, han: bool) -> list[str]:
    return [word for word in HAN_TOKEN.findall(line) if not word.isspace()] if han else line.split()


def _fits(words: list[str]) -> bool:
    return SHORTEST <= len(words) <= LONGEST
