"""Sets of words that are taken for each other, and a vocabulary -> what may have been meant at each place of a line.

A file of confusion sets has one a line; words stand between white space or commas, what follows # is a remark::

    their there they're
    在，再
    的 地 得                # three ways to write de

In text with spaces a place is a word; its capitals and the punctuation around it stay as they are. In Chinese, and for
models that do not read words, a set is also found inside running text.

The channel, through which what was meant became what stands there (Kernighan, Church and Gale 1990), charges the same
for each letter that was left out, added, exchanged or moved by one, and for each word that was taken for another::

    ln p(written | meant) = edits * ln(error rate)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.corpus.grammar import grammar_folder
from lmbench.corpus.reading import read_text
from lmbench.corpus.segmentation import HAN
from lmbench.corpus.tokenizers import Tokenizer, WordTokenizer, train_tokenizer
from lmbench.errors import UsageError
from lmbench.models.ngram.model import NGram, NGramConfig

SEPARATOR = re.compile(r"[\s,，、]+")
WORD = re.compile(f"[^\\W_{HAN}]+(?:['’-][^\\W_{HAN}]+)*")
CHUNK = re.compile(r"\S+")
CORE = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
SENTENCE_END = re.compile(r"[.!?:]\W*$")
IS_HAN = re.compile(f"[{HAN}]")
MOST = 20
"""Words of the vocabulary that are tried at one place, at most: the nearest, of equally near ones the most frequent."""
QUERIES = 64
"""Words whose neighbours are looked up together."""

Sets = Mapping[str, tuple[str, ...]]
"""Word, in lower case -> the words it is taken for."""


@dataclass(frozen=True)
class Option:
    """What may have been meant at a place. ``written``: as it is shown; ``read``: as models read it, with what stands
    before it; ``nats``: ln p(what stands there | this), and for an unknown word the price of its spelling."""

    written: str
    read: str
    nats: float


@dataclass(frozen=True)
class Place:
    """A word of the line, from character ``start`` to ``end``; the first of its ``options`` is what stands there."""

    start: int
    end: int
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Doubts:
    """A line cut at its places. ``after``: what models read behind the last."""

    text: str
    places: tuple[Place, ...]
    after: str

    @property
    def any(self) -> bool:
        """Whether some place has more than one option."""
        return any(len(place.options) > 1 for place in self.places)


def shipped_confusions() -> Path:
    """The sets that come with the package, English and Chinese."""
    return grammar_folder() / "confusions.txt"


def read_confusions(paths: Iterable[str | Path]) -> dict[str, tuple[str, ...]]:
    """The sets of all files together. Raises UsageError, with the line, for a set of one word."""
    found: dict[str, dict[str, None]] = {}
    for path in paths:
        for number, line in enumerate(read_text(Path(path)).split("\n"), 1):
            words = [word.lower() for word in SEPARATOR.split(line.partition("#")[0]) if word]
            if len(set(words)) == 1:
                raise UsageError(
                    f"{path}, line {number}: a confusion set names at least two words, and here is only '{words[0]}'. "
                    "Write the words that are taken for each other on one line: their there they're"
                )
            for word in words:
                found.setdefault(word, {}).update(dict.fromkeys(other for other in words if other != word))
    return {word: tuple(others) for word, others in found.items()}


class Candidates:
    """Finds what may have been meant in lines that a model with this ``tokenizer`` is to read.

    ``sets``: confusion sets. ``distance``: how many edits away words of the vocabulary are tried, for unknown words, or
    with ``all_words`` for all. ``error_rate``: of the channel. Raises UsageError for numbers that cannot be, and where
    the vocabulary of the tokenizer holds no words that could be tried.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        sets: Sets,
        *,
        distance: int = 0,
        error_rate: float = 0.01,
        all_words: bool = False,
    ) -> None:
        if not 0 < error_rate < 1:
            raise UsageError(f"The error rate is a probability between 0 and 1, for example 0.01, not {error_rate}.")
        if distance not in (0, 1, 2):
            raise UsageError(f"Words are looked for 0, 1 or 2 edits away, not {distance}.")
        if distance and not reads_words(tokenizer):
            raise UsageError(
                f"Words to try are taken from the vocabulary, and that of a {tokenizer.kind} tokenizer holds no words: "
                "take a model of words, or distance 0 and confusion sets."
            )
        self.tokenizer, self.sets, self.distance, self.all_words = tokenizer, sets, distance, all_words
        self.charge = math.log(error_rate)
        self._near: dict[str, list[tuple[str, int]]] = {}

    def doubts(self, lines: Sequence[str]) -> list[Doubts]:
        """The places of each line, and what may have been meant there."""
        if not reads_words(self.tokenizer):
            return [self._running(line) for line in lines]
        words = {match[2].lower() for line in lines for match in map(CORE.fullmatch, line.split()) if match}
        self._look_up(sorted(words))
        return [self._spaced(line) for line in lines]

    # Text with spaces: a place is a word ----------------------------------------------------------------

    def _spaced(self, line: str) -> Doubts:
        places: list[Place] = []
        opening = True
        for match in CHUNK.finditer(line):
            core = CORE.fullmatch(match[0])
            before, word, after = core.groups() if core else ("", match[0], "")
            start = match.start() + len(before)
            meant = self._meant(word, opening=opening)
            options = self._options(before, word, after, meant, space=" " if places else "")
            places.append(Place(start, start + len(word), options))
            opening = SENTENCE_END.search(match[0]) is not None
        return Doubts(line, tuple(places), "")

    def _options(self, before: str, word: str, after: str, meant: Mapping[str, int], space: str) -> tuple[Option, ...]:
        """The word itself and others, all read in the first form in which the word, or else one of them, is known."""
        forms = (
            lambda text: f"{before}{text}{after}",
            lambda text: f"{before}{text}{after}".lower(),
            lambda text: text,
            lambda text: text.lower(),
        )
        recased = {recase(other, word): edits for other, edits in meant.items()}
        own = next((form for form in forms if self._knows(form(word))), None)
        form = own or next((form for form in forms if any(self._knows(form(other)) for other in recased)), forms[0])
        spelling = 0.0 if own or not recased else self._spelling(word)
        others = [
            Option(other, space + form(other), edits * self.charge)
            for other, edits in recased.items()
            if self._knows(form(other))
        ]
        return (Option(word, space + form(word), spelling), *others)

    def _meant(self, word: str, *, opening: bool) -> dict[str, int]:
        """Other words, and how many edits lead from them to this one: one, where they are in a set with it.

        An unknown word with a capital that does not open a sentence is a name, and near to nothing.
        """
        lower = word.lower()
        is_name = word[:1].isupper() and not word.isupper() and not opening and lower not in self._known
        near = [] if is_name else self._near.get(lower, [])
        return {**dict(near), **dict.fromkeys(self.sets.get(lower, ()), 1)}

    def _knows(self, text: str) -> bool:
        return text in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        """The types of the vocabulary, the two special ones aside."""
        return frozenset(self.tokenizer.vocabulary.types[2:])

    def _spelling(self, word: str) -> float:
        """ln p(the letters of an unknown word), by a model of the spelling of the known ones; an unknown word is one of
        many, and without this the model would rather call each word unknown than correct it."""
        tokens = self._letters.tokenizer.encode([word.lower()])
        return float(self._letters.log_probs(Batch.of(tokens.rows())).sum())

    @cached_property
    def _letters(self) -> NGram:
        words = sorted({word.lower() for word in self._words}) or ["a"]
        tokens = train_tokenizer("char", words).encode(words)
        model = NGram(NGramConfig(order=3, smoothing="witten-bell"))
        model.fit(tokens, tokens)
        return model

    @cached_property
    def _words(self) -> list[str]:
        """Words of the vocabulary in lower case, the most frequent first, each once."""
        lowered = (word.lower() for word in self.tokenizer.vocabulary.types[2:] if WORD.fullmatch(word))
        return list(dict.fromkeys(lowered))

    def _look_up(self, words: Sequence[str]) -> None:
        """Find the neighbours of words that were not asked for before."""
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import cdist

        asked = [
            word
            for word in words
            if self.distance and word not in self._near and WORD.fullmatch(word)
            if self.all_words or not self._knows(word)
        ]
        for first in range(0, len(asked), QUERIES):
            queries = asked[first : first + QUERIES]
            edits = cdist(queries, self._words, scorer=OSA.distance, score_cutoff=self.distance, dtype=np.uint8)
            for query, row in zip(queries, edits, strict=True):
                near = np.flatnonzero((row > 0) & (row <= self.distance))
                near = near[np.argsort(row[near], kind="stable")][:MOST]
                self._near[query] = [(self._words[i], int(row[i])) for i in near.tolist()]

    # Running text: a place is what some set names -------------------------------------------------------

    def _running(self, line: str) -> Doubts:
        places: list[Place] = []
        last = 0
        for match in self._pattern.finditer(line):
            others = self.sets.get(match[0].lower())
            if others:
                before = _single_spaces(line[last : match.start()], opening=not places and not line[:last].strip())
                known = [recase(other, match[0]) for other in others]
                options = [Option(text, before + text, self.charge) for text in known if not self._unknowns(text)]
                spelling = -math.log(len(self.tokenizer.vocabulary)) * self._unknowns(match[0])
                places.append(
                    Place(match.start(), match.end(), (Option(match[0], before + match[0], spelling), *options))
                )
                last = match.end()
        after = _single_spaces(line[last:], opening=not places)
        return Doubts(line, tuple(places), after.rstrip())

    def _unknowns(self, text: str) -> int:
        return self.tokenizer.encode([text]).unknowns

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Chinese words of sets wherever they stand, the longest first; others as whole words."""
        chinese = sorted((re.escape(word) for word in self.sets if IS_HAN.search(word)), key=len, reverse=True)
        return re.compile("|".join([*chinese, WORD.pattern]))


def reads_words(tokenizer: Tokenizer) -> bool:
    """Whether its tokens are words between spaces."""
    return isinstance(tokenizer, WordTokenizer) and not tokenizer.config.han


def recase(word: str, like: str) -> str:
    """``word`` with the capitals of ``like``.

    >>> recase("there", "Their"), recase("there", "THEIR"), recase("there", "their")
    ('There', 'THERE', 'there')
    """
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def _single_spaces(text: str, *, opening: bool) -> str:
    """White space reduced to single spaces; none before the first word."""
    reduced = re.sub(r"\s+", " ", text)
    return reduced.lstrip() if opening else reduced
