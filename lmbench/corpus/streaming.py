"""A text file larger than memory -> token ids on disk, split as ``load_corpus`` splits it, read a block at a time.

The text is read three times: its lines are counted, which says where the splits lie; its words are counted, which gives
the vocabulary; its ids are written. What was done is written down beside the ids, so that none of it is done again
after a training was cut off. It is read once more to be scored: the held-out fifth of it is then held in memory.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from lmbench import specification
from lmbench.corpus import reading, scanning
from lmbench.corpus.batches import Tokens
from lmbench.corpus.segmentation import is_unsegmented_han
from lmbench.corpus.splitting import BLOCKS, PERIOD
from lmbench.corpus.text import SPLITS, Corpus, Split
from lmbench.corpus.tokenizers import (
    TOKENIZERS,
    ByteConfig,
    ByteTokenizer,
    Tokenizer,
    WordConfig,
    WordTokenizer,
    tokenizer_from_dict,
)
from lmbench.corpus.vocabulary import BOUNDARY, UNKNOWN, Vocabulary
from lmbench.errors import CorpusError, UsageError, unknown_name

BLOCK = 1 << 22
"""Bytes of text that are read at a time."""
MANIFEST = "text.json"
HELD_OUT = {PERIOD // 2 - 1: "valid", PERIOD - 1: "test"}
"""Block of each ten -> its split, as in ``splitting``."""


def lines_of(path: Path, block: int = BLOCK) -> Iterator[list[str]]:
    """The sentences of ``path``, normalised as ``reading.sentences`` does and without blank ones, block by block.

    Raises CorpusError as ``reading`` does where the file cannot be read or is no text, except that lines
    may not be ended by carriage returns alone.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    rest, before = "", 0  # what is left of the last block, and the lines before it
    with _opened(path) as file:
        while True:
            data = _read(file, block, path)
            where = data.find(b"\0")
            if where >= 0:
                line = before + data.count(b"\n", 0, where) + 1
                raise CorpusError(f"{path} is no text file: line {line:,} holds the byte NUL. Name a plain text file.")
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                line = before + error.object.count(b"\n", 0, error.start) + 1
                raise CorpusError(
                    f"{path} is not valid UTF-8: line {line:,} holds the byte 0x{error.object[error.start]:02X}. "
                    "Convert the file, for example with iconv -f LATIN1 -t UTF-8, or remove that byte."
                ) from None
            text = rest + (text if before or rest else text.removeprefix("\ufeff"))
            end = text.rfind("\n") + 1 if data else len(text)
            rest = text[end:]
            if not data and before == 0 and "\r" in text and "\n" not in text:
                raise CorpusError(
                    f"The lines of {path} are ended by carriage returns alone. Convert it: tr '\\r' '\\n' < '{path}'."
                )
            where_from = f"{path}, from line {before + 1:,} on" if before else path
            normal, _ = reading.sentences(text[:end], "drop", where_from)  # a carriage return is white space
            if normal:
                yield normal.split("\n")
            if not data:
                break
            before += data.count(b"\n")


def _opened(path: Path) -> IO[bytes]:
    """``path``, unpacked while it is read where its first bytes say that it is compressed."""
    openers: dict[str, Callable[[Path], IO[bytes]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}  # type: ignore[dict-item]
    try:
        with open(path, "rb") as file:
            opening = file.read(6)
        kind = next((suffix for suffix, magic in reading.COMPRESSED.items() if opening.startswith(magic)), None)
        return openers[kind](path) if kind else open(path, "rb")
    except FileNotFoundError:
        raise reading.missing(path) from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from None


def _read(file: IO[bytes], size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        raise CorpusError(f"{path} cannot be read to its end: {error}. Copy or download it again.") from None


@dataclass(frozen=True)
class _HeldOut(Corpus):
    """A corpus of which only the held-out splits are held; ``checksum`` is that of the whole."""

    checksum: str = field(default="", kw_only=True)

    @property
    def sha256(self) -> str:
        return self.checksum


@dataclass(frozen=True)
class StreamedTokens:
    """What ``Corpus.tokenize`` gives, its ids mapped from files. There are no ids of the test split."""

    tokenizer: Tokenizer
    train: Tokens
    valid: Tokens


@dataclass(frozen=True)
class StreamedCorpus:
    """One file of sentences, a line each, cut as ``load_corpus`` cuts it: every tenth of 100 blocks is valid, or test.

    ``path``: the file. ``folder``: where ids are kept, made where it is missing. ``lines``: sentences in the file.
    """

    path: Path
    folder: Path
    lines: int

    @classmethod
    def open(cls, path: Path, folder: Path) -> StreamedCorpus:
        """Look through ``path``. Raises CorpusError where it is no text, or too short to be split."""
        lines = sum(map(len, lines_of(path)))
        if lines < PERIOD:
            raise CorpusError(
                f"{path.name} is too small to split: {lines} lines, and at least {PERIOD} are needed to cut valid and "
                "test from it. Give more text."
            )
        return cls(path, folder, lines)

    @property
    def name(self) -> str:
        """As ``load_corpus`` names it."""
        name = self.path.resolve().name
        for suffix in (*reading.COMPRESSED, *sorted(reading.TEXT_SUFFIXES - {""})):
            name = name.removesuffix(suffix)
        return name or "text"

    def blocks(self) -> Iterator[list[tuple[str, int, list[str]]]]:
        """What is read at a time, cut into parts: split, number of the block of the 100, and lines of it, in order."""
        count = min(BLOCKS, self.lines)
        number, first = 0, 0  # of the block, and of the line
        for lines in lines_of(self.path):
            parts, begin = [], 0
            while begin < len(lines):
                end = begin + (number + 1) * self.lines // count - first
                part = lines[begin:end]
                parts.append((HELD_OUT.get(number % PERIOD, "train"), number, part))
                begin, first = begin + len(part), first + len(part)
                number += first == (number + 1) * self.lines // count
            yield parts

    def held_out(self) -> Corpus:
        """The corpus without its training text: what scoring needs. Equal to that of ``load_corpus``, checksum too."""
        held: dict[str, dict[int, list[str]]] = {"valid": {}, "test": {}}
        digest, last = hashlib.sha256(b"sentence\0train"), -1
        for split, number, lines in chain.from_iterable(self.blocks()):
            if split == "train":
                digest.update((("\n" if number == last else "\0") + "\n".join(lines)).encode())
                last = number
            else:
                held[split].setdefault(number, []).extend(lines)
        documents = {split: tuple("\n".join(lines) for lines in blocks.values()) for split, blocks in held.items()}
        for split in SPLITS[1:]:
            digest.update(f"\0{split}".encode())
            for document in documents[split]:
                digest.update(b"\0" + document.encode())
        train, valid, test = (Split(split, documents.get(split, ())) for split in SPLITS)
        return _HeldOut(self.name, train, valid, test, origin=str(self.path), checksum=digest.hexdigest())

    def tokenize(self, spec: str | None = None) -> StreamedTokens:
        """Train the tokenizer that ``spec`` names on the training split, and write the ids of train and valid.

        What an earlier call left in ``folder`` is used where it belongs to the same file and tokenizer. Raises
        UsageError for a tokenizer that cannot be trained block by block.
        """
        found = self.path.stat()
        state = {
            "path": str(self.path.resolve()),
            "bytes": found.st_size,
            "modified": found.st_mtime_ns,
            "lines": self.lines,
            "tokenizer": spec or "word",
        }
        kept = self._kept(state)
        if kept is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / MANIFEST).unlink(missing_ok=True)
            tokenizer = self._train(spec or "word")
            self._write(tokenizer)
            temporary = self.folder / f".{MANIFEST}.part"
            temporary.write_text(json.dumps({**state, "trained": tokenizer.to_dict()}), encoding="utf-8")
            temporary.replace(self.folder / MANIFEST)
        else:
            tokenizer = tokenizer_from_dict(kept)
        train, valid = (np.memmap(self.folder / f"{split}.i32", np.int32, "r+") for split in ("train", "valid"))
        return StreamedTokens(tokenizer, Tokens(train, tokenizer), Tokens(valid, tokenizer))

    def _kept(self, state: dict[str, Any]) -> dict[str, Any] | None:
        try:
            kept = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            trained = kept.pop("trained")
        except (OSError, ValueError, KeyError):
            return None
        return trained if kept == state else None

    def clear(self) -> None:
        """Remove what ``tokenize`` wrote, and the folder if it is empty then; ids in use stay readable."""
        with suppress(OSError):  # some systems keep files that are in use
            for name in (MANIFEST, f".{MANIFEST}.part", "train.i32", "valid.i32"):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()

    def _train(self, spec: str) -> Tokenizer:
        name, settings = specification.parse(spec)
        if name not in TOKENIZERS:
            raise unknown_name("tokenizer", name, TOKENIZERS)
        if name == "bpe":
            raise UsageError(
                "The merges of bpe are not learned block by block. Use word, char or byte, or leave --memory out."
            )
        kind = TOKENIZERS[name]
        config: Any = specification.configure(name, kind.Config, settings)
        if isinstance(config, WordConfig):
            return self._train_words(config)
        counts: Counter[str] = Counter()
        for lines in self._training_lines():
            seen = kind.train(lines, kind.Config()).vocabulary
            counts.update(dict(zip(seen.types, np.asarray(seen.counts).tolist(), strict=True)))
        if isinstance(config, ByteConfig):
            types = ByteTokenizer.train([], config).vocabulary.types
            return kind(config, Vocabulary(types, None, np.array([counts[byte] for byte in types])))
        del counts[BOUNDARY], counts[UNKNOWN]
        return kind(config, Vocabulary.from_counts(counts, min_count=config.min_count, size=config.size))

    def _train_words(self, config: WordConfig) -> Tokenizer:
        han = is_unsegmented_han(self._some()) if config.han is None else config.han
        counts: Counter[str] = Counter()
        for lines in self._training_lines():
            counts.update(scanning.total(scanning.number_words(lines, lower=config.lower, han=han)))
        least = config.min_count or (1 if UNKNOWN in counts else 2)
        vocabulary = Vocabulary.from_counts(counts, min_count=least, size=config.size)
        return WordTokenizer(WordConfig(least, config.size, config.lower, han), vocabulary)

    def _training_lines(self) -> Iterator[list[str]]:
        return filter(None, (_lines(parts, "train") for parts in self.blocks()))

    def _some(self, lines: int = 10_000) -> list[str]:
        """The first lines of the training split."""
        chosen: list[str] = []
        for part in self._training_lines():
            chosen += part
            if len(chosen) >= lines:
                break
        return chosen[:lines]

    def _write(self, tokenizer: Tokenizer) -> None:
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(open(self.folder / f"{split}.i32", "wb")) for split in ("train", "valid")
            }
            for file in files.values():
                np.zeros(1, np.int32).tofile(file)
            for parts in self.blocks():
                for split, file in files.items():
                    if lines := _lines(parts, split):
                        tokenizer.encode(lines).ids[1:].tofile(file)


def _lines(parts: list[tuple[str, int, list[str]]], wanted: str) -> list[str]:
    return [line for split, _, lines in parts if split == wanted for line in lines]


def can_be_streamed(path: Path) -> bool:
    """Whether ``path`` is a file of plain text: neither a folder, nor JSON lines, nor a grammar."""
    return path.is_file() and not {".jsonl", ".grammar"} & set(path.suffixes)
