"""Token ids -> ``Tokens`` (one flat array) -> ``Batch`` (padded rows) -> training rows.

::

    Tokens.ids   </s> the cat sat </s> it slept </s>          one array, one boundary symbol
    sentence     </s> the cat sat </s>                        a row of a Batch: history + events
    targets       -    x   x   x    x                         column 0 is never an event
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lmbench.errors import CorpusError

if TYPE_CHECKING:
    from lmbench.corpus.tokenizers import Tokenizer


@dataclass(frozen=True)
class Tokens:
    """One split as a flat array, and the tokenizer that made it.

    ``ids``: int32 (N,), ``</s> w w </s> w </s>``: opens and ends with the boundary (id 0). Every
    id but the first is an event, so N - 1 events. ``tokenizer``: text <-> ids. ``lossless``: whether
    the ids give the text back; None where that was not found out while encoding it.
    """

    ids: np.ndarray
    tokenizer: Tokenizer
    lossless: bool | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 1 or len(self.ids) < 2 or self.ids[0] != 0 or self.ids[-1] != 0:
            raise CorpusError("A token array must hold at least one unit between two boundaries (id 0).")

    @property
    def events(self) -> int:
        """Number of predicted tokens, boundaries included."""
        return len(self.ids) - 1

    @property
    def vocabulary_size(self) -> int:
        """V, boundary included."""
        return len(self.tokenizer.vocabulary)

    @cached_property
    def ends(self) -> np.ndarray:
        """int64 (S,): position in ``ids`` of the boundary that ends each unit."""
        return np.flatnonzero(self.ids[1:] == 0) + 1

    def sample(self, events: int) -> Batch:
        """The whole stream as one row, in which so many events are targets, evenly spread; all where there are fewer.

        >>> Tokens(np.array([0, 5, 6, 7, 8, 0], np.int32), None).sample(3).targets
        array([[False,  True, False,  True, False,  True]])
        """
        asked = np.zeros(len(self.ids), bool)
        asked[1 + np.linspace(0, self.events - 1, min(events, self.events)).astype(np.int64)] = True
        return Batch.of([self.ids], [asked])

    @property
    def hidden(self) -> np.ndarray:
        """bool (events,): which events are ``<unk>``."""
        unknown = self.tokenizer.vocabulary.unknown
        return self.ids[1:] == (-1 if unknown is None else unknown)

    @property
    def unknowns(self) -> int:
        """Events that are ``<unk>``."""
        return int(np.count_nonzero(self.hidden))

    def rows(self) -> list[np.ndarray]:
        """Each unit with the boundary before and after it, as views: S arrays of int32."""
        starts = np.concatenate(([0], self.ends[:-1]))
        return [self.ids[a : b + 1] for a, b in zip(starts, self.ends, strict=True)]


def checksum(*splits: Tokens) -> str:
    """SHA-256 of their ids, one after the other."""
    digest = hashlib.sha256()
    for tokens in splits:
        digest.update(np.ascontiguousarray(tokens.ids).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Batch:
    """Rows of token ids, right-padded, and which of them are asked for.

    ``ids``: int64 (B, T), padded with 0. ``targets``: bool (B, T), True where a log probability is
    wanted; column 0 is history only. ``lengths``: int64 (B,), tokens of each row before the padding.
    """

    ids: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], targets: Sequence[np.ndarray] | None = None) -> Batch:
        """Pad ``rows`` of ids; by default every token but the first of a row is a target.

        >>> Batch.of([np.array([0, 5, 0]), np.array([0, 7, 8, 0])]).targets.sum()
        np.int64(5)
        """
        lengths = np.array([len(row) for row in rows], np.int64)
        shape = (len(rows), int(lengths.max()) if len(rows) else 0)
        ids, wanted = np.zeros(shape, np.int64), np.zeros(shape, bool)
        for b, row in enumerate(rows):
            ids[b, : len(row)] = row
            wanted[b, : len(row)] = True if targets is None else targets[b]
        wanted[:, :1] = False
        return cls(ids, wanted, lengths)

    @classmethod
    def of_prefixes(cls, prefixes: Sequence[np.ndarray]) -> Batch:
        """Rows whose next token is asked for (``next_log_probs``): no targets inside them.

        Each prefix opens with the boundary: ``[0]`` is the start of a sentence.
        """
        return cls.of(prefixes, [np.zeros(len(prefix), bool) for prefix in prefixes])

    def last(self) -> np.ndarray:
        """int64 (B,): the column of each row's last token."""
        return self.lengths - 1

    def rows(self) -> list[np.ndarray]:
        """Each row without its padding, as views: B arrays of int64."""
        return [row[:length] for row, length in zip(self.ids, self.lengths, strict=True)]

    @cached_property
    def inside(self) -> np.ndarray:
        """bool (B, T): where a token stands, and no padding."""
        return np.arange(self.ids.shape[1]) < self.lengths[:, None]

    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """All N tokens, row after row, int64 (N,), and where rows begin, bool (N,).

        >>> Batch.of([np.array([0, 5, 0]), np.array([0, 7])]).joined()[0]
        array([0, 5, 0, 0, 7])
        """
        starts = np.zeros(self.ids.shape, bool)
        starts[:, :1] = True
        if self._full:
            return self.ids.ravel(), starts.ravel()
        return self.ids[self.inside], starts[self.inside]

    def spread(self, values: np.ndarray) -> np.ndarray:
        """What ``values``, (N,), say of the tokens of ``joined``, where they stand: (B, T), 0 in the padding."""
        if self._full:
            return values.reshape(self.ids.shape)
        result = np.zeros(self.ids.shape, values.dtype)
        result[self.inside] = values
        return result

    @cached_property
    def _full(self) -> bool:
        """Whether there is no padding, so that rows are joined without being copied."""
        return bool((self.lengths == self.ids.shape[1]).all())


def contiguous_rows(tokens: Tokens, rows: int) -> np.ndarray:
    """Cut the stream into ``rows`` long rows of equal length: int64 (rows, L).

    The remainder (fewer than ``rows`` tokens) is dropped for training only; scoring never drops.
    Row r ends with the token that row r + 1 begins with, so no event is lost between them.
    """
    rows = max(1, min(rows, tokens.events))
    length = tokens.events // rows
    starts = np.arange(rows)[:, None] * length
    return tokens.ids[starts + np.arange(length + 1)[None, :]].astype(np.int64)


def windows(tokens: Tokens, length: int, rows: int, order: np.ndarray, offset: int = 0) -> Iterator[np.ndarray]:
    """Windows of ``length`` events as int64 (rows, length + 1), visited in the given ``order``.

    ``order`` permutes the ``(events - offset) // length`` windows that start at ``offset``.
    """
    for first in range(0, len(order) - rows + 1, rows):
        starts = offset + order[first : first + rows, None] * length
        yield tokens.ids[starts + np.arange(length + 1)[None, :]].astype(np.int64)


class TrainingRows:
    """The training stream cut into steps of int64 (B, L + 1): B rows, L events each.

    In order (``shuffled=False``) the stream is cut into B long rows that are read side by side, so that a
    recurrent state runs on from step to step; the last step of a pass may be shorter. ``varied``: each cut is moved by
    up to a quarter of L, anew for each pass, so that no event always comes first. Shuffled, the stream is cut into
    windows that stand alone, in an order and from an offset that are drawn anew for each pass from ``seed``.
    ``steps``: steps in a pass; ``batch_size``: rows in a step, fewer than were asked for where the text is short.
    """

    def __init__(
        self,
        tokens: Tokens,
        batch_size: int,
        sequence_length: int,
        *,
        shuffled: bool,
        seed: int,
        varied: bool = False,
    ) -> None:
        self.tokens, self.shuffled, self.seed, self.varied = tokens, shuffled, seed, varied
        self.length = min(sequence_length, tokens.events)
        if shuffled:
            self.count = max(1, (tokens.events - self.length + 1) // self.length)  # room to begin anywhere
            self.batch_size = min(batch_size, self.count)
            self.steps = self.count // self.batch_size
        else:
            self.rows = contiguous_rows(tokens, batch_size)
            self.batch_size = len(self.rows)
            self.steps = -(-(self.rows.shape[1] - 1) // self.length)

    def epoch(self, number: int, first: int = 0) -> Iterator[np.ndarray]:
        """The steps of pass ``number`` from step ``first`` on."""
        if not self.shuffled:
            for start, end in pairwise(self._cuts(number)[first:].tolist()):
                yield self.rows[:, start : end + 1]
            return
        random = np.random.default_rng([self.seed, number])
        order = random.permutation(self.count)
        offset = int(random.integers(min(self.length, self.tokens.events - self.count * self.length + 1)))
        yield from windows(self.tokens, self.length, self.batch_size, order[first * self.batch_size :], offset)

    def _cuts(self, number: int) -> np.ndarray:
        """int64 (steps + 1,): where the steps of pass ``number`` begin in the rows, and where the last one ends."""
        end = self.rows.shape[1] - 1
        cuts = np.minimum(np.arange(self.steps + 1) * self.length, end)
        if self.varied:
            random, reach = np.random.default_rng([self.seed, number]), self.length // 4
            cuts[1:-1] = np.minimum(cuts[1:-1] + random.integers(-reach, reach + 1, self.steps - 1), end - 1)
        return cuts
