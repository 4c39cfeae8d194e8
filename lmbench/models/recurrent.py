"""Ids -> LSTM states -> log probabilities (Hochreiter & Schmidhuber 1997; Zaremba et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel


@dataclass(frozen=True)
class LSTMConfig(NetworkConfig):
    """Dropout falls on the embedding, between the layers and before the softmax; the state runs on from step to
    step, while the error is propagated back through ``sequence_length`` events."""

    hidden: int | None = None
    """Cells of each layer, and the width of the tied embedding."""
    layers: int = 1
    """LSTM layers, one above the other."""


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

    @property
    def width(self) -> int | None:
        return self.config.hidden

    def work(self, width: int) -> int:
        return 8 * width**2 * self.config.layers

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        optimizer = self.config.optimizer or ("adamw" if fine else "sgd")
        return {
            "hidden": width,
            "dropout": 0.1 if passes < 6 else 0.2 if passes < 12 else 0.4,
            "batch_size": 32 if fine else 20,
            "sequence_length": 64 if fine else 35,
            "optimizer": optimizer,
            "learning_rate": 20.0 if optimizer == "sgd" else 4e-3,
        }

    def build(self, vocabulary_size: int) -> LSTMNetwork:
        config = self.config
        self.structure = f"LSTM, {config.layers} x {config.hidden}, tied embedding, dropout {config.dropout:g}"
        return LSTMNetwork(vocabulary_size, config.hidden, config.layers, config.dropout)
