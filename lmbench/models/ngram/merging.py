"""Runs, the counts of the pieces of a text -> the arrays of the ``Counts`` of the whole, in files, order by order.

Once the (k-1)-grams of all runs have their numbers in the whole, a k-gram of a run is the pair (number of its context
in the whole, last word). Every run has its pairs in order, and one walk over them, sorting as many as fit into memory
at a time, gives the k-grams of the whole::

    run 0     (7, cat) (7, sat) (9, the)       numbers in a run and in the whole ascend together
    run 1     (7, dog) (7, sat)
    whole     (7, cat) (7, dog) (7, sat) (9, the)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from lmbench.compiled import compiled, in_threads, threads

NAMES = ("begins", "words", "raw", "suffix")
"""Arrays of an order that a run keeps."""
PER_ENTRY = 96
"""Bytes of memory that the merge needs for each n-gram it sorts."""


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


def merge(
    runs: Sequence[dict[str, np.ndarray]],
    vocabulary_size: int,
    memory_bytes: int,
    folder: Path,
    advance: Callable[[float], None],
) -> list[int]:
    """Write the arrays of the whole to ``folder``; returns ``opening`` of each order.

    ``runs``: of each the arrays ``begins.1``, ``words.1`` ... as ``GramCounts`` has them. ``advance`` is told the share
    of the whole count that is done, of which this is the second half.
    """
    types = np.arange(vocabulary_size, dtype=np.int32)
    for name, array in (
        ("begins", np.array([0, vocabulary_size], np.int32)),
        ("words", types),
        ("raw", np.sum([run["raw.1"] for run in runs], axis=0, dtype=np.int32)),
        ("suffix", np.zeros_like(types)),
    ):
        array.tofile(path_of(folder, name, 1))
    _zeros(path_of(folder, "left", 1), vocabulary_size)
    beginning, opening, limit = 1, [0], max(1, memory_bytes // (PER_ENTRY * threads()))
    highest = max(len(run) // len(NAMES) for run in runs)
    maps = {r: types for r in range(len(runs))}  # by run: numbers of its (k-1)-grams in the whole
    for k in range(2, highest + 1):
        here = [r for r, run in enumerate(runs) if f"words.{k}" in run]
        arrays = {name: [runs[r][f"{name}.{k}"] for r in here] for name in NAMES}
        order = _Runs(contexts=[maps[r] for r in here], **arrays)
        maps = {r: _mapped_array(folder / f"map-{k}-{r}", len(runs[r][f"words.{k}"])) for r in here}
        _merge_order(order, k, [maps[r] for r in here], limit, folder)
        beginning = int(open_array(path_of(folder, "begins", k))[beginning])
        opening.append(beginning)
        remove(folder, f"map-{k - 1}-*")
        advance(0.5 + 0.5 * (k - 1) / (highest - 1))
    return opening


def _merge_order(runs: _Runs, k: int, maps: Sequence[np.ndarray], limit: int, folder: Path) -> None:
    """Write begins, words, raw, suffix and zeros as left of the k-grams, left of the (k-1)-grams, and fill ``maps``."""
    left = open_array(path_of(folder, "left", k - 1))
    size, written, done = len(left), 0, [0] * len(maps)
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(path_of(folder, name, k), "wb")) for name in NAMES}
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
    _zeros(path_of(folder, "left", k), written)


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


def path_of(folder: Path, name: str, order: int) -> Path:
    """Where an array of an order lies."""
    return folder / f"{name}-{order}.i32"


def _mapped_array(path: Path, length: int) -> np.ndarray:
    """int32 (length,), zeros in a new file."""
    return np.asarray(np.memmap(path, np.int32, "w+", shape=(length,)))


def _zeros(path: Path, length: int) -> None:
    _mapped_array(path, length)


def open_array(path: Path) -> np.ndarray:
    """int32: the array in a file."""
    return np.asarray(np.memmap(path, np.int32, "r+"))


def remove(folder: Path, *patterns: str) -> None:
    """Remove the files whose names match one of ``patterns``."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            with suppress(PermissionError):  # some systems keep files that are in use
                path.unlink(missing_ok=True)
