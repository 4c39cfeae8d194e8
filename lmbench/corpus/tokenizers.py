"""Text <-> ids: word, character, byte and byte-pair tokenizers, their vocabularies from the training split alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lmbench import specification
from lmbench.corpus.batches import Tokens
from lmbench.corpus.huggingface import HuggingFaceTokenizer
from lmbench.corpus.scanning import Numbered, exchange, is_small, look_up, number_words, total
from lmbench.corpus.segmentation import HAN_TOKEN as HAN_TOKEN
from lmbench.corpus.segmentation import NUL, is_unsegmented_han, split_words
from lmbench.corpus.tokenizer import Tokenizer as Tokenizer
from lmbench.corpus.vocabulary import UNKNOWN, Vocabulary
from lmbench.errors import CorpusError, UsageError, unknown_name

if TYPE_CHECKING:
    from lmbench.corpus.wordtable import WordTable


@dataclass(frozen=True)
class WordConfig:
    """How text becomes words."""

    min_count: int | None = None
    """Types seen fewer times in the training split become <unk>; by default 1 where the text
    brings its own <unk>, else 2, so that <unk> is trained."""
    size: int | None = None
    """At most so many types, </s> and <unk> included; None for no limit."""
    lower: bool = False
    """Lower-case everything first."""
    han: bool | None = None
    """Chinese units: each character is a token, runs of Latin letters and digits stay whole. By
    default where the training text is written in Chinese without spaces between words."""


class WordTokenizer(Tokenizer):
    """Words between ASCII white space; in unsegmented Chinese text, characters.

    >>> t = WordTokenizer.train(["the cat sat", "the cat slept"], WordConfig(min_count=1))
    >>> t.encode(["the cat"]).ids
    array([0, 3, 2, 0], dtype=int32)
    >>> t.decode([3, 2])
    'the cat'
    """

    kind = "word"
    Config = WordConfig

    @classmethod
    def train(cls, units: Sequence[str], config: WordConfig) -> Self:
        return cls._train(units, config)[0]

    @classmethod
    def train_and_encode(cls, units: Sequence[str], config: WordConfig) -> tuple[Self, Tokens]:
        """Words are numbered while they are counted, and the numbers exchanged for ids when the vocabulary is known."""
        tokenizer, parts = cls._train(units, config)
        return tokenizer, tokenizer._tokens_of(*exchange(parts, tokenizer._ids_by_word), len(units))

    @classmethod
    def _train(cls, units: Sequence[str], config: WordConfig) -> tuple[Self, list[Numbered]]:
        """The tokenizer, and the words of the units by the numbers under which they were counted."""
        if not units:
            raise CorpusError("There is no text to train on: not one sentence was given.")
        han = is_unsegmented_han(units) if config.han is None else config.han
        parts = number_words(units, lower=config.lower, han=han)
        counts = total(parts)
        least = config.min_count
        if least is None:
            least = 1 if UNKNOWN in counts else 2
        config = WordConfig(least, config.size, config.lower, han)
        return cls(config, Vocabulary.from_counts(counts, min_count=least, size=config.size)), parts

    def words(self, units: Sequence[str]) -> list[str]:
        """All words of all units as they are written, NUL between units."""
        return split_words(units, lower=self.config.lower, han=bool(self.config.han))

    @cached_property
    def _ids_by_word(self) -> dict[str, int]:
        return _Table({**self.vocabulary.ids, NUL: 0})

    @cached_property
    def _word_table(self) -> WordTable:
        from lmbench.corpus.wordtable import WordTable

        return WordTable(self.vocabulary.types, unknown=1)

    def encode(self, units: Sequence[str]) -> Tokens:
        if is_small(units):
            return super().encode(units)
        found = look_up(self._word_table, units, lower=self.config.lower, han=bool(self.config.han))
        return self._tokens_of(*found, len(units))

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        words = [*self.words(units), NUL]
        return np.fromiter(map(self._ids_by_word.__getitem__, words), np.int32, len(words))

    def decode(self, ids: Iterable[int]) -> str:
        types = self.vocabulary.types
        return ("" if self.config.han else " ").join([types[i] for i in ids])

    def is_lossless(self, units: Sequence[str], encoded: Tokens) -> bool:
        if encoded.lossless is not None:
            return encoded.lossless
        written = sum(word == UNKNOWN for word in self.words(units))
        return encoded.unknowns == written and super().is_lossless(units, encoded)


class _Table(dict[str, int]):
    """word -> id, that of ``<unk>`` for every other word; looking one up adds nothing."""

    def __missing__(self, word: str) -> int:
        return 1


@dataclass(frozen=True)
class CharConfig:
    """How text becomes characters."""

    min_count: int = 1
    """Characters seen fewer times in the training split become <unk>."""
    size: int | None = None
    """At most so many types, </s> and <unk> included; None for no limit."""


class CharTokenizer(Tokenizer):
    """One Unicode code point a token; characters not in the training split are ``<unk>``."""

    kind = "char"
    Config = CharConfig

    @classmethod
    def train(cls, units: Sequence[str], config: CharConfig) -> Self:
        points = _code_points(units)
        counts = np.zeros(int(points.max()) + 1, np.int64)
        for first in range(0, len(points), 1 << 20):  # numpy counts a copy of what it is given, in 64 bits
            found = np.bincount(points[first : first + (1 << 20)])
            counts[: len(found)] += found
        seen = {chr(point): int(counts[point]) for point in np.flatnonzero(counts).tolist() if point}
        return cls(config, Vocabulary.from_counts(seen, min_count=config.min_count, size=config.size))

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.ones(0x110000, np.int32)
        for character, i in self.vocabulary.ids.items():
            if i > 1:
                table[ord(character)] = i
        table[0] = 0
        return table

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        return self._table[_code_points(units)]

    def decode(self, ids: Iterable[int]) -> str:
        types = self.vocabulary.types
        return "".join([types[i] for i in ids])

    def is_lossless(self, units: Sequence[str], encoded: Tokens) -> bool:
        return encoded.unknowns == 0  # every other id is its character


def _code_points(units: Sequence[str]) -> np.ndarray:
    return np.frombuffer(NUL.join([*units, ""]).encode("utf-32-le"), np.uint32)


@dataclass(frozen=True)
class ByteConfig:
    """Bytes have nothing to configure."""


class ByteTokenizer(Tokenizer):
    """The UTF-8 bytes of the text. V is 256: byte 0, which text never holds, is the boundary."""

    kind = "byte"
    Config = ByteConfig

    @classmethod
    def train(cls, units: Sequence[str], config: ByteConfig) -> Self:
        counts = np.bincount(np.frombuffer(NUL.join(units).encode(), np.uint8), minlength=256)
        counts[0] = 0
        return cls(config, Vocabulary(("</s>", *(f"<0x{b:02X}>" for b in range(1, 256))), None, counts))

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        return np.frombuffer(NUL.join([*units, ""]).encode(), np.uint8).astype(np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        values = ids if isinstance(ids, np.ndarray) else list(ids)
        return np.array(values, np.uint8).tobytes().decode("utf-8", "replace")

    def is_lossless(self, units: Sequence[str], encoded: Tokens) -> bool:
        return True

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [chr(i) if 32 <= i < 127 else self.vocabulary.types[i] for i in ids]


@dataclass(frozen=True)
class BPEConfig:
    """How byte-pair merges are learned."""

    size: int = 4096
    """Types in all: the boundary, 256 bytes and the merges learned from the training split."""


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding (Sennrich et al. 2016), trained with Hugging Face ``tokenizers``.

    Every text can be written and read back, so there is no ``<unk>``.
    """

    kind = "bpe"
    Config = BPEConfig

    def __init__(self, config: BPEConfig, vocabulary: Vocabulary, model: str) -> None:
        from tokenizers import Tokenizer as HuggingFaceTokenizer

        super().__init__(config, vocabulary)
        self._model = HuggingFaceTokenizer.from_str(model)

    @classmethod
    def train(cls, units: Sequence[str], config: BPEConfig) -> Self:
        from tokenizers import Tokenizer as HuggingFaceTokenizer
        from tokenizers import decoders, models, pre_tokenizers, trainers

        if config.size < 257:
            raise UsageError(f"bpe needs a size of at least 257 (256 bytes and the boundary), not {config.size}.")
        bpe = HuggingFaceTokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=config.size - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        bpe.train_from_iterator(units, trainer)
        return cls(config, cls._vocabulary(bpe), bpe.to_str())

    @staticmethod
    def _vocabulary(model: Any) -> Vocabulary:
        # The library's ids are shifted by one: 0 is our boundary, which it need not know.
        return Vocabulary(("</s>", *(model.id_to_token(i) for i in range(model.get_vocab_size()))), None)

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        parts: list[int] = []
        for encoding in self._model.encode_batch_fast(units, add_special_tokens=False):
            parts.extend(encoding.ids)
            parts.append(-1)
        return np.array(parts, np.int32) + 1

    def decode(self, ids: Iterable[int]) -> str:
        return self._model.decode([int(i) - 1 for i in ids], skip_special_tokens=False)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return ["</s>" if i == 0 else self.decode([i]) for i in ids]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "types": None, "counts": None, "model": json.loads(self._model.to_str())}

    @classmethod
    def _restore(cls, state: Mapping[str, Any]) -> Self:
        from tokenizers import Tokenizer as HuggingFaceTokenizer

        model = json.dumps(state["model"])
        return cls(cls.Config(**state["config"]), cls._vocabulary(HuggingFaceTokenizer.from_str(model)), model)


TOKENIZERS: dict[str, type[Tokenizer]] = {
    t.kind: t for t in (WordTokenizer, CharTokenizer, ByteTokenizer, BPETokenizer, HuggingFaceTokenizer)
}


def train_tokenizer(spec: str, units: Sequence[str]) -> Tokenizer:
    """The tokenizer that ``spec`` names (``word``, ``char``, ``byte``, ``bpe:size=8000``), trained on ``units``.

    Raises UsageError for a name or setting that does not exist.
    """
    kind, config = _configure(spec)
    return kind.train(units, config)


def train_and_encode(spec: str, units: Sequence[str]) -> tuple[Tokenizer, Tokens]:
    """``train_tokenizer``, and the ``units`` encoded: cheaper together than one after the other."""
    kind, config = _configure(spec)
    return kind.train_and_encode(units, config)


def _configure(spec: str) -> tuple[type[Tokenizer], Any]:
    name, settings = specification.parse(spec)
    if name not in TOKENIZERS:
        raise unknown_name("tokenizer", name, TOKENIZERS)
    return TOKENIZERS[name], specification.configure(name, TOKENIZERS[name].Config, settings)


def tokenizer_from_dict(state: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that ``Tokenizer.to_dict`` described."""
    return TOKENIZERS[state["kind"]]._restore(state)
