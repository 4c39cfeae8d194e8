"""Ids -> LSTM states -> log probabilities (Hochreiter & Schmidhuber 1997; Zaremba et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.corpus.batches import Tokens
from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network, NeuralModel
from lmbench.training.budget import Budget
from lmbench.training.loop import Plan
from lmbench.training.optimizers import OptimizerName, ScheduleName


@dataclass(frozen=True)
class LSTMConfig:
    """Settings left open (None) are chosen for the text and the budget when training begins."""

    hidden: int | None = None
    """Cells of each layer, and the width of the tied embedding."""
    layers: int = 1
    """LSTM layers, one above the other."""
    dropout: float | None = None
    """Share of activations dropped after the embedding, between the layers and before the softmax."""
    batch_size: int | None = None
    """Rows of the text read in parallel."""
    sequence_length: int | None = None
    """Steps through which the error is propagated back; the state itself runs on."""
    optimizer: OptimizerName | None = None
    """sgd (words) or adamw (characters, bytes)."""
    learning_rate: float | None = None
    """Rate at the beginning."""
    schedule: ScheduleName = "linear"
    """How the rate falls until the budget ends."""
    warmup: float = 0.01
    """Share of the budget in which the rate first rises."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices under adamw; plain L2 under sgd."""
    clip: float = 0.25
    """Largest norm of the gradient."""
    seed: int = 1
    """Seed of the first weights and of dropout."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""
    precision: str = "auto"
    """float32, bfloat16 or auto: of the softmax products in training; the recurrence is float32 on a CPU."""

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "batch_size", "sequence_length"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} of lstm must be at least 1, not {value}.")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"dropout of lstm must be in [0, 1), not {self.dropout}.")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise UsageError(f"learning_rate of lstm must be above 0, not {self.learning_rate}.")


class LSTMNetwork(Network):
    """``h, c = LSTM(drop(E x), (h, c))``, then the tied softmax on ``drop(h)``; h, c: (layers, B, H)."""

    stateful = True

    def __init__(self, vocabulary_size: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__(vocabulary_size, hidden, torch.float32)
        self.drop = Dropout(dropout)
        self.lstm = nn.LSTM(hidden, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        inputs = self.drop(self.embedding(ids.t()))  # (T, B, H)
        outputs, state = self.lstm(inputs, state)  # (T, B, H)
        return self.drop(outputs).transpose(0, 1), state


class LSTM(NeuralModel):
    """Long short-term memory with tied embedding and stateful truncated backpropagation.

    At each step, with input x and previous output h: gates i, f, o = sigmoid(W x + U h + b), candidate
    g = tanh(W x + U h + b), cell c = f c + i g, output h = o tanh(c). The cell carries history over any
    distance; the error is propagated back ``sequence_length`` steps.
    """

    kind = "lstm"
    Config = LSTMConfig

    def sized(self, train: Tokens, budget: Budget) -> LSTMConfig:
        config = self.config
        fine = train.tokenizer.kind in ("char", "byte")
        chosen = {
            "hidden": _width(train, budget, fine),
            "dropout": 0.1 if fine else 0.2,
            "batch_size": 32 if fine else 20,
            "sequence_length": 64 if fine else 35,
            "optimizer": "adamw" if fine else "sgd",
        }
        open_fields = {name: value for name, value in chosen.items() if getattr(config, name) is None}
        config = replace(config, **open_fields)
        rate = 20.0 if config.optimizer == "sgd" else 4e-3
        return config if config.learning_rate is not None else replace(config, learning_rate=rate)

    def build(self, vocabulary_size: int) -> LSTMNetwork:
        config = self.config
        self.structure = f"LSTM, {config.layers} x {config.hidden}, tied embedding, dropout {config.dropout:g}"
        return LSTMNetwork(vocabulary_size, config.hidden, config.layers, config.dropout)

    def plan(self) -> Plan:
        config = self.config
        return Plan(
            batch_size=config.batch_size,
            sequence_length=config.sequence_length,
            optimizer=config.optimizer,
            learning_rate=config.learning_rate,
            schedule=config.schedule,
            warmup=config.warmup,
            weight_decay=config.weight_decay,
            clip=config.clip,
            seed=config.seed,
        )


def _width(train: Tokens, budget: Budget, fine: bool) -> int:
    """Cells that fit the budget."""
    return 384 if fine else 256
