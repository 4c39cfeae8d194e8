"""Ids -> causal self-attention -> log probabilities: a small GPT (Vaswani et al. 2017; Radford et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel


@dataclass(frozen=True)
class GPTConfig(NetworkConfig):
    """``sequence_length`` is the window: what is trained on, and the longest history that is attended to. Dropout
    falls on the embedding and on each residual branch."""

    width: int | None = None
    """Size of the residual stream and of the tied embedding."""
    layers: int = 4
    """Blocks of attention and feed-forward network."""
    heads: int | None = None
    """Attention heads of each block; by default one for each 64 of the width."""
    warmup: float = 0.05
    """Share of the budget in which the rate first rises."""
    weight_decay: float = 0.1
    """Decay of matrices: decoupled under adamw, plain L2 under sgd."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width and self.heads and self.width % (2 * self.heads):
            raise UsageError(
                f"A width of {self.width} does not divide into {self.heads} heads of even size, which rotary "
                "positions need. Choose width as a multiple of twice the heads."
            )


class Block(nn.Module):
    """``x += attend(norm(x)); x += feed_forward(norm(x))``: the pre-norm order of GPT-2, with RMS norms
    (Zhang & Sennrich 2019), rotary positions (Su et al. 2021) and squared ReLU (So et al. 2021)."""

    def __init__(self, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attend, self.norm_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.widen = nn.Linear(width, 4 * width, bias=False)
        self.narrow = nn.Linear(4 * width, width, bias=False)
        self.drop = Dropout(dropout)
        for linear in (self.query_key_value, self.widen):
            nn.init.normal_(linear.weight, std=width**-0.5)
        for linear in (self.mix, self.narrow):  # each branch begins small: the sum over 2 x layers stays near 1
            nn.init.normal_(linear.weight, std=(2 * layers * linear.in_features) ** -0.5)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        batch, length, width = x.shape
        joined = self.query_key_value(self.norm_attend(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = joined.permute(2, 0, 3, 1, 4)  # (B, heads, T, width / heads) each
        query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
        seen = _attend(query, key, value)
        x = x + self.drop(self.mix(seen.transpose(1, 2).reshape(batch, length, width)))
        return x + self.drop(self.narrow(F.relu(self.widen(self.norm_feed(x))).square()))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (x_i, x_{i + d/2}) by an angle that grows with the position; (B, heads, T, d)."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention, (B, heads, T, d) each -> (B, heads, T, d)."""
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    # On a CPU the backward pass of the fused kernel takes four times as long as these two products (64 to 256 tokens).
    batch, heads, length, size = query.shape
    query, key, value = (part.reshape(batch * heads, length, size) for part in (query, key, value))
    future = torch.full((length, length), -torch.inf, dtype=query.dtype).triu(1)
    weights = torch.baddbmm(future, query, key.transpose(1, 2), alpha=size**-0.5).softmax(-1)
    return (weights @ value).view(batch, heads, length, size)


class GPTNetwork(Network):
    """Embedding, ``layers`` blocks, a last norm, the tied softmax. Windows stand alone; no state."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, vocabulary_size: int, width: int, heads: int, layers: int, window: int, dropout: float) -> None:
        super().__init__(vocabulary_size, width, torch.float32)
        self.window = window
        self.drop, self.norm = Dropout(dropout), nn.RMSNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads, layers, dropout) for _ in range(layers))
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        half = width // heads // 2
        angles = torch.arange(window)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        low = self.training and self.precision != torch.float32
        x = self.drop(F.rms_norm(self.embedding(ids), self.embedding.weight.shape[1:]))  # (B, T, width)
        with torch.autocast(ids.device.type, dtype=self.precision if low else torch.bfloat16, enabled=low):
            cosine, sine = self.cosine[: ids.shape[1]], self.sine[: ids.shape[1]]
            if low:
                cosine, sine = cosine.to(self.precision), sine.to(self.precision)
            for block in self.blocks:
                x = block(x, cosine, sine)
        return self.norm(x), None


class GPT(NeuralModel):
    """A decoder-only Transformer: each position attends to itself and the ``sequence_length - 1`` before it.

    ``attend(q, k, v) = softmax(q k' / sqrt(d) + causal mask) v``. A row longer than the window is scored in
    windows that overlap by half, so that every event has at least half a window of history.
    """

    kind = "gpt"
    Config = GPTConfig

    @property
    def width(self) -> int | None:
        return self.config.width

    def work(self, width: int) -> int:
        return 12 * width**2 * self.config.layers

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        heads = max((h for h in range(1, max(1, width // 64) + 1) if width % (2 * h) == 0), default=1)
        return {
            "width": width,
            "heads": heads,
            "sequence_length": 128 if fine else 64,
            "dropout": 0.0 if passes < 5 else 0.1 if passes < 12 else 0.2,
            "batch_size": 16,
            "optimizer": "adamw",
            "learning_rate": 3e-3,
        }

    def build(self, vocabulary_size: int) -> GPTNetwork:
        config = self.config
        self.structure = (
            f"GPT, {config.layers} x {config.width}, {config.heads} heads, window {config.sequence_length}, "
            f"dropout {config.dropout:g}"
        )
        return GPTNetwork(
            vocabulary_size, config.width, config.heads, config.layers, config.sequence_length, config.dropout
        )
