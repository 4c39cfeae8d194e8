"""A name, file or folder -> ``Corpus``: train / valid / test documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import Tokenizer, train_and_encode
from lmbench.errors import unknown_name

if TYPE_CHECKING:
    from lmbench.corpus.grammar import Grammar, MinimalPair

Line = Literal["sentence", "text"]
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """The documents of one split.

    ``documents``: normalised text. ``line``: what a line is. Where it is a ``"sentence"``, white space
    in it is reduced to single spaces and each line is a unit of its own; where it is mere ``"text"``,
    a document is one unit, verbatim, and its newlines are characters like any other.
    """

    name: str
    documents: tuple[str, ...]
    line: Line = "sentence"

    @cached_property
    def units(self) -> list[str]:
        """What stands between two boundaries: the sentences, or the documents."""
        if self.line == "text":
            return list(self.documents)
        return [line for document in self.documents for line in document.split("\n")]


@dataclass(frozen=True)
class Corpus:
    """Three splits of one text, and where it comes from.

    ``name``: short name for tables. ``language``: ``en``, ``zh`` ... or empty. ``origin``: where the text was
    found, in words. ``grammar``: the source itself, where the corpus was sampled from one; ``pairs``: minimal
    pairs that belong to it. ``notes``: what the reader should know (lines dropped, splits chosen ...). ``unit``: the
    tokenizer with which its figures are published.
    """

    name: str
    train: Split
    valid: Split
    test: Split
    language: str = ""
    origin: str = ""
    grammar: Grammar | None = field(default=None, repr=False)
    pairs: tuple[MinimalPair, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()
    unit: str = "word"

    @property
    def line(self) -> Line:
        """What a line of this corpus is."""
        return self.train.line

    def split(self, name: str) -> Split:
        """The split called ``name``. Raises UsageError for another name than train, valid, test."""
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        return getattr(self, name)

    def __iter__(self) -> Iterator[Split]:
        yield from (self.train, self.valid, self.test)

    @cached_property
    def sha256(self) -> str:
        """Checksum over the splits, their documents and what a line is: equal text, equal checksum."""
        digest = hashlib.sha256(self.line.encode())
        for split in self:
            digest.update(f"\0{split.name}".encode())
            for document in split.documents:
                digest.update(b"\0")
                digest.update(document.encode())
        return digest.hexdigest()

    def tokenize(self, spec: str | Tokenizer | None = None) -> TokenizedCorpus:
        """Train the tokenizer that ``spec`` names on the training split, or use the one given; by default ``unit``."""
        if isinstance(spec, Tokenizer):
            return TokenizedCorpus(self, spec)
        return TokenizedCorpus(self, *train_and_encode(spec or self.unit, self.train.units))


@dataclass(frozen=True)
class TokenizedCorpus:
    """A corpus as token ids; each split is encoded when it is first asked for.

    ``encoded``: the training split, where training the tokenizer has encoded it already.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    encoded: Tokens | None = field(default=None, repr=False, compare=False)

    @cached_property
    def train(self) -> Tokens:
        return self.encoded or self.tokenizer.encode(self.corpus.train.units)

    @cached_property
    def valid(self) -> Tokens:
        return self.tokenizer.encode(self.corpus.valid.units)

    @cached_property
    def test(self) -> Tokens:
        return self.tokenizer.encode(self.corpus.test.units)
