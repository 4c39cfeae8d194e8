"""Model + texts -> ``Inspection``: for every token its surprisal, its rank, and how open the question was.

With p the distribution before a token w, over V types::

    surprisal   -ln p(w)                                 nats; what ``scorer.score`` sums up
    rank        1 + |{v: p(v) > p(w)}| + (ties - 1) / 2  1 for the likeliest; equal ones share the middle of their ranks
    entropy     -sum_v p(v) ln p(v)                      nats; the surprisal that the model itself expected

A model that reads both sides has surprisals only: it has no distribution of what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Line
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.corpus.words import word_starts, word_types, written_words
from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.distributions import distributions
from lmbench.scoring.conditioning import Asked, ask
from lmbench.scoring.scorer import by_length, check_fitted, check_nats, checked_nats


class Alternatives(NamedTuple):
    """The k likeliest types before each token, in falling order, equal ones by their ids. ``ids``: int32 (N, k);
    ``nats``: float64 (N, k), their surprisals."""

    ids: np.ndarray
    nats: np.ndarray


class Words(NamedTuple):
    """Tokens gathered to W words. ``written``: as they stand in the texts, ``</s>`` for an end; ``starts``: int64 (W,),
    the token that opens each; ``nats``: float64 (W,), the sum over its tokens; ``ends``: int64 (U,), where each text
    ends among them."""

    written: list[str]
    starts: np.ndarray
    nats: np.ndarray
    ends: np.ndarray


@dataclass(frozen=True)
class Inspection:
    """All N tokens of U texts that were asked for, one after the other, the end of each text included.

    ``ids``: int32 (N,). ``nats``: float64 (N,), -ln p. ``rank``: float64 (N,), 1 for the likeliest, halves where types
    tie. ``entropy_nats``: float64 (N,). ``ends``: int64 (U,), where each text ends among the tokens. ``alternatives``:
    see there. What a model cannot say is None: a rank where it shows no distribution, as one that reads both sides; an
    entropy also where its scores are no probabilities. ``asked``: the texts as they were encoded.
    """

    tokenizer: Tokenizer
    asked: Asked
    ids: np.ndarray
    nats: np.ndarray
    rank: np.ndarray | None
    entropy_nats: np.ndarray | None
    ends: np.ndarray
    alternatives: Alternatives | None = None

    @cached_property
    def written(self) -> list[str]:
        """The written form of each token, N of them; ``<unk>`` for what the model does not know."""
        return self.tokenizer.tokens(self.ids)

    @cached_property
    def words(self) -> Words:
        """Pieces of words (bpe, byte, char) gathered; each token of a word model is one already."""
        return gather(self.tokenizer, self.asked, self.nats)

    def parts(self) -> list[slice]:
        """The tokens of each text, as a slice of the arrays."""
        starts = [0, *self.ends[:-1].tolist()]
        return [slice(first, last) for first, last in zip(starts, self.ends.tolist(), strict=True)]


def gather(tokenizer: Tokenizer, asked: Asked, nats: np.ndarray) -> Words:
    """The words of ``asked``; ``nats``: float64 (N,), -ln p of each token that is asked for."""
    starts = word_starts(asked.ids, asked.bounds, word_types(tokenizer))
    written = written_words(tokenizer, asked.texts, asked.ids, asked.bounds, starts)
    sums = np.add.reduceat(np.append(nats, 0.0), starts)
    return Words(written, starts, sums, np.searchsorted(starts, asked.bounds, "left"))


def inspect(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    prefix: str | Sequence[str] | None = None,
    alternatives: int = 0,
    line: Line = "sentence",
) -> Inspection:
    """Look at every token of ``texts``, each read on its own.

    ``prefix``: what stands before every text, or before each, and is read but not asked for. ``alternatives``: how many
    of the likeliest types to give before each token, at most V. ``line``: what a line was to the model in training; see
    ``conditioning``. Raises UsageError for a negative number of alternatives, ModelError as ``scorer.score`` does.

    ``inspect(model, ["the dog barks"]).nats``
    """
    check_fitted(model)
    if alternatives < 0:
        raise UsageError(f"The number of alternatives must be 0 or more, not {alternatives}.")
    asked = ask(model.tokenizer, texts, prefix, line)
    ends = asked.bounds
    if model.reads != "left" or not getattr(model, "lists_words", True):  # a KenLM file may hide its words
        nats = checked_nats(model, asked.tokens, "sentence")[asked.places]
        return Inspection(model.tokenizer, asked, asked.ids, nats, None, None, ends)
    nats, rank, entropy = np.zeros((3, asked.tokens.events))
    k = min(alternatives, len(model.tokenizer.vocabulary))
    likeliest = Alternatives(np.zeros((len(nats), k), np.int32), np.zeros((len(nats), k)))
    for rows, firsts in by_length(asked.tokens):
        targets = [_targets(asked, first, len(row)) for row, first in zip(rows, firsts, strict=True)]
        batch, done = Batch.of(rows, targets), 0
        row, column = np.nonzero(batch.targets)
        events = np.array(firsts, np.int64)[row] + column - 1
        for block in distributions(model, batch):
            places = events[done : done + len(block)]
            done += len(block)
            nats[places], rank[places] = _ranked(block, asked.tokens.ids[places + 1])
            entropy[places] = _entropies(block)
            if k:
                likeliest.ids[places], likeliest.nats[places] = _likeliest(block, k)
    check_nats(model, nats, asked.tokens, "text")
    kept = asked.places
    return Inspection(
        model.tokenizer,
        asked,
        asked.ids,
        nats[kept],
        rank[kept],
        entropy[kept] if model.normalized else None,
        ends,
        Alternatives(likeliest.ids[kept], likeliest.nats[kept]) if k else None,
    )


def _targets(asked: Asked, first: int, length: int) -> np.ndarray:
    """bool (length,): the tokens of a row that are asked for; its first event has the index ``first``."""
    return np.concatenate(([False], asked.places[first : first + length - 1]))


def _ranked(log_probs: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Surprisals and ranks, float64 (N,), of ``ids`` among (N, V) log probabilities."""
    own = log_probs[np.arange(len(ids)), ids]
    better = np.count_nonzero(log_probs > own[:, None], axis=1)
    ties = np.count_nonzero(log_probs == own[:, None], axis=1)
    return -own.astype(np.float64), better + (ties + 1) / 2


def _entropies(log_probs: np.ndarray) -> np.ndarray:
    """float64 (N,), nats: -sum of p ln p over (N, V)."""
    products = np.exp(log_probs)
    np.multiply(products, log_probs, out=products, where=products > 0)  # 0 ln 0 is 0
    return -products.sum(1, dtype=np.float64)


def _likeliest(log_probs: np.ndarray, k: int) -> Alternatives:
    """The k largest of each row, in falling order, equal ones by their ids."""
    size = log_probs.shape[1]
    ids = (
        np.argpartition(-log_probs, k - 1, axis=1)[:, :k] if k < size else np.tile(np.arange(size), (len(log_probs), 1))
    )
    least = np.take_along_axis(log_probs, ids, 1).min(1)
    for row in np.flatnonzero(np.count_nonzero(log_probs >= least[:, None], axis=1) > k):  # ties at the edge
        ids[row] = np.argsort(-log_probs[row], kind="stable")[:k]
    ids.sort(axis=1)
    values = np.take_along_axis(log_probs, ids, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return Alternatives(np.take_along_axis(ids, order, 1), -np.take_along_axis(values, order, 1).astype(np.float64))
