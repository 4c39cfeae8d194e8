"""Text <-> ids: the one interface of all tokenizers.

A *unit* is the text between two boundaries: a sentence, or a whole document where lines are mere
text. ``encode`` turns many units into one flat array at C speed; NUL, which no text may hold, marks
the boundaries on the way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np

from lmbench import specification
from lmbench.corpus.batches import Tokens
from lmbench.corpus.vocabulary import BOUNDARY, UNKNOWN, Vocabulary
from lmbench.errors import CorpusError


class Tokenizer(ABC):
    """Text <-> ids. ``encode(units)`` is flat and fast; ``decode(ids)`` undoes it where it can.

    ``vocabulary``: types <-> ids. ``spec``: the specification that names this tokenizer, with every
    automatic choice written out. ``is_lossless`` says whether a given text survives the round trip:
    only then are bits per character or byte comparable with other tokenizers.
    """

    kind: ClassVar[str]
    Config: ClassVar[type]

    def __init__(self, config: Any, vocabulary: Vocabulary) -> None:
        self.config, self.vocabulary = config, vocabulary

    @classmethod
    @abstractmethod
    def train(cls, units: Sequence[str], config: Any) -> Self:
        """Build the vocabulary from the ``units`` of the training split."""

    @classmethod
    def train_and_encode(cls, units: Sequence[str], config: Any) -> tuple[Self, Tokens]:
        """``train``, and the ``units`` it was trained on encoded, where possible in one walk over the text."""
        tokenizer = cls.train(units, config)
        return tokenizer, tokenizer.encode(units)

    @abstractmethod
    def _ids(self, units: Sequence[str]) -> np.ndarray:
        """int32 ids of all units, a boundary (0) after each."""

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids`` that hold no boundary."""

    @property
    def spec(self) -> str:
        return specification.describe(self.kind, self.config)

    def encode(self, units: Sequence[str]) -> Tokens:
        """``</s> unit </s> unit </s>``: one boundary before the first and one after each unit."""
        if not units:
            raise CorpusError("There is no text to encode: not one sentence was given.")
        return self._tokens_of([self._ids(units)], None, len(units))

    def _tokens_of(self, blocks: list[np.ndarray], lossless: bool | None, units: int) -> Tokens:
        """``blocks``: int32 ids of so many ``units``, a boundary after each; they are emptied on the way."""
        ids = np.zeros(1 + sum(map(len, blocks)), np.int32)
        last = len(ids)
        while blocks:
            block = blocks.pop()
            ids[last - len(block) : last] = block
            last -= len(block)
        if np.count_nonzero(ids) != len(ids) - units - 1:
            raise CorpusError(
                f"The text holds a NUL character or {BOUNDARY} as a word, which mark boundaries here. Remove it."
            )
        return Tokens(ids, self, lossless)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The written form of each id, for display."""
        return [self.vocabulary.types[i] for i in ids]

    def is_lossless(self, units: Sequence[str], encoded: Tokens) -> bool:
        """Whether decoding gives the text back: no ``<unk>`` hides text, no white space is lost."""
        if encoded.lossless is not None:
            return encoded.lossless
        rows = (row[1:-1] for row in encoded.rows())
        return all(self.decode(row) == unit for row, unit in zip(rows, units, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Everything that ``from_dict`` needs, as JSON values."""
        counts = self.vocabulary.counts
        return {
            "kind": self.kind,
            "config": asdict(self.config),
            "types": list(self.vocabulary.types),
            "counts": None if counts is None else counts.tolist(),
        }

    @classmethod
    def _restore(cls, state: Mapping[str, Any]) -> Self:
        types = tuple(state["types"])
        counts = None if state["counts"] is None else np.asarray(state["counts"], np.int64)
        unknown = 1 if len(types) > 1 and types[1] == UNKNOWN else None
        return cls(cls.Config(**state["config"]), Vocabulary(types, unknown, counts))
