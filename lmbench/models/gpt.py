"""Ids -> causal self-attention -> log probabilities: a small GPT (Vaswani et al. 2017; Radford et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.transformer import Transformer, TransformerConfig, TransformerNetwork


@dataclass(frozen=True)
class GPTConfig(TransformerConfig):
    """``sequence_length`` is the window: what is trained on, and the longest history that is attended to. Dropout
    falls on the embedding and on each residual branch."""

    sliding_window: int | None = None
    """Tokens that a position attends to in each layer, itself included; by default all of the window before it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sliding_window is not None and self.sliding_window < 1:
            raise UsageError(f"sliding_window must be at least 1, the token itself, not {self.sliding_window}.")
        if self.sliding_window and self.sequence_length and self.sliding_window > self.sequence_length:
            raise UsageError(
                f"sliding_window={self.sliding_window} reaches beyond the window of sequence_length="
                f"{self.sequence_length}, in which all is seen anyway. Lower it, or raise sequence_length."
            )


class GPTNetwork(TransformerNetwork):
    """Embedding, ``layers`` causal blocks, a last norm, the tied softmax. Windows stand alone; no state."""

    def __init__(self, vocabulary_size: int, config: GPTConfig) -> None:
        window = config.sequence_length or 0
        super().__init__(vocabulary_size, config, window, causal=True, span=config.sliding_window)
        self.window, self.overlap = window, window // 2

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.transform(self.embed(ids)), None

    def go_on(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """State: keys and values of every block, so that a token is read once."""
        seen = 0 if state is None else state[0].shape[3]
        x, after = self.embed(ids), []
        x = F.rms_norm(x, x.shape[2:])
        cosine, sine = (angles[seen : seen + ids.shape[1]] for angles in (self.cosine, self.sine))
        for block, before in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, known = block.go_on(x, cosine, sine, before)  # type: ignore[operator]
            after.append(known)
        return self.norm(x), tuple(after)


class GPT(Transformer):
    """A decoder-only Transformer: each position attends to itself and the ``sequence_length - 1`` before it.

    ``attend(q, k, v) = softmax(q k' / sqrt(d) + causal mask) v``; with a ``sliding_window`` the mask hides what is
    further back as well (Child et al. 2019), so that history reaches further with each layer. A row longer than the
    window is scored in windows that overlap by half, so that every event has at least half a window of history.
    """

    kind = "gpt"
    gains_by_building = True
    Config = GPTConfig

    def build(self, vocabulary_size: int) -> GPTNetwork:
        config = self.config
        self.structure = (
            f"GPT, {config.layers} x {config.width}, {config.heads} heads, window {config.sequence_length}, "
            f"dropout {config.dropout:g}"
        )
        return GPTNetwork(vocabulary_size, config)
