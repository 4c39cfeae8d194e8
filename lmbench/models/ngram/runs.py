"""Token ids -> ``Counts`` in files, equal to those of ``counting.count``, within a given memory.

The text is cut into pieces that are counted in memory; the counts of a piece are a *run*, kept in a file of its own.
The runs are merged order by order. Once the (k-1)-grams of all runs have their numbers in the whole, a k-gram of a run
is the pair (number of its context in the whole, last word). Every run has its pairs in order, and one walk over them,
sorting as many as fit into memory at a time, gives the k-grams of the whole::

    run 0     (7, cat) (7, sat) (9, the)       numbers in a run and in the whole ascend together
    run 1     (7, dog) (7, sat)
    whole     (7, cat) (7, dog) (7, sat) (9, the)

A finished run is never made again: a count that was killed goes on after the last of them. The disk holds 16 bytes for
each n-gram of each run, 4 more for those of two orders at a time, and in the end 20 for each n-gram of the whole.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts, GramCounts, count
from lmbench.models.ngram.files import map_arrays, write_arrays
from lmbench.models.ngram.recursion import Allocate
from lmbench.training.checkpoints import write_json

MANIFEST = "counting.json"
NAMES = ("begins", "words", "raw", "suffix")
"""Arrays of an order that a run keeps."""
VERSION = 1
"""Raised when runs are written otherwise than before."""
RESERVE = 192 << 20
"""Bytes that are kept free, at most half of what is given: for the interpreter, its modules, what reading has left."""
FIXED = 40
"""Bytes of memory that counting needs for each type of the vocabulary."""
PER_ENTRY = 96
"""Bytes of memory that the merge needs for each n-gram it sorts."""


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
        "pieces": len(pieces),
    }
    kept = _read_manifest(folder)
    if {**kept, "opening": None} != {**state, "opening": None}:
        clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / MANIFEST, state)
        kept = state
    if kept.get("opening") is None:
        runs = _count_pieces(ids, vocabulary_size, order, pieces, folder, advance)
        opening = _merge(runs, vocabulary_size, free, folder, advance)
        write_json(folder / MANIFEST, {**state, "opening": opening})
        kept = {"opening": opening}
    _remove(folder, "run-*", "map-*", ".*.part")
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
    _remove(folder, MANIFEST, "run-*", "map-*", "scratch-*", "*.i32", ".*.part")
    with suppress(OSError):
        folder.rmdir()


def _remove(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(PermissionError):  # some systems keep files that are in use
                path.unlink(missing_ok=True)


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


# Runs -> the whole ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Runs:
    """One order of all runs that have it. By run: its arrays, and the numbers of its contexts in the whole."""

    begins: Sequence[np.ndarray]
    words: Sequence[np.ndarray]
    raw: Sequence[np.ndarray]
    suffix: Sequence[np.ndarray]
    contexts: Sequence[np.ndarray]

    def before(self, context: int) -> list[int]:
        """How many contexts of each run stand before that number."""
        return [int(np.searchsorted(numbers, context)) for numbers in self.contexts]

    def entries_before(self, context: int) -> int:
        """n-grams of all runs whose context stands before that number."""
        return sum(int(begins[i]) for begins, i in zip(self.begins, self.before(context), strict=True))


@dataclass(frozen=True)
class _Part:
    """The merged children of some contexts: begins, words, raw, suffix (numbers from 0), and each run's numbers."""

    begins: np.ndarray
    words: np.ndarray
    raw: np.ndarray
    suffix: np.ndarray
    numbers: Sequence[np.ndarray]


def _merge(
    runs: Sequence[dict[str, np.ndarray]],
    vocabulary_size: int,
    memory_bytes: int,
    folder: Path,
    advance: Callable[[float], None],
) -> list[int]:
    """Write the arrays of the whole to ``folder``; returns ``opening`` of each order."""
    types = np.arange(vocabulary_size, dtype=np.int32)
    for name, array in (
        ("begins", np.array([0, vocabulary_size], np.int32)),
        ("words", types),
        ("raw", np.sum([run["raw.1"] for run in runs], axis=0, dtype=np.int32)),
        ("suffix", np.zeros_like(types)),
    ):
        array.tofile(_path(folder, name, 1))
    _zeros(_path(folder, "left", 1), vocabulary_size)
    beginning, opening, limit = 1, [0], max(1, memory_bytes // (PER_ENTRY * threads()))
    highest = max(len(run) // len(NAMES) for run in runs)
    maps = {r: types for r in range(len(runs))}  # by run: numbers of its (k-1)-grams in the whole
    for k in range(2, highest + 1):
        here = [r for r, run in enumerate(runs) if f"words.{k}" in run]
        arrays = {name: [runs[r][f"{name}.{k}"] for r in here] for name in NAMES}
        order = _Runs(contexts=[maps[r] for r in here], **arrays)
        maps = {r: _mapped_array(folder / f"map-{k}-{r}", len(runs[r][f"words.{k}"])) for r in here}
        _merge_order(order, k, [maps[r] for r in here], limit, folder)
        beginning = int(_open(_path(folder, "begins", k))[beginning])
        opening.append(beginning)
        _remove(folder, f"map-{k - 1}-*")
        advance(0.5 + 0.5 * (k - 1) / (highest - 1))
    return opening


def _merge_order(runs: _Runs, k: int, maps: Sequence[np.ndarray], limit: int, folder: Path) -> None:
    """Write begins, words, raw, suffix and zeros as left of the k-grams, left of the (k-1)-grams, and fill ``maps``."""
    left = _open(_path(folder, "left", k - 1))
    size, written, done = len(left), 0, [0] * len(maps)
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(_path(folder, name, k), "wb")) for name in NAMES}
        np.zeros(1, np.int32).tofile(files["begins"])
        cuts = pairwise(_cuts(runs, size, limit))
        while group := [cut for _, cut in zip(range(threads()), cuts, strict=False)]:
            for part in in_threads(lambda edges: _merge_contexts(runs, *edges), group):
                (part.begins + np.int32(written)).tofile(files["begins"])
                for name in NAMES[1:]:
                    getattr(part, name).tofile(files[name])
                _add_one(left, part.suffix)
                for run, numbers in enumerate(part.numbers):
                    maps[run][done[run] : done[run] + len(numbers)] = numbers + np.int32(written)
                    done[run] += len(numbers)
                written += len(part.words)
    _zeros(_path(folder, "left", k), written)


def _cuts(runs: _Runs, contexts: int, limit: int) -> Iterator[int]:
    """0 ... ``contexts``, cut so that between two cuts lie at most ``limit`` n-grams of all runs, or one context."""
    cut = 0
    yield cut
    while cut < contexts:
        allowed = runs.entries_before(cut) + limit
        low, high = cut + 1, min(contexts, cut + limit)  # the last cut that does not go beyond what is allowed
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if runs.entries_before(middle) <= allowed else (low, middle - 1)
        cut = low
        yield cut


def _merge_contexts(runs: _Runs, first: int, last: int) -> _Part:
    """Merge the children of the contexts ``first`` to ``last - 1``."""
    keys, raw, suffix, sizes = [], [], [], []
    for run, (a, b) in enumerate(zip(runs.before(first), runs.before(last), strict=True)):
        begins = runs.begins[run][a : b + 1]
        mine = slice(int(begins[0]), int(begins[-1]))
        contexts = np.repeat(runs.contexts[run][a:b].astype(np.int64), np.diff(begins))
        keys.append(contexts << 32 | runs.words[run][mine])
        raw.append(runs.raw[run][mine])
        suffix.append(runs.contexts[run].take(runs.suffix[run][mine]))
        sizes.append(mine.stop - mine.start)
    key = np.concatenate(keys)
    del keys
    order = np.argsort(key, kind="stable")  # finds the ascending runs, and merges them
    key = key[order]
    new = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    numbers = np.empty(len(key), np.int32)
    numbers[order] = np.cumsum(new, dtype=np.int32) - 1
    children = np.bincount((key[starts] >> 32) - first, minlength=last - first)
    return _Part(
        begins=np.cumsum(children).astype(np.int32),
        words=(key[starts] & 0xFFFFFFFF).astype(np.int32),
        raw=np.add.reduceat(np.concatenate(raw)[order], starts, dtype=np.int32) if len(starts) else raw[0],
        suffix=np.concatenate(suffix)[order[starts]],
        numbers=np.split(numbers, np.cumsum(sizes)[:-1]),
    )


@compiled
def _add_one(counts, numbers):
    for i in range(len(numbers)):
        counts[numbers[i]] += 1


# Files -----------------------------------------------------------------------------------------------------------


def _path(folder: Path, name: str, order: int) -> Path:
    return folder / f"{name}-{order}.i32"


def _mapped_array(path: Path, length: int) -> np.ndarray:
    """int32 (length,), zeros in a new file."""
    return np.asarray(np.memmap(path, np.int32, "w+", shape=(length,)))


def _zeros(path: Path, length: int) -> None:
    _mapped_array(path, length)


def _open(path: Path) -> np.ndarray:
    return np.asarray(np.memmap(path, np.int32, "r+"))


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
        _open(_path(folder, n, k)) for n in ("begins", "words", "raw", "left", "suffix")
    )
    return _MappedGrams(begins, words, raw, left, suffix, opening, folder)
