"""An n-gram model -> an ARPA file, plain or ``.gz``, that every program of the field reads.

Numbers have nine significant digits, so what is read back is the same to the last bit. The n-grams of an order stand
by context and last word, in the order of the vocabulary; with each stand its context and its suffix one order below.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lmbench.compiled import in_threads, threads
from lmbench.corpus.vocabulary import UNKNOWN
from lmbench.errors import ModelError
from lmbench.models.base import LanguageModel
from lmbench.models.ngram.arpa import CLOSED, START
from lmbench.models.ngram.arpa.lines import ZERO, format_lines
from lmbench.models.ngram.arpa.words import written
from lmbench.models.ngram.table import Table
from lmbench.training.checkpoints import atomic

LN10 = float(np.log(10))
CHUNK = 1 << 15
"""N-grams turned into lines at a time, by each thread."""
NUMBER = 26
"""Bytes that a number and what separates it take at most."""
COMPRESSION = 4
"""Level of gzip: as small as the usual 6 within some percent, in half the time."""


def write_arpa(path: str | Path, model: LanguageModel) -> list[int]:
    """Write the n-grams of ``model`` to ``path``, whole or not at all; gives how many there are of each order.

    White space inside a token, as in a model of characters, is written as its code point: ``<U+0020>``. Raises
    ModelError where the model is none of n-grams, or where its words cannot stand in such a file.
    """
    path, table = Path(path), getattr(model, "table", None)
    if not isinstance(table, Table):
        raise ModelError(
            f"A {model.kind} model cannot be written as ARPA: only n-grams with backoff weights stand in such a file."
        )
    words = _written_words(model)
    counts = [len(grams) for grams in table.orders]
    while counts[-1] == 0 and not table.orders[len(counts) - 2].log_backoffs.any():
        counts.pop()  # an order without n-grams that changes nothing
    counts[0] = len(words)
    with atomic(path) as temporary, _open(temporary, path.suffix == ".gz") as file:
        announced = "".join(f"ngram {k}={count}\n" for k, count in enumerate(counts, 1))
        file.write(f"\\data\\\n{announced}".encode())
        lines = _Lines(words)
        for k in range(1, len(counts) + 1):
            file.write(f"\n\\{k}-grams:\n".encode())
            for block in _unigrams(table, lines, len(counts)) if k == 1 else _longer(table, k, lines, len(counts)):
                file.write(block)
        file.write(b"\n\\end\\\n")
    return counts


def _written_words(model: LanguageModel) -> list[str]:
    """The types by id as they are written, then ``<s>``, and ``<unk>`` where the model has none."""
    types = model.tokenizer.vocabulary.types
    words = [written(word) for word in types]
    words.append(START)
    if model.tokenizer.vocabulary.unknown is None:
        words.append(UNKNOWN)
    if len(set(words)) < len(words) or "" in words:
        wrong = next((word for word in words if words.count(word) > 1), "")
        raise ModelError(
            f"The vocabulary holds '{wrong}' as a word, which has a meaning of its own in an ARPA file. Train without "
            "it: remove it from the text, or have it replaced."
        )
    return words


class _Lines:
    """Words as bytes, one after the other; n-grams of them -> lines."""

    def __init__(self, words: Sequence[str]) -> None:
        encoded = [word.encode("utf-8", "surrogateescape") for word in words]
        self.letters = np.frombuffer(bytearray(b"".join(encoded)), np.uint8)
        self.starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(word) for word in encoded], out=self.starts[1:])
        self.lengths = np.diff(self.starts)

    def __call__(self, words: np.ndarray, log_probs: np.ndarray, log_backoffs: np.ndarray) -> memoryview:
        """``words``: int32 (k, n). ``log_probs``: (n,), nats; ``log_backoffs``: (n,), or (0,) at the highest order."""
        size = int(self.lengths[words].sum()) + (len(words) + 2 * NUMBER) * words.shape[1]
        buffer = np.empty(size, np.uint8)
        used = format_lines(
            np.ascontiguousarray(words),
            np.minimum(_log10(log_probs), 0.0),  # rounding may leave a certain word above 0, which readers refuse
            _log10(log_backoffs),
            self.letters,
            self.starts,
            buffer,
        )
        return buffer[:used].data


def _log10(nats: np.ndarray) -> np.ndarray:
    """float64 (n,), ``ZERO`` for minus infinity."""
    values = nats.astype(np.float64) / LN10
    if np.isnan(values).any() or (values == np.inf).any():
        raise ModelError("The model holds a probability that is no number, so it cannot be written. Train it again.")
    return np.where(np.isinf(values), ZERO, values)


def _unigrams(table: Table, lines: _Lines, highest: int) -> Iterator[memoryview]:
    """``<unk>``, ``<s>``, ``</s>``, then the other words by id."""
    grams, size, written = table.orders[0], table.vocabulary_size, len(lines.lengths)
    words = np.concatenate(([written - 1 if written > size + 1 else 1, size, 0], np.arange(size)))
    words = words[np.sort(np.unique(words, return_index=True)[1])].astype(np.int32)  # each at its first place
    log_probs = np.concatenate((grams.log_probs, [ZERO * LN10, CLOSED * LN10]))[words]
    log_backoffs = np.empty(0)
    if highest > 1:
        log_backoffs = np.concatenate(([0.0], grams.log_backoffs[1:], [grams.log_backoffs[0], 0.0]))[words]
    for first in range(0, len(words), CHUNK):
        part = slice(first, first + CHUNK)
        yield lines(words[None, part], log_probs[part], log_backoffs[part])


def _longer(table: Table, order: int, lines: _Lines, highest: int) -> Iterator[memoryview]:
    """The n-grams of ``order``, read backwards from each to its contexts."""
    grams = table.orders[order - 1]
    parents = [shorter.context for shorter in table.orders[1:order]]  # of order 2, 3 ... order

    def block(first: int) -> memoryview:
        part = slice(first, min(first + CHUNK, len(grams)))
        words = np.empty((order, part.stop - first), np.int32)
        words[-1] = grams.words[part]
        numbers = parents[-1][part]
        for k in range(order - 1, 0, -1):
            words[k - 1] = table.orders[k - 1].words[numbers]
            numbers = parents[k - 2][numbers] if k > 1 else numbers
        words[0, words[0] == 0] = table.vocabulary_size  # as history the boundary is <s>
        return lines(words, grams.log_probs[part], grams.log_backoffs[part] if order < highest else np.empty(0))

    step = CHUNK * threads()
    for begin in range(0, len(grams), step):
        yield from in_threads(block, range(begin, min(begin + step, len(grams)), CHUNK))


@contextmanager
def _open(path: Path, packed: bool) -> Iterator[BinaryIO]:
    """``path`` to write to, compressed where ``packed``: the same content gives the same bytes."""
    with open(path, "wb") as file:
        if not packed:
            yield file
            return
        with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as archive:
            yield archive  # type: ignore[misc]
