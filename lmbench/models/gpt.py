"""Ids -> causal self-attention -> log probabilities: a small GPT (Vaswani et al. 2017; Radford et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.corpus.batches import Tokens
from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network, NeuralModel
from lmbench.training.budget import Budget
from lmbench.training.loop import Plan
from lmbench.training.optimizers import OptimizerName, ScheduleName


@dataclass(frozen=True)
class GPTConfig:
    """Settings left open (None) are chosen for the text and the budget when training begins."""

    layers: int | None = None
    """Blocks of attention and feed-forward network."""
    heads: int | None = None
    """Attention heads of each block; by default one for each 64 of the width."""
    width: int | None = None
    """Size of the residual stream and of the tied embedding."""
    sequence_length: int | None = None
    """Longest history in tokens: the window that is trained on and attended to."""
    dropout: float | None = None
    """Share of activations dropped after the embedding and in each residual branch."""
    batch_size: int | None = None
    """Windows in a step."""
    optimizer: OptimizerName = "adamw"
    """adamw or sgd."""
    learning_rate: float | None = None
    """Rate after the warm-up."""
    schedule: ScheduleName = "linear"
    """How the rate falls until the budget ends."""
    warmup: float = 0.05
    """Share of the budget in which the rate rises."""
    weight_decay: float = 0.1
    """Decoupled decay of matrices."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 1
    """Seed of the first weights, of the order of windows and of dropout."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""
    precision: str = "auto"
    """float32, bfloat16 or auto, of the matrix products in training."""

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "sequence_length", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} of gpt must be at least 1, not {value}.")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"dropout of gpt must be in [0, 1), not {self.dropout}.")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise UsageError(f"learning_rate of gpt must be above 0, not {self.learning_rate}.")
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

    def sized(self, train: Tokens, budget: Budget) -> GPTConfig:
        config = self.config
        fine = train.tokenizer.kind in ("char", "byte")
        chosen = {
            "layers": 4,
            "width": 192 if fine else 256,
            "sequence_length": 128 if fine else 64,
            "dropout": 0.0 if fine else 0.1,
            "batch_size": 16,
            "learning_rate": 3e-3,
        }
        config = replace(config, **{name: value for name, value in chosen.items() if getattr(config, name) is None})
        return config if config.heads is not None else replace(config, heads=max(1, config.width // 64))

    def build(self, vocabulary_size: int) -> GPTNetwork:
        config = self.config
        self.structure = (
            f"GPT, {config.layers} x {config.width}, {config.heads} heads, window {config.sequence_length}, "
            f"dropout {config.dropout:g}"
        )
        return GPTNetwork(
            vocabulary_size, config.width, config.heads, config.layers, config.sequence_length, config.dropout
        )

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
