"""``Scores`` -> perplexity, bits per character and byte, rates: pure functions of sums.

Every number here is one sum divided by another, taken over the whole text: a mean of means would give
a short sentence the weight of a long one. With N events, C characters and L = sum of -ln p in nats::

    nats per event       L / N            what is added and subtracted
    perplexity           exp(L / N)       1 for a clairvoyant, V for a uniform guess, infinite for who ruled a token out
    bits per character   L / (C ln 2)     the same text, whatever the tokens: comparable across tokenizers

A number that would mislead is None, never a guess: a perplexity of what is not a distribution, bits per
character where the tokens hide part of the text. Two other things bear the same formula under names of their own: the
adaptive perplexity of a model that learns from the text it is asked about, and the pseudo-perplexity.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from lmbench.scoring.scorer import Scores

LN2 = math.log(2.0)


class Sums(Protocol):
    """What the metrics need of ``Scores``; a table of sums that was read back from disk will do as well.

    ``nats`` float64 (S,) and ``events``, ``unknowns`` int64 (S,) per segment; ``words``, ``characters``,
    ``bytes`` int64 (U,) per unit. See ``lmbench.scoring.scorer.Scores`` for what they are.
    """

    @property
    def nats(self) -> np.ndarray: ...
    @property
    def events(self) -> np.ndarray: ...
    @property
    def unknowns(self) -> np.ndarray: ...
    @property
    def words(self) -> np.ndarray: ...
    @property
    def characters(self) -> np.ndarray: ...
    @property
    def bytes(self) -> np.ndarray: ...
    @property
    def lossless(self) -> bool: ...
    @property
    def normalized(self) -> bool: ...
    @property
    def adapts(self) -> bool: ...


def total_nats(scores: Sums) -> float:
    """-ln p of the whole text."""
    return float(scores.nats.sum())


def total_events(scores: Sums) -> int:
    """Predicted tokens, boundaries included."""
    return int(scores.events.sum())


def nats_per_event(scores: Sums) -> float:
    """Mean of -ln p over all events: the cross-entropy, or for a score that is no distribution just its mean."""
    return total_nats(scores) / total_events(scores)


def perplexity(scores: Sums) -> float | None:
    """exp(nats per event); None where the scores are no distribution (stupid backoff, masked models) or adapt."""
    return exp(nats_per_event(scores)) if _ranked(scores) else None


def adaptive_perplexity(scores: Sums) -> float | None:
    """The same of a model that learned from the text while it was scored, as a cache does; else None.

    It is a distribution, but it has seen more than the training split: never in one ranking with those that did not.
    """
    return exp(nats_per_event(scores)) if scores.normalized and scores.adapts else None


def pseudo_perplexity(scores: Sums) -> float | None:
    """The same formula where there is no distribution: for a column of its own, never for a ranking. Else None."""
    return None if scores.normalized else exp(nats_per_event(scores))


def bits_per_character(scores: Sums) -> float | None:
    """Bits per Unicode code point; None unless the tokens give the text back and there is a perplexity."""
    return _bits_per(scores, scores.characters)


def bits_per_byte(scores: Sums) -> float | None:
    """Bits per byte of UTF-8; None unless the tokens give the text back and there is a perplexity."""
    return _bits_per(scores, scores.bytes)


def unknown_rate(scores: Sums) -> float:
    """Share of the events that are ``<unk>``: in [0, 1]."""
    return int(scores.unknowns.sum()) / total_events(scores)


def perplexity_without_unknowns(scores: Scores) -> float | None:
    """Perplexity over the events that are not ``<unk>`` (KenLM's "excluding OOVs").

    A second look, not a number to rank by: a model can buy a low one by giving all its mass to ``<unk>``
    elsewhere. None where nothing else is left or there is no perplexity.
    """
    known = ~scores.tokens.hidden
    if not _ranked(scores) or not known.any():
        return None
    return exp(float(scores.token_nats[known].mean()))


def summary(scores: Sums) -> dict[str, Any]:
    """Every number of this module that ``scores`` allow, by name, as JSON values."""
    return {
        "perplexity": perplexity(scores),
        "adaptive_perplexity": adaptive_perplexity(scores),
        "pseudo_perplexity": pseudo_perplexity(scores),
        "nats_per_event": nats_per_event(scores),
        "bits_per_character": bits_per_character(scores),
        "bits_per_byte": bits_per_byte(scores),
        "unknown_rate": unknown_rate(scores),
        "nats": total_nats(scores),
        "events": total_events(scores),
        "unknowns": int(scores.unknowns.sum()),
        "words": int(scores.words.sum()),
        "characters": int(scores.characters.sum()),
        "bytes": int(scores.bytes.sum()),
        "segments": len(scores.nats),
        "lossless": scores.lossless,
        "normalized": scores.normalized,
        "adapts": scores.adapts,
    }


def _ranked(scores: Sums) -> bool:
    """Whether the numbers may stand beside those of every other model."""
    return scores.normalized and not scores.adapts


def exp(nats: float) -> float:
    """e to the ``nats``; infinity, not an error, where that is beyond a float (a model that broke)."""
    return math.exp(nats) if nats < 709 else math.inf


def _bits_per(scores: Sums, amounts: np.ndarray) -> float | None:
    amount = int(amounts.sum())
    if not (scores.lossless and _ranked(scores) and amount):
        return None
    return total_nats(scores) / (amount * LN2)
