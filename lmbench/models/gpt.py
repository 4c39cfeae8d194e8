"""Ids -> causal self-attention -> log probabilities: a small GPT (Vaswani et al. 2017; Radford et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lmbench.models.transformer import Transformer, TransformerConfig, TransformerNetwork


@dataclass(frozen=True)
class GPTConfig(TransformerConfig):
    """``sequence_length`` is the window: what is trained on, and the longest history that is attended to. Dropout
    falls on the embedding and on each residual branch."""


class GPTNetwork(TransformerNetwork):
    """Embedding, ``layers`` causal blocks, a last norm, the tied softmax. Windows stand alone; no state."""

    def __init__(self, vocabulary_size: int, width: int, heads: int, layers: int, window: int, dropout: float) -> None:
        super().__init__(vocabulary_size, width, heads, layers, window, dropout, causal=True)
        self.window, self.overlap = window, window // 2

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.transform(self.embedding(ids)), None


class GPT(Transformer):
    """A decoder-only Transformer: each position attends to itself and the ``sequence_length - 1`` before it.

    ``attend(q, k, v) = softmax(q k' / sqrt(d) + causal mask) v``. A row longer than the window is scored in
    windows that overlap by half, so that every event has at least half a window of history.
    """

    kind = "gpt"
    Config = GPTConfig

    def build(self, vocabulary_size: int) -> GPTNetwork:
        config = self.config
        self.structure = (
            f"GPT, {config.layers} x {config.width}, {config.heads} heads, window {config.sequence_length}, "
            f"dropout {config.dropout:g}"
        )
        return GPTNetwork(
            vocabulary_size, config.width, config.heads, config.layers, config.sequence_length, config.dropout
        )
