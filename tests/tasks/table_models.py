"""A model whose every probability is written down, so that results can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import WordConfig, WordTokenizer
from lmbench.models.base import LanguageModel


class Bigram(LanguageModel):
    """p(next | last token), from a table (V, V) of probabilities; ids are </s>, <unk>, then the ``words`` in
    code-point order, if each stands there once."""

    kind = "bigram"
    reads = "left"
    max_context = 1
    context = "sentence"
    normalized = True
    parameters = 0

    def __init__(self, words: str, table: np.ndarray) -> None:
        self.tokenizer = WordTokenizer.train([words], WordConfig(min_count=1))
        with np.errstate(divide="ignore"):
            self.table = np.log(table)

    def log_probs(self, batch: Batch) -> np.ndarray:
        values = np.zeros(batch.ids.shape)
        values[:, 1:] = self.table[batch.ids[:, :-1], batch.ids[:, 1:]]
        return np.where(batch.targets, values, 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        return self.table[prefixes.ids[np.arange(len(prefixes.lengths)), prefixes.last()]]

    def save(self, directory: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, directory: Path) -> Self:
        raise NotImplementedError


def unigram(end: float, **words: float) -> Bigram:
    """``unigram(end=.5, a=.25, b=.25)``: every token with its probability, whatever stands before it."""
    ordered = sorted(words)  # equal counts: ids in code-point order after </s> and <unk>
    row = [end, 0.0, *(words[word] for word in ordered)]
    return Bigram(" ".join(ordered), np.tile(row, (len(row), 1)))
