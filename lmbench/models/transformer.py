"""Ids -> blocks of self-attention -> hidden states: what a causal and a masked Transformer share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.fused import rotate, squared_relu_feed_forward
from lmbench.models.network import Dropout, Network, begin_small
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.products import Linear

WHOLE = Dropout(0.0)
"""Drops nothing."""


@dataclass(frozen=True)
class TransformerConfig(NetworkConfig):
    """Settings of every Transformer. Dropout falls on the embedding and on each residual branch."""

    width: int | None = None
    """Size of the residual stream and of the tied embedding."""
    layers: int = 4
    """Blocks of attention and feed-forward network."""
    heads: int | None = None
    """Attention heads of each block; by default one for each 64 of the width."""
    feed_forward: Literal["squared-relu", "swiglu"] = "squared-relu"
    """The layer after attention: squared ReLU, 4 widths wide, or SwiGLU, 8/3 widths, of as many weights."""
    attention_dropout: float = 0.0
    """Share of the weights of attention that is dropped as well, as in GPT-2."""
    warmup: float = 0.05
    """Share of the budget in which the rate first rises."""
    weight_decay: float = 0.1
    """Decay of matrices: decoupled under adamw, plain L2 under sgd."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.attention_dropout < 1:
            raise UsageError(f"attention_dropout must be at least 0 and below 1, not {self.attention_dropout}.")
        if self.width and self.heads and self.width % (2 * self.heads):
            raise UsageError(
                f"A width of {self.width} does not divide into {self.heads} heads of even size, which rotary "
                "positions need. Choose width as a multiple of twice the heads."
            )


class Block(nn.Module):
    """``x += attend(norm(x)); x += feed_forward(norm(x))``, float (B, T, E): the pre-norm order of GPT-2, with::

    norm(x) = g x / sqrt(mean of x^2)                      g: (E,); RMS norm (Zhang & Sennrich 2019)
    q, k, v = the rows of W x, cut into heads              W: (3 E, E); q, k, v: (B, heads, T, d), d = E / heads
    q_t, k_t turned: at position t the pair (i, i + d/2)   rotary positions: q_t k_s' depends on t - s only
      by the angle t 10000^(-2 i / d)                        (Su et al. 2021)
    attend  = M softmax(q k' / sqrt(d)) v, heads joined    M: (E, E) (Vaswani et al. 2017)
    feed_forward(y) = U max(0, W y)^2                      W: (4 E, E), U: (E, 4 E) (So et al. 2021)
                 or   U (silu(W y) * V y)                  W, V: (8/3 E, E), SwiGLU (Shazeer 2020)
    """

    def __init__(self, config: TransformerConfig, causal: bool, span: int | None) -> None:
        super().__init__()
        width, gated = config.width or 0, config.feed_forward == "swiglu"
        inner = 8 * width // 3 if gated else 4 * width
        self.heads, self.causal, self.span, self.gated = config.heads or 1, causal, span, gated
        self.norm_attend, self.norm_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.query_key_value = Linear(width, 3 * width, bias=False)
        self.mix = Linear(width, width, bias=False)
        self.widen = Linear(width, 2 * inner if gated else inner, bias=False)
        self.narrow = Linear(inner, width, bias=False)
        self.drop, self.drop_attention = Dropout(config.dropout or 0.0), Dropout(config.attention_dropout)
        for linear in (self.query_key_value, self.widen):
            nn.init.normal_(linear.weight, std=width**-0.5)
        begin_small(config.layers, self.mix, self.narrow)

    def forward(
        self, x: Tensor, cosine: Tensor, sine: Tensor, visible: Tensor | None = None, asked: Tensor | None = None
    ) -> Tensor:
        """(B, T, width) -> the same. ``visible``: bool (B, T, T), which key each query may see; None for all.
        ``asked``: int64 (B,), the one place of each row that goes on: then (B, 1, width)."""
        query, key, value = self._query_key_value(x, cosine, sine)
        if asked is not None:
            place = torch.arange(len(x), device=x.device), asked
            x, query = x[place][:, None], query.transpose(1, 2)[place][:, :, None]
        seen = _attend(query, key, value, self.causal, visible, self.span, self.drop_attention)
        return self._after(x, seen, cosine.dtype)

    def go_on(self, x: Tensor, cosine: Tensor, sine: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, T, width) and, of the S tokens before, keys and values (B, 2, heads, S, width / heads) -> the same, of
        all S + T. To the left only, without a gradient."""
        query, key, value = self._query_key_value(x, cosine, sine)
        known = torch.stack((key, value), 1)
        known = known if before is None else torch.cat((before, known), 3)
        places = torch.arange(known.shape[3], device=x.device)
        distance = places[-x.shape[1] :, None] - places  # (T, S + T)
        visible = (distance >= 0) & (distance < (self.span or len(places)))
        seen = F.scaled_dot_product_attention(query, known[:, 0], known[:, 1], attn_mask=visible)
        return self._after(x, seen, cosine.dtype), known

    def _query_key_value(self, x: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each token and head, the first two turned by its position: (B, heads, T, width / heads) each."""
        batch, length, width = x.shape
        joined = self.query_key_value(self.norm_attend(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key = rotate(joined[:, :, :2].permute(2, 0, 3, 1, 4), cosine, sine)
        return query, key, joined[:, :, 2].transpose(1, 2)

    def _after(self, x: Tensor, seen: Tensor, precision: torch.dtype) -> Tensor:
        """(B, T, width), and what was attended to, (B, heads, T, width / heads) -> (B, T, width)."""
        x = x + self.drop(self.mix(seen.transpose(1, 2).reshape(x.shape)))
        return x + self.drop(self._feed(self.norm_feed(x).to(precision)))

    def _feed(self, y: Tensor) -> Tensor:
        if self.gated:
            gate, value = self.widen(y).chunk(2, -1)
            return self.narrow(F.silu(gate) * value)
        return squared_relu_feed_forward(y, self.widen.weight, self.narrow.weight)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    causal: bool,
    visible: Tensor | None = None,
    span: int | None = None,
    drop: Dropout = WHOLE,
) -> Tensor:
    """Attention, (B, heads, T, d) each -> (B, heads, T, d), to what is ``visible``, and if ``causal`` not to the right.

    One of the two limits at most is given. ``span``: a causal query sees so many keys at most, itself included.
    ``drop``: dropout of the weights.
    """
    batch, heads, length, size = query.shape
    if causal and span is not None and span < length:
        places = torch.arange(length, device=query.device)
        distance = places[:, None] - places
        visible, causal = ((distance >= 0) & (distance < span))[None].expand(batch, -1, -1), False
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        mask = None if visible is None else visible[:, None]
        share = drop.p if drop.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=share, is_causal=causal)
    # On a CPU the backward pass of the fused kernel takes four times as long as these two products (64 to 256 tokens).
    query, key, value = (part.reshape(batch * heads, length, size) for part in (query, key, value))
    if causal:
        hidden = torch.full((length, length), -torch.inf, dtype=query.dtype).triu(1)
    elif visible is None:
        hidden = query.new_zeros(1)
    else:
        hidden = torch.zeros(visible.shape, dtype=query.dtype).masked_fill_(~visible, -torch.inf)
        hidden = hidden.repeat_interleave(heads, 0)
    weights = torch.baddbmm(hidden, query, key.transpose(1, 2), alpha=size**-0.5).softmax(-1)
    return (drop(weights) @ value).view(batch, heads, length, size)


class TransformerNetwork(Network):
    """Embedding, ``layers`` blocks, a last norm, the tied softmax; no state. ``positions``: the longest input;
    ``span``: the tokens that a causal query sees at most, itself included."""

    cosine: Tensor
    sine: Tensor

    def __init__(
        self, vocabulary_size: int, config: TransformerConfig, positions: int, causal: bool, span: int | None = None
    ) -> None:
        width = config.width or 0
        super().__init__(vocabulary_size, width, torch.float32)
        self.drop, self.norm = Dropout(config.dropout or 0.0), nn.RMSNorm(width)
        self.blocks = nn.ModuleList(Block(config, causal, span) for _ in range(config.layers))
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        half = width // (config.heads or 1) // 2
        angles = torch.arange(positions)[:, None] * 10_000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def transform(self, x: Tensor, visible: Tensor | None = None, asked: Tensor | None = None) -> Tensor:
        """Embedded tokens (B, T, width) -> hidden states (B, T, width), or (B, 1, width) of the place ``asked`` for.

        ``visible``, ``asked``: see ``Block``.
        """
        low = self.training and self.precision != torch.float32
        x = self.drop(F.rms_norm(x, x.shape[2:]))
        with torch.autocast(x.device.type, dtype=self.precision if low else torch.bfloat16, enabled=low):
            cosine, sine = self.cosine[: x.shape[1]], self.sine[: x.shape[1]]
            if low:
                cosine, sine = cosine.to(self.precision), sine.to(self.precision)
            for block in self.blocks[:-1]:
                x = self.through(block, x, cosine, sine, visible)
            # What is not asked for need not pass the last.
            x = self.through(self.blocks[-1], x, cosine, sine, visible, asked)
        return self.norm(x)


class Transformer(NeuralModel):
    """A family around a ``TransformerNetwork``: its size and its usual settings."""

    @property
    def width(self) -> int | None:
        return self.config.width

    def work(self, width: int) -> int:
        return 12 * width**2 * self.config.layers

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        optimizer = self.config.optimizer or self.matrix_optimizer
        heads = max((h for h in range(1, max(1, width // 64) + 1) if width % (2 * h) == 0), default=1)
        return {
            "width": width,
            "heads": heads,
            "sequence_length": 128 if fine else 64,
            "dropout": 0.0 if passes < 5 else 0.1 if passes < 12 else 0.2,
            "batch_size": 16,
            "optimizer": optimizer,
            "learning_rate": 3e-3 if optimizer != "muon" else 8e-3 if fine else 6e-3,
        }
