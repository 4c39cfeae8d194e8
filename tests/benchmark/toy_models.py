"""Families for tests of the runner: one that learns a little, and some that go wrong; and sentences to learn from."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_and_encode
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.training.budget import FitReport


@dataclass(frozen=True)
class ToyConfig:
    """``seed`` changes the numbers; ``trouble`` says what goes wrong and when."""

    seed: int = 1
    trouble: str = ""


class Toy(Trainable):
    """Unigram relative frequencies, smoothed by an amount that the seed decides."""

    kind = "toy"
    Config = ToyConfig
    reads = "left"
    max_context = 0
    context = "sentence"
    fitted: list[str] = []  # noqa: RUF012 - the log that tests read
    interrupts = 0

    def __init__(self, config: ToyConfig | None = None) -> None:
        self.config = config or ToyConfig()

    @property
    def normalized(self) -> bool:  # type: ignore[override]
        return self.config.trouble != "unnormalized"

    @property
    def parameters(self) -> int:  # type: ignore[override]
        return len(self.log_p)

    def fit(self, train: Tokens, valid: Tokens, budget=None, progress=None, checkpoints=None) -> FitReport:  # type: ignore[no-untyped-def]
        Toy.fitted.append(f"{self.config.trouble or 'toy'}{self.config.seed}")
        if self.config.trouble == "fit":
            raise RuntimeError("the weights\nexploded")
        if self.config.trouble == "interrupt" and Toy.interrupts:
            Toy.interrupts -= 1
            raise KeyboardInterrupt
        self.tokenizer = train.tokenizer
        if self.config.trouble == "letters":  # it has tokens of its own, as pretrained models have
            units = [train.tokenizer.decode(row[1:-1]) for row in train.rows()]
            self.tokenizer, train = train_and_encode("char", units)
        counts = np.bincount(train.ids[1:], minlength=train.vocabulary_size) + self.config.seed
        self.log_p = np.log(counts / counts.sum())
        return FitReport(train_seconds=0.5, tokens=train.events)

    def log_probs(self, batch: Batch) -> np.ndarray:
        if self.config.trouble == "score":
            raise MemoryError
        return np.where(batch.targets, self.log_p[batch.ids], 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        return np.tile(self.log_p, (len(prefixes.lengths), 1))

    def save(self, directory: Path) -> None:
        state: dict[str, Any] = {"log_p": self.log_p.tolist(), "seed": self.config.seed, "trouble": self.config.trouble}
        write_model(directory, self, state)

    @classmethod
    def load(cls, directory: Path) -> Self:
        tokenizer, state = read_model(directory)
        model = cls(ToyConfig(state["seed"], state["trouble"]))
        model.tokenizer, model.log_p = tokenizer, np.array(state["log_p"])
        return model


def sentences(seed: int, count: int) -> str:
    generator = random.Random(seed)
    parts = (["the", "a"], ["old", "young"], ["dog", "cat", "cow"], ["sleeps", "eats"], ["here", "there"])
    return "\n".join(" ".join(generator.choice(words) for words in parts) for _ in range(count))
