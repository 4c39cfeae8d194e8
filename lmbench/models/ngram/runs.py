"""Token ids -> ``Counts`` in files, equal to those of ``counting.count``, within a given memory.

The text is cut into pieces that are counted in memory; the counts of a piece are a *run*, kept in a file of its own.
``merging`` makes one of them all.

A finished run is never made again: a count that was killed goes on after the last of them. The disk holds 16 bytes for
each n-gram of each run, 4 more for those of two orders at a time, and in the end 20 for each n-gram of the whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.errors import UsageError
from lmbench.models.arrays import map_arrays
from lmbench.models.ngram.counting import Counts, GramCounts, count
from lmbench.models.ngram.merging import NAMES, merge, open_array, path_of, remove
from lmbench.models.ngram.recursion import Allocate
from lmbench.training.checkpoints import write_arrays, write_json

MANIFEST = "counting.json"
VERSION = 1
"""Raised when runs are written otherwise than before."""
RESERVE = 192 << 20
"""Bytes that are kept free, at most half of what is given: for the interpreter, its modules, what reading has left."""
FIXED = 40
"""Bytes of memory that counting needs for each type of the vocabulary."""


def count_in_runs(
    ids: np.ndarray,
    vocabulary_size: int,
    order: int,
    memory_bytes: int,
    folder: Path,
    advance: Callable[[float], None] = lambda share: None,
) -> Counts:
    """``count(ids, vocabulary_size, order)``, its arrays mapped from files in ``folder``.

    ``ids``: int32 (N,), best a memmap. ``memory_bytes``: what the process may hold beside mapped files and the
    vocabulary. ``folder``: made where it is missing; what a count of the same text left there is used, any
    other removed. ``advance``: told the share of the work that is done. Raises UsageError where order or memory are
    too small, or the text holds more than 2^31 - 1 tokens.
    """
    if order < 1:
        raise UsageError(f"The order of an n-gram model must be at least 1, not {order}.")
    if len(ids) > np.iinfo(np.int32).max:
        raise UsageError(f"At most {np.iinfo(np.int32).max:,} tokens can be counted, and there are {len(ids):,}.")
    free = memory_bytes - min(RESERVE, memory_bytes // 2)
    length = (free - FIXED * vocabulary_size) // _per_token(order)
    if length < order:
        least = 2 * (FIXED * vocabulary_size + order * _per_token(order))
        raise UsageError(
            f"{memory_bytes:,} bytes of memory are too few to count {order}-grams of {vocabulary_size:,} types: "
            f"{least:,} are the least, and some hundred megabytes make it quick. Raise --memory."
        )
    pieces = _pieces(len(ids), order, length)
    state: dict[str, Any] = {
        "version": VERSION,
        "tokens": len(ids),
        "sha256": _sha256(ids),
        "vocabulary_size": vocabulary_size,
        "order": order,
        "piece_tokens": min(length, len(ids)),
    }
    kept = _read_manifest(folder)
    if {**kept, "opening": None} != {**state, "opening": None}:
        clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MANIFEST, state)
        kept = state
    if kept.get("opening") is None:
        runs = _count_pieces(ids, vocabulary_size, order, pieces, folder, advance)
        opening = merge(runs, vocabulary_size, free, folder, advance)
        write_json(folder / MANIFEST, {**state, "opening": opening})
        kept = {"opening": opening}
    remove(folder, "run-*", "map-*", ".*.part")
    orders = [_mapped(folder, k, opening) for k, opening in enumerate(kept["opening"], 1)]
    advance(1.0)
    return Counts(tuple(orders), order, vocabulary_size)


def memory_in_bytes(text: str) -> int:
    """``2G``, ``500M``, ``1.5GB`` -> bytes, by powers of 1024. Raises UsageError for anything else.

    >>> memory_in_bytes("1.5G")
    1610612736
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?", text.strip().lower())
    if not found or not float(found[1]):
        raise UsageError(f"The memory '{text}' is no size. Write for example 2G, 500M or 1.5GB.")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2] or " "))


def clear(folder: Path) -> None:
    """Remove what ``count_in_runs`` and ``scratch`` wrote to ``folder``, and the folder if it is empty then.

    Arrays that are still in use stay readable, and their space is free when they are gone.
    """
    remove(folder, MANIFEST, "run-*", "map-*", "scratch-*", "*.i32", ".*.part")
    with suppress(OSError):
        folder.rmdir()


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        kept = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _sha256(ids: np.ndarray) -> str:
    digest = hashlib.sha256()
    for first in range(0, len(ids), 1 << 22):
        digest.update(np.ascontiguousarray(ids[first : first + (1 << 22)], np.int32).data)
    return digest.hexdigest()


# Pieces of the text -> runs ----------------------------------------------------------------------------------


def _per_token(order: int) -> int:
    """Bytes that ``count`` needs for each token.

    The arrays of ``GramCounts`` take 20 for each order if all n-grams are distinct; ids, numbers, places, contexts and
    words of the present order, old and new for a moment, are the rest.
    """
    return 20 * (order - 1) + 40


def _pieces(tokens: int, order: int, length: int) -> list[tuple[slice, int]]:
    """The piece for each run: the tokens it looks at, and how many of the first of them are only history."""
    events = [*range(1, tokens, length), tokens]
    histories = [min(first, max(1, order - 1)) for first in events[:-1]]
    return [(slice(a - h, b), h) for (a, b), h in zip(pairwise(events), histories, strict=True)]


def _count_pieces(
    ids: np.ndarray,
    vocabulary_size: int,
    order: int,
    pieces: Sequence[tuple[slice, int]],
    folder: Path,
    advance: Callable[[float], None],
) -> list[dict[str, np.ndarray]]:
    """The runs, as their files' arrays by name and order."""
    runs = []
    for number, (piece, history) in enumerate(pieces):
        path = folder / f"run-{number}.safetensors"
        try:
            run = map_arrays(path)
        except (OSError, ValueError, KeyError):  # not there, or cut off
            text = np.array(ids[piece], np.int32)
            counts = count(text, vocabulary_size, order)
            _take_off(counts, text[:history])
            arrays = {f"{n}.{k}": getattr(grams, n) for k, grams in enumerate(counts.orders, 1) for n in NAMES}
            write_arrays(path, arrays)
            del counts, arrays
            run = map_arrays(path)
        runs.append(run)
        advance(0.5 * (number + 1) / len(pieces))
    return runs


def _take_off(counts: Counts, history: np.ndarray) -> None:
    """Take the n-grams within ``history``, int32 (h,), off ``raw``: the piece before has counted them."""
    for first in range(len(history)):
        number = int(history[first])
        if first:  # as history alone it is not counted
            counts.orders[0].raw[number] -= 1
        for grams, word in zip(counts.orders[1:], history[first + 1 :].tolist(), strict=False):
            begin, end = grams.begins[number : number + 2].tolist()
            number = begin + int(np.searchsorted(grams.words[begin:end], word))
            grams.raw[number] -= 1
            if word == 0:
                break


# Arrays in files -------------------------------------------------------------------------------------------


def scratch(folder: Path) -> Allocate:
    """``np.empty`` in files of ``folder`` that have no name any more: they vanish with the arrays, whatever happens."""
    numbers = itertools.count()

    def allocate(length: int, kind: Any) -> np.ndarray:
        if length == 0:
            return np.empty(0, kind)
        path = folder / f"scratch-{next(numbers)}"
        array = np.memmap(path, kind, "w+", shape=(length,))
        with suppress(OSError):  # where a file in use keeps its name, clear takes it away
            path.unlink()
        return np.asarray(array)

    return allocate


@dataclass(frozen=True)
class _MappedGrams(GramCounts):
    """``GramCounts`` in files of ``folder``, and what is made of them too."""

    folder: Path

    @property
    def adjusted(self) -> np.ndarray:
        result = scratch(self.folder)(len(self), np.int32)
        result[: self.opening], result[self.opening :] = self.raw[: self.opening], self.left[self.opening :]
        return result


def _mapped(folder: Path, k: int, opening: int) -> GramCounts:
    begins, words, raw, left, suffix = (
        open_array(path_of(folder, n, k)) for n in ("begins", "words", "raw", "left", "suffix")
    )
    return _MappedGrams(begins, words, raw, left, suffix, opening, folder)
