"""Model + prompts -> the likeliest next tokens of each, with their probabilities.

Works for every model that reads to the left: it asks for nothing but ``next_log_probs``, many prompts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import LanguageModel

CELLS = 1 << 22
"""Probabilities (B x V) asked for at a time, at most; one prompt at least."""


class NextWord(NamedTuple):
    """A token, ``</s>`` for the end. ``cumulated``: its probability and that of all likelier ones."""

    token: str
    probability: float
    cumulated: float


@dataclass(frozen=True)
class NextWords:
    """What may follow ``prompt``. ``words``: the likeliest first. ``entropy_nats``: of the whole distribution, -sum of
    p ln p; None where the scores of the model are no probabilities."""

    prompt: str
    words: tuple[NextWord, ...]
    entropy_nats: float | None


def next_words(model: LanguageModel, prompts: str | Sequence[str], k: int = 10) -> list[NextWords]:
    """The ``k`` likeliest next tokens after each of ``prompts``, or after the one; all V where there are no more.

    The empty prompt asks how a text begins. Raises UsageError where k is below 1, ModelError for a model that does not
    read left to right.

    ``next_words(model, "the old")[0].words[0].token``
    """
    if model.reads != "left":
        raise ModelError(
            f"{model.kind} reads both sides of a gap, so it cannot say what comes next. "
            "Ask a model that reads to the left, such as ngram, lstm or gpt."
        )
    if k < 1:
        raise UsageError(f"The number of next words must be at least 1, not {k}.")
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    rows = [model.tokenizer.encode([text]).ids[:-1] if text else np.zeros(1, np.int32) for text in texts]
    step = max(1, CELLS // len(model.tokenizer.vocabulary))
    found: list[NextWords] = []
    for first in range(0, len(rows), step):
        log_probs = model.next_log_probs(Batch.of_prefixes(rows[first : first + step])).astype(np.float64)  # (B, V)
        probabilities = np.exp(log_probs)
        products = np.multiply(probabilities, log_probs, out=np.zeros_like(log_probs), where=probabilities > 0)
        for text, row, entropy in zip(texts[first : first + step], probabilities, -products.sum(1), strict=True):
            found.append(NextWords(text, _likeliest(model, row, k), float(entropy) if model.normalized else None))
    return found


def _likeliest(model: LanguageModel, probabilities: np.ndarray, k: int) -> tuple[NextWord, ...]:
    """The k largest of ``probabilities``, (V,), in falling order; equal ones in the order of their ids."""
    ids = largest(probabilities, k)
    chosen = probabilities[ids]
    columns = (model.tokenizer.tokens(ids), chosen.tolist(), np.cumsum(chosen).tolist())
    return tuple(map(NextWord, *columns))


def largest(values: np.ndarray, k: int) -> np.ndarray:
    """int64, the places of the k largest of ``values``, (N,), in falling order, equal ones in their order; all N where
    there are no more.

    >>> largest(np.array([0.2, 0.5, 0.2, 0.1]), 2).tolist()
    [1, 0]
    """
    k = min(k, len(values))
    places = np.flatnonzero(values >= np.partition(values, -k)[-k])
    return places[np.argsort(-values[places], kind="stable")[:k]]
