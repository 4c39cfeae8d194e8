"""Log probabilities of sentences -> values by which sentences of unlike length, or unlike words, can be compared.

With s a sentence, |s| its tokens, its end included::

    total       ln p(s)                          the probability itself; right for candidates of like length
    token       ln p(s) / |s|                    for candidates of unlike length: a missing word is no merit
    character   ln p(s) / characters             the same whatever the tokens; the end counts as one character
    slor        (ln p(s) - ln u(s)) / |s|        rare words are no fault: syntactic log-odds

The syntactic log-odds (Pauls & Klein 2012; Lau, Clark & Lappin 2017) take off what the words cost by their frequency
alone, ``ln u(s) = sum of ln u(w)``. Where they come from the counts of the model's own vocabulary, ``u(w) = (count of w
+ 1) / (all counts + types)``; vocabularies do not count the end, which every candidate has once, so u takes it as
certain. Which of the four is best differs from task to task, and is never to be chosen on the answers that it is
then judged by: ``Ranking.best_order`` is for other, development, sets.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from lmbench.corpus.batches import Tokens
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.errors import ModelError, UsageError, unknown_name
from lmbench.models.base import LanguageModel
from lmbench.scoring.scorer import token_log_probs

Order = Literal["total", "token", "character", "slor"]
ORDERS: tuple[Order, ...] = get_args(Order)
"""All of them, the plainest first."""


def check_order(name: str) -> None:
    """Raise UsageError where ``name`` is no normalisation."""
    if name not in ORDERS:
        raise unknown_name("normalisation of log probabilities", name, ORDERS)


def frequencies(vocabulary: Vocabulary) -> np.ndarray | None:
    """float64 (V,), nats: ln u of each type, 0 for the boundary; None where the vocabulary has no counts.

    >>> frequencies(Vocabulary.from_counts({"the": 3, "cat": 1}, min_count=1)).round(3).tolist()
    [0.0, -1.946, -0.56, -1.253]
    """
    if vocabulary.counts is None or not vocabulary.counts.any():
        return None
    counts = vocabulary.counts.astype(np.float64) + 1
    counts[vocabulary.boundary] = 0
    counts /= counts.sum()
    counts[vocabulary.boundary] = 1
    return np.log(counts)


def unigram_log_probs(tokens: Tokens, unigram: LanguageModel | None = None) -> np.ndarray | None:
    """float64 (events,), nats: ln u of every token of ``tokens`` but the opening boundary.

    By the counts of their vocabulary, None where it has none; or by the model ``unigram``, of the same tokens and
    without a history (``ngram:order=1``). Raises ModelError for a model of other tokens or with a history.
    """
    if unigram is None:
        table = frequencies(tokens.tokenizer.vocabulary)
        return None if table is None else table[tokens.ids[1:]]
    if unigram.max_context != 0 or unigram.reads != "left":
        raise ModelError(
            f"Syntactic log-odds compare with the frequency of words alone, and {unigram.kind} reads what stands "
            "before them. Name a kept unigram model, such as ngram:order=1."
        )
    if unigram.tokenizer.vocabulary != tokens.tokenizer.vocabulary:
        raise ModelError(
            f"The unigram model has {len(unigram.tokenizer.vocabulary):,} types, other ones than the model's "
            f"{len(tokens.tokenizer.vocabulary):,}: train ngram:order=1 on the same text with the same tokenizer."
        )
    log_probs = token_log_probs(unigram, tokens, "sentence")
    if np.isinf(log_probs).any():
        word = tokens.tokenizer.tokens(tokens.ids[1:][np.isinf(log_probs)][:1])[0]
        raise ModelError(
            f"The unigram model gives '{word}' the probability 0, so its rarity has no measure. Take a smoothed one, "
            "such as ngram:order=1:smoothing=add-k."
        )
    return log_probs


def normalised(
    by: Order, log_probs: np.ndarray, events: np.ndarray, characters: np.ndarray, unigram: np.ndarray | None
) -> np.ndarray:
    """float64 (C,), nats: what decides between C sentences.

    ``log_probs`` float64 (C,), nats; ``events``, ``characters`` int64 (C,); ``unigram`` float64 (C,), nats, ln u of
    each. Raises UsageError for ``slor`` without it.
    """
    if by == "total":
        return log_probs
    if by == "token":
        return log_probs / events
    if by == "character":
        return log_probs / characters
    if unigram is None:
        raise UsageError(
            "Syntactic log-odds (slor) need the frequency of each word, and the vocabulary of this model has no "
            "counts. Name a kept unigram model of the same tokens, or decide by total, token or character."
        )
    return (log_probs - unigram) / events
