"""Model + batch -> the whole distribution before each target, in blocks that fit memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.models.base import Distributions, LanguageModel

CELLS = 1 << 21
"""Probabilities (N x V) in a block, at most; the distribution before one token at least."""


def distributions(model: LanguageModel, batch: Batch) -> Iterator[np.ndarray]:
    """float (N, V), nats, a block after the other: what ``model`` expects before each target of ``batch``, row by row.

    By the model's own ``distributions`` where it has one, else by ``next_log_probs`` of every prefix: each is then read
    anew, from the last boundary for models that do not look beyond it, and no further back than they look.
    """
    if isinstance(model, Distributions):
        yield from model.distributions(batch)
        return
    rows, columns = np.nonzero(batch.targets)
    begins, reach = np.zeros_like(columns), reach_of(model)
    if model.context == "sentence":
        boundaries = np.where(batch.ids == 0, np.arange(batch.ids.shape[1]), 0)
        begins = np.maximum.accumulate(boundaries, axis=1)[rows, columns - 1]
    if reach is not None:
        begins = np.maximum(begins, columns - reach)
    longest = int((columns - begins).max(initial=1))
    size = max(1, min(at_once(len(model.tokenizer.vocabulary)), CELLS // longest))
    for first in range(0, len(rows), size):
        places = zip(*(part[first : first + size].tolist() for part in (rows, begins, columns)), strict=True)
        yield model.next_log_probs(Batch.of_prefixes([batch.ids[row, begin:end] for row, begin, end in places]))


def reach_of(model: LanguageModel) -> int | None:
    """Tokens of a prefix that ``model`` needs to tell what follows, the last ones; None for all of them."""
    return None if model.context == "stream" or model.max_context is None else max(1, model.max_context)


def at_once(vocabulary_size: int) -> int:
    """Distributions over so many types that make a block."""
    return max(1, CELLS // vocabulary_size)


def in_order(batch: Batch, chunk: int | None) -> Iterator[Batch]:
    """The batch, or each of its rows, if a model that reads ``chunk`` columns of all rows at once would answer it in
    another order than row by row."""
    if chunk is None or batch.ids.shape[1] - 1 <= chunk:
        yield batch
        return
    for row, length in enumerate(batch.lengths.tolist()):
        yield Batch(
            batch.ids[row : row + 1, :length], batch.targets[row : row + 1, :length], batch.lengths[row : row + 1]
        )


def in_blocks(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in blocks of ``size`` each, but for the last.

    >>> [len(block) for block in in_blocks(iter([np.zeros((3, 2)), np.zeros((4, 2))]), 5)]
    [5, 2]
    """
    kept: list[np.ndarray] = []
    held = 0
    for part in parts:
        kept.append(part)
        held += len(part)
        while held >= size:
            rows = np.concatenate(kept) if len(kept) > 1 else kept[0]
            yield rows[:size]
            kept, held = [rows[size:]], held - size
    if held:
        yield np.concatenate(kept)
