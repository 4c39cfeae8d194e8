"""Corpus + tokenizer -> ``Description``: what a reader should know before believing a number.

Sizes of each split, how much of valid and test the training vocabulary does not know, and how much
of them stands word for word in the training split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lmbench.corpus import catalog
from lmbench.corpus.batches import Tokens
from lmbench.corpus.segmentation import NUL
from lmbench.corpus.text import Corpus, Split
from lmbench.corpus.tokenizers import CharTokenizer, Tokenizer, WordTokenizer

SAMPLE_LINES = 5
SAMPLE_CHARACTERS = 200
ROWS = (
    ("documents", "documents", ","),
    ("sentences or texts", "units", ","),
    ("lines", "lines", ","),
    ("words", "words", ","),
    ("characters", "characters", ","),
    ("bytes", "bytes", ","),
    ("events", "events", ","),
    ("types", "types", ","),
    ("<unk> events", "unknown_rate", ".2%"),
    ("not in train", "new_rate", ".2%"),
    ("longest, tokens", "longest", ","),
    ("repeats of train", "repeated", ".2%"),
)
"""The table of a description: its label, the figure, how it is written."""


@dataclass(frozen=True)
class SplitFigures:
    """The figures of one split.

    ``documents``, ``units`` (sentences, or documents where lines are mere text), ``lines``, ``words`` (separated by
    white space), ``characters``, ``bytes`` (UTF-8): counts; the newline that ends a sentence is counted.
    ``events``: predicted tokens, boundaries included. ``types``: distinct tokens that occur, the boundary included.
    ``unknown_rate``: share of events that are ``<unk>``. ``new_rate``: share of events whose word or character, as
    written, does not occur in the training split: out of its vocabulary, however large. ``longest``: tokens in the
    longest unit. ``repeated``: share of units that also stand in the training split (0 for train itself).
    """

    name: str
    documents: int
    units: int
    lines: int
    words: int
    characters: int
    bytes: int
    events: int
    types: int
    unknown_rate: float
    new_rate: float
    longest: int
    repeated: float


@dataclass(frozen=True)
class Description:
    """A corpus in figures: ``splits`` in the order train, valid, test; ``sample``: first lines of train, shortened.

    ``vocabulary``: V, the boundary included; ``tokenizer``: its specification with every choice written out.
    ``title``, ``licence`` and ``published_splits`` come from the catalog, empty for a user's own text.
    """

    name: str
    title: str
    language: str
    origin: str
    licence: str
    published_splits: str
    line: str
    sha256: str
    tokenizer: str
    vocabulary: int
    splits: tuple[SplitFigures, ...]
    sample: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """The facts, a table with a column for each split, and the first lines."""
        facts = {
            "corpus": f"{self.name}{f' ({self.title})' if self.title else ''}",
            "language": self.language or "not known",
            "origin": self.origin,
            "licence": self.licence or "not known",
            "splits": self.published_splits or "see the notes",
            "a line is": "a sentence" if self.line == "sentence" else "mere text",
            "sha256": self.sha256,
            "tokenizer": f"{self.tokenizer}, {self.vocabulary:,} types",
        }
        lines = [f"{name:<10} {value}" for name, value in facts.items()]
        lines += [f"{'note':<10} {note}" for note in self.notes]
        lines += ["", " " * 20 + "".join(f"{split.name:>14}" for split in self.splits)]
        for label, field, form in ROWS:
            values = "".join(f"{format(getattr(split, field), form):>14}" for split in self.splits)
            lines.append(f"{label:<20}{values}")
        return "\n".join([*lines, "", *self.sample])


def describe(corpus: Corpus, tokenizer_spec: str | Tokenizer = "word") -> Description:
    """Measure ``corpus`` as the tokenizer that ``tokenizer_spec`` names sees it."""
    tokenized = corpus.tokenize(tokenizer_spec)
    # A file of the user's own may be called zh.txt; its origin is its path, and no licence of ours is its own.
    entry = None if Path(corpus.origin).exists() else catalog.find(corpus.name)
    known = set(corpus.train.units)
    written = _written(tokenized.tokenizer, corpus.train.units)
    splits = (
        _figures(corpus.train, tokenized.train, set(), written),
        _figures(corpus.valid, tokenized.valid, known, written),
        _figures(corpus.test, tokenized.test, known, written),
    )
    return Description(
        name=corpus.name,
        title=entry.title if entry else "",
        language=corpus.language,
        origin=corpus.origin,
        licence=entry.licence if entry else "",
        published_splits=entry.splits if entry else "",
        line=corpus.line,
        sha256=corpus.sha256,
        tokenizer=tokenized.tokenizer.spec,
        vocabulary=len(tokenized.tokenizer.vocabulary),
        splits=splits,
        sample=tuple(_sample(corpus.train)),
        notes=corpus.notes,
    )


def _figures(split: Split, tokens: Tokens, known: set[str], in_train: Mapping[str, int]) -> SplitFigures:
    units = split.units
    ended = len(units) if split.line == "sentence" else 0  # the newline that ends each sentence
    events = tokens.ids[1:]
    new = sum(times for piece, times in _written(tokens.tokenizer, units).items() if piece not in in_train)
    return SplitFigures(
        name=split.name,
        documents=len(split.documents),
        units=len(units),
        lines=sum(unit.count("\n") + 1 for unit in units),
        words=sum(len(unit.split()) for unit in units),
        characters=sum(map(len, units)) + ended,
        bytes=sum(len(unit.encode()) for unit in units) + ended,
        events=tokens.events,
        types=len(np.unique(events)),
        unknown_rate=tokens.unknowns / tokens.events,
        new_rate=new / tokens.events,
        longest=int(np.diff(tokens.ends, prepend=0).max()) - 1,
        repeated=repeated_share(units, known),
    )


def _written(tokenizer: Tokenizer, units: Sequence[str]) -> Counter[str]:
    """How often each word or character stands in ``units``; empty where every text can be written (byte, bpe)."""
    if isinstance(tokenizer, WordTokenizer):
        counts = Counter(tokenizer.words(units))
    elif isinstance(tokenizer, CharTokenizer):
        counts = Counter("".join(units))
    else:
        counts = Counter()
    counts.pop(NUL, None)
    return counts


def repeated_share(units: Sequence[str], known: set[str]) -> float:
    """Share of ``units`` that stand word for word among the ``known`` ones; empty units are not counted.

    >>> repeated_share(["a cat", "a dog"], {"a cat"})
    0.5
    """
    written = [unit for unit in units if unit]
    return sum(unit in known for unit in written) / len(written) if written else 0.0


def _sample(split: Split) -> list[str]:
    lines = [line for unit in split.units[: 10 * SAMPLE_LINES] for line in unit[:10_000].split("\n") if line]
    return [
        line if len(line) <= SAMPLE_CHARACTERS else line[: SAMPLE_CHARACTERS - 3] + "..."
        for line in lines[:SAMPLE_LINES]
    ]
