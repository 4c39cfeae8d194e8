"""Model + text -> ``Scores``: plans rows, batches them, restores the order, sums in float64.

Context policy, drawn. Either way the same events (x) are scored, each exactly once::

    sentence   </s> a b c </s>        one row a unit: history starts at the boundary
                     x x x   x
    stream     </s> a b c </s> d e </s> f ...       one row: history runs on across boundaries
                     x x x   x  x x   x  x
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.scanning import unit_sizes
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import ModelError
from lmbench.models.base import Context, LanguageModel
from lmbench.training.distributed import processes

BLOCK = 1000
"""Events in a block of running text, the resampling unit where there are no sentences."""
CELLS = 1 << 15
"""Padded cells (B x T) in a batch unless the caller sets a batch size."""
ROUNDING = 1e-3
"""Nats by which a log probability may be above 0: rounded weights, such as those of a quantised KenLM file."""
FLAT = 1 << 20
"""Events in a row of joined units, for models whose history never crosses a boundary."""


@dataclass(frozen=True)
class Signature:
    """The settings without which a number means nothing. ``str()`` gives the one-line form."""

    corpus: str
    corpus_sha256: str
    split: str
    unit: str
    vocabulary: int
    vocabulary_sha256: str
    unknown_rate: float
    context: Context
    events: int
    events_sha256: str
    seed: int | None
    version: str
    adapts: bool = False
    reads: Literal["left", "both"] = "left"
    train: int | None = None
    """Tokens of the training split that the model was trained on, where a run compares training sizes."""

    @property
    def comparable(self) -> tuple[Any, ...]:
        """Two numbers stand in one ranking only when this is equal: they predict the same events.

        The same text and split, cut into the same tokens of the same vocabulary (``events_sha256`` is that of the ids).
        """
        return (self.corpus_sha256, self.split, self.vocabulary_sha256, self.events_sha256)

    def __str__(self) -> str:
        seed = ("" if self.train is None else f"|train:{self.train}") + (
            "" if self.seed is None else f"|seed:{self.seed}"
        )
        adapts = ("|reads:both" if self.reads == "both" else "") + ("|adapts:yes" if self.adapts else "")
        return (
            f"ppl|corpus:{self.corpus}@{self.corpus_sha256[:7]}|split:{self.split}|unit:{self.unit}"
            f"|vocab:{self.vocabulary}@{self.vocabulary_sha256[:4]}|unk:{100 * self.unknown_rate:.1f}%"
            f"|eos:yes|context:{self.context}|events:{self.events}{adapts}{seed}|v:{self.version}"
        )


@dataclass(frozen=True)
class Scores:
    """Sums, never means, so that every statistic can be redone.

    Per segment (a sentence; a block of at most 1000 events of a document), arrays (S,): ``nats`` float64,
    the sum of -ln p; ``events`` and ``unknowns`` int64. Per unit (a sentence or document), int64 (U,):
    ``words`` (white-space separated), ``characters`` and ``bytes`` (UTF-8), the newline that ends a sentence
    included. ``token_nats``: float64 (events,), -ln p of each token in order. ``lossless``: whether the
    tokens give the text back, so that bits per character and byte are lawful. ``adapts``: whether the model learned
    from the text while it was scored.
    """

    nats: np.ndarray
    events: np.ndarray
    unknowns: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray
    token_nats: np.ndarray
    tokens: Tokens
    lossless: bool
    normalized: bool
    signature: Signature
    adapts: bool = False


def score(
    model: LanguageModel,
    text: Corpus | Split | Sequence[str] | str,
    split: str = "test",
    *,
    context: Context | None = None,
    batch_size: int | None = None,
) -> Scores:
    """Score every token of ``text`` once.

    ``text``: a corpus (its ``split`` is scored), a split, sentences, or one sentence. ``context``: the policy,
    by default the model's own for a corpus and ``sentence`` for loose sentences. ``batch_size``: rows in a batch,
    by default as many as fit 32,768 padded cells. Raises ModelError where the model gives anything but a number; a
    token that a distribution rules out (probability 0) has infinitely many nats.
    """
    check_fitted(model)
    part, name, checksum = _resolve(text, split)
    units = part.units
    tokens = model.tokenizer.encode(units)
    policy: Context = context or (model.context if isinstance(text, (Corpus, Split)) else "sentence")
    token_nats = checked_nats(model, tokens, policy, batch_size, part.name)
    ends = segment_ends(tokens.ends, part.line)
    lines = part.line == "sentence"
    words, characters, size = unit_sizes(units).T
    return Scores(
        nats=_sums(token_nats, ends),
        events=np.diff(ends, prepend=0),
        unknowns=np.bincount(np.searchsorted(ends, np.flatnonzero(tokens.hidden), "right"), minlength=len(ends)),
        words=words,
        characters=characters + lines,
        bytes=size + lines,
        token_nats=token_nats,
        tokens=tokens,
        lossless=model.tokenizer.is_lossless(units, tokens),
        normalized=model.normalized and model.reads == "left",  # a masked model has no perplexity
        signature=_signature(model, tokens, name, checksum, part.name, policy),
        adapts=model.adapts,
    )


def check_fitted(model: LanguageModel) -> None:
    """Raise ModelError where ``model`` has learned nothing yet."""
    if not hasattr(model, "tokenizer"):
        raise ModelError(f"This {model.kind} has not been fitted yet: call fit, or load a saved one.")


def checked_nats(
    model: LanguageModel, tokens: Tokens, context: Context, batch_size: int | None = None, name: str = "text"
) -> np.ndarray:
    """float64 (events,), -ln p of every token of ``tokens`` but the opening boundary; see ``score`` for the errors.
    ``name``: what the text is called in them."""
    nats = -token_log_probs(model, tokens, context, batch_size)
    check_nats(model, nats, tokens, name)
    return nats


def check_nats(model: LanguageModel, nats: np.ndarray, tokens: Tokens, name: str) -> None:
    """Raise ModelError where ``nats``, -ln p of every token of ``tokens``, cannot be those of probabilities."""
    impossible = np.isnan(nats) | (nats == -np.inf)
    if not model.normalized:
        impossible |= nats == np.inf
    if impossible.any():
        where = int(np.flatnonzero(impossible)[0])
        raise ModelError(
            f"{model.kind} gave no finite log probability for event {where} of {name} "
            f"('{model.tokenizer.tokens(tokens.ids[where + 1 : where + 2])[0]}'): it cannot be scored on this text."
        )
    if model.normalized and (least := nats.min(initial=0.0)) < -ROUNDING:
        raise ModelError(
            f"{model.kind} gave a token of {name} the log probability {-least:.4g}, and no probability is above "
            "1: its files are damaged, or it is no distribution. Train it again."
        )


def token_log_probs(
    model: LanguageModel, tokens: Tokens, context: Context, batch_size: int | None = None
) -> np.ndarray:
    """float64 (events,), nats: ln p of every token of ``tokens`` but the opening boundary, in order.

    Several processes divide the batches among them, or, where these are too few, ask of each row for a part of its
    tokens; the same batches are made, so that the numbers are those of one process. All must call it.
    """
    result, work = np.zeros(tokens.events, np.float64), processes()
    batches = list(_plan(model, tokens, context, batch_size))
    divided = len(batches) >= work.size
    for rows, firsts in batches[work.rank :: work.size] if divided else batches:
        batch = Batch.of(rows, None if divided else [_asked(len(row)) for row in rows])
        answer = model.log_probs(batch)
        for row, first, values in zip(rows, firsts, answer, strict=True):
            result[first : first + len(row) - 1] = values[1 : len(row)]
    return work.total(result)


def _asked(length: int) -> np.ndarray:
    """bool (length,): the tokens of a row that this process asks for, one run of them."""
    work, events = processes(), length - 1
    first, end = (1 + events * part // work.size for part in (work.rank, work.rank + 1))
    places = np.arange(length)
    return (places >= first) & (places < end)


def _plan(
    model: LanguageModel, tokens: Tokens, context: Context, batch_size: int | None
) -> Iterator[tuple[list[np.ndarray], list[int]]]:
    """Yield batches of rows and, for each row, the index of its first event."""
    if context == "stream":
        yield [tokens.ids], [0]
        return
    starts = np.concatenate(([0], tokens.ends[:-1]))
    if model.context == "sentence" and batch_size is None:  # boundaries reset it: no padding is needed
        first = 0
        while first < len(starts):
            last = max(first + 1, int(np.searchsorted(tokens.ends, starts[first] + FLAT, "right")))
            yield [tokens.ids[starts[first] : tokens.ends[last - 1] + 1]], [int(starts[first])]
            first = last
        return
    yield from by_length(tokens, batch_size)


def by_length(tokens: Tokens, batch_size: int | None = None) -> Iterator[tuple[list[np.ndarray], list[int]]]:
    """Batches of units, each a row between its boundaries, and the index of each row's first event."""
    starts = np.concatenate(([0], tokens.ends[:-1]))
    lengths = tokens.ends - starts + 1
    order = np.argsort(-lengths, kind="stable")  # rows of like length share a batch
    first = 0
    while first < len(order):
        size = batch_size or max(1, CELLS // int(lengths[order[first]]))
        chosen = order[first : first + size]
        yield [tokens.ids[starts[i] : tokens.ends[i] + 1] for i in chosen], [int(starts[i]) for i in chosen]
        first += size


def segment_ends(ends: np.ndarray, line: str, size: int = BLOCK) -> np.ndarray:
    """int64 (S,): index after the last event of each segment: sentences, or parts of documents, of ``size`` at most.

    ``ends``: int64 (U,), the same of each unit. ``line``: what a unit is.
    """
    if line == "sentence":
        return ends
    starts = np.concatenate(([0], ends[:-1]))
    blocks = np.maximum(1, -(-(ends - starts) // size))  # of each document, as equal as can be
    number = np.arange(1, blocks.sum() + 1) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    result = (np.repeat((ends - starts) / blocks, blocks) * number + np.repeat(starts, blocks)).astype(np.int64)
    result[np.cumsum(blocks) - 1] = ends
    return result


def _sums(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sum ``values`` over segments that end before ``ends``."""
    return np.add.reduceat(values, np.concatenate(([0], ends[:-1])), dtype=np.float64)


def _resolve(text: Corpus | Split | Sequence[str] | str, split: str) -> tuple[Split, str, str]:
    """The split to score, its corpus' name and checksum."""
    if isinstance(text, Corpus):
        return text.split(split), text.name, text.sha256
    if isinstance(text, str):
        text = [text]
    part = text if isinstance(text, Split) else Split("text", tuple(" ".join(line.split()) for line in text))
    return part, "text", hashlib.sha256("\n".join(part.documents).encode()).hexdigest()


def _signature(
    model: LanguageModel, tokens: Tokens, name: str, checksum: str, split: str, context: Context
) -> Signature:
    from lmbench import __version__

    vocabulary = model.tokenizer.vocabulary
    return Signature(
        corpus=name,
        corpus_sha256=checksum,
        split=split,
        unit=model.tokenizer.kind,
        vocabulary=len(vocabulary),
        vocabulary_sha256=vocabulary.sha256,
        unknown_rate=tokens.unknowns / tokens.events,
        context=context,
        events=tokens.events,
        events_sha256=hashlib.sha256(np.ascontiguousarray(tokens.ids).data).hexdigest(),
        seed=_seed(model),
        version=__version__,
        adapts=model.adapts,
        reads=model.reads,
    )


def _seed(model: LanguageModel) -> int | None:
    """The seed of the model; of one that is made of others, that which all of them with a seed share."""
    seeds = _seeds(model)
    return seeds.pop() if len(seeds) == 1 else None


def _seeds(model: LanguageModel) -> set[int]:
    parts = getattr(model, "parts", ())
    own = getattr(getattr(model, "config", None), "seed", None)
    return set().union(*map(_seeds, parts)) if parts else {own} if own is not None else set()
