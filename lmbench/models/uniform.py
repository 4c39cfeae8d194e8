"""Vocabulary -> 1 / V for every event: the ceiling of every table, and the scorer's touchstone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class UniformConfig:
    """Nothing to choose: every type is equally likely."""


class Uniform(Trainable):
    """p(w | anything) = 1 / V. Its perplexity is exactly V; a model above it has learned nothing."""

    kind = "uniform"
    Config = UniformConfig
    reads = "left"
    max_context = 0
    context = "sentence"
    normalized = True
    parameters = 0

    def __init__(self, config: UniformConfig | None = None) -> None:
        self.config = config or UniformConfig()

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Take the vocabulary over; there is nothing else to learn."""
        self.tokenizer = train.tokenizer
        (progress or Silent()).step("structure", f"one probability, 1 / {train.vocabulary_size}")
        return FitReport(train_seconds=0.0, tokens=0, valid_loss=float(np.log(train.vocabulary_size)))

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: -ln V at each target."""
        return np.where(batch.targets, -np.log(len(self.tokenizer.vocabulary)), 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats."""
        size = len(self.tokenizer.vocabulary)
        return np.full((len(prefixes.lengths), size), -np.log(size))

    def save(self, directory: Path) -> None:
        write_model(directory, self, {})

    @classmethod
    def load(cls, directory: Path) -> Self:
        model = cls()
        model.tokenizer, _ = read_model(directory)
        return model
