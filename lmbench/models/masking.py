"""Tokens -> words -> what is hidden of them, in training and in scoring, for a model that reads both sides.

A word of several tokens betrays each of them by the others: "un" and "able" leave little else between them. So a token
is never asked for while the rest of its word stands to its right (Kauf & Ivanova 2023)::

    the  un##believ##able  cat        asked: ##believ
    the  un [mask]  [mask]  cat       the left of its word and all other words are seen, itself and what follows it
                                      in its word are not
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lmbench.corpus.batches import Batch

HELD_OUT_EVERY = 7
"""In validation every seventh token is drawn: always the same ones, about as many as BERT's 15 %."""


class Spread(NamedTuple):
    """Rows in which every sentence stands between boundaries of its own. ``ids`` int64 (B, T); ``sentence`` int64
    (B, T), equal within a sentence; ``events`` bool (B, T), True for each token of the rows but the first."""

    ids: Tensor
    sentence: Tensor
    events: Tensor


def spread(rows: Tensor) -> Spread:
    """int64 (B, L + 1) -> the same rows with each inner boundary written twice, padded with boundaries.

    >>> spread(torch.tensor([[5, 0, 6, 7, 0]]))._asdict()["ids"], spread(torch.tensor([[5, 0, 6, 7, 0]])).sentence
    (tensor([[5, 0, 0, 6, 7, 0]]), tensor([[0, 0, 1, 1, 1, 1]]))
    """
    inner = rows == 0
    inner[:, [0, -1]] = False
    columns = torch.arange(rows.shape[1], device=rows.device) + inner.cumsum(1) - inner.long()  # of the first copies
    length = rows.shape[1] + int(inner.sum(1).max())
    ids = rows.new_zeros(len(rows), length).scatter_(1, columns, rows)
    opening = rows.new_zeros(len(rows), length + 2)  # 1 where a sentence begins, or the padding
    opening.scatter_(1, torch.where(inner, columns + 1, length + 1), 1).scatter_(1, columns[:, -1:] + 1, 1)
    events = torch.zeros_like(ids, dtype=torch.bool).scatter_(1, columns, True)
    events[:, 0] = False
    return Spread(ids, opening[:, :length].cumsum(1), events)


def hide(rows: Spread, opens: Tensor, rate: float | None) -> tuple[Tensor, Tensor]:
    """What is hidden, and which of it is asked for: bool (B, T) both, at least one of them.

    Each event is drawn with probability ``rate``, anew at each call (Liu et al. 2019), or without a rate always in
    the same places; with it is hidden what follows it in its word. ``opens``: bool (V,), see ``word_openings``. The
    last token of a row is asked for only if it is a boundary: that nothing follows is then a sign of the end, as in
    scoring.
    """
    ids, _, events = rows
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    if rate is None:
        drawn = (places + 3 * torch.arange(len(ids), device=ids.device)[:, None]) % HELD_OUT_EVERY == 1
    else:
        drawn = torch.rand(ids.shape, device=ids.device) < rate
    last = places == (events * places).amax(1, keepdim=True)
    asked = events & ~(last & (ids != 0))
    drawn = drawn & asked
    first = opens[ids] | (ids == 0)
    first[:, 1:] |= ids[:, :-1] == 0
    word = torch.where(first, places, 0).cummax(1).values  # the place where the word of each token begins
    count = drawn.cumsum(1)
    hidden = count > (count - drawn.long()).gather(1, word)
    if not (hidden & asked).any():  # a very short row
        return events, events
    return hidden, hidden & asked


class Copies(NamedTuple):
    """One copy of its sentence for each token that is asked for, shortest first; int64 (N,) each.

    In ``row``, the token at ``column`` is asked for; the copy holds ``length`` tokens from ``start`` on, of which
    those from ``column`` to ``hidden_to`` are hidden.
    """

    row: np.ndarray
    column: np.ndarray
    start: np.ndarray
    length: np.ndarray
    hidden_to: np.ndarray


def masked_copies(batch: Batch, opens: np.ndarray, window: int) -> Copies:
    """The copies that answer ``batch``. A copy reaches from the boundary before its token to the one after it; where
    that is more than ``window`` tokens, it is the window in the middle of which the token stands."""
    ids, last = batch.ids, batch.lengths[:, None] - 1
    columns = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    boundary = (ids == 0) & (columns <= last)
    opening = opens[ids] | boundary | (columns > last)
    opening[:, 1:] |= boundary[:, :-1]
    row, column = np.nonzero(batch.targets)
    start = np.maximum.accumulate(np.where(boundary, columns, 0), 1)[row, column - 1]
    end = np.minimum(_next(boundary)[row, column], last[row, 0])
    after = np.concatenate((_next(opening), np.full((len(ids), 1), ids.shape[1])), 1)[row, column + 1]
    start = np.clip(column - window // 2, start, np.maximum(start, end - window + 1))
    length = np.minimum(end - start + 1, window)
    order = np.argsort(length, kind="stable")
    return Copies(*(part[order] for part in (row, column, start, length, np.minimum(after - 1, end))))


def in_parts(copies: Copies, cells: int) -> Iterator[Copies]:
    """Parts of equal length, so that nothing is padded, of at most so many ``cells``."""
    edges = [0, *(np.flatnonzero(np.diff(copies.length)) + 1), len(copies.length)]
    for first, last in pairwise(edges):
        size = max(1, cells // int(copies.length[first])) if last else 1
        for begin in range(first, last, size):
            yield Copies(*(part[begin : min(begin + size, last)] for part in copies))


def _next(marks: np.ndarray) -> np.ndarray:
    """The column of the first mark at or after each place, (B, T); T where there is none."""
    size = marks.shape[1]
    found = np.where(marks, np.arange(size), size)
    return np.minimum.accumulate(found[:, ::-1], 1)[:, ::-1]
