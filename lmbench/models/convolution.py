"""Ids -> gated causal convolutions -> log probabilities (Dauphin et al. 2017; Bai et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.products import Linear
from lmbench.models.sizing import usual_dropout


@dataclass(frozen=True)
class ConvolutionConfig(NetworkConfig):
    """Dropout falls on the embedding, on each residual branch and before the softmax. What the layers read runs on
    from step to step, while the error is propagated back through ``sequence_length`` events."""

    width: int | None = None
    """Channels of each layer, and size of the tied embedding."""
    layers: int = 6
    """Gated convolutions, one above the other."""
    kernel: int = 4
    """Positions that each convolution reads: the newest and ``kernel - 1`` before it."""
    dilation: int = 1
    """Factor by which the distance between these positions grows from each layer to the next; 1: all are neighbours."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel < 2:
            raise UsageError(
                f"kernel must be at least 2, not {self.kernel}: a convolution of 1 reads no history. Choose 2 to 5."
            )
        if self.dilation < 1:
            raise UsageError(f"dilation must be at least 1, not {self.dilation}. Choose 1 (none) or 2 (doubling).")
        if self.window > (longest := 1 << 16):
            raise UsageError(
                f"{self.layers} layers with kernel={self.kernel} and dilation={self.dilation} would read "
                f"{self.window:,} tokens of history, more than {longest:,}. Choose fewer layers or a smaller dilation."
            )

    @property
    def steps(self) -> list[int]:
        """Distance between the positions that each layer reads, from the lowest layer to the highest."""
        return [self.dilation**layer for layer in range(self.layers)]

    @property
    def window(self) -> int:
        """Tokens that a prediction can see.

        >>> ConvolutionConfig(layers=3, kernel=3).window, ConvolutionConfig(layers=3, kernel=3, dilation=2).window
        (7, 15)
        """
        return 1 + (self.kernel - 1) * sum(self.steps)


class Block(nn.Module):
    """``x += M ((W * y + b) sigmoid(V * y + c))``, y = norm(x), ``*`` a causal convolution: the gated linear unit
    lets the gradient pass through its linear half. Position t reads t, t - d, ..., t - (kernel - 1) d."""

    def __init__(self, width: int, kernel: int, dilation: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.RMSNorm(width), Dropout(dropout)
        self.convolve = nn.Conv1d(width, 2 * width, kernel, dilation=dilation)
        self.mix = Linear(width, width, bias=False)
        nn.init.normal_(self.convolve.weight, std=(kernel * width) ** -0.5)
        nn.init.normal_(self.mix.weight, std=2 * (layers * width) ** -0.5)  # a gate halves what passes it

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, C), what the convolution read before it (B, (kernel - 1) d, C) -> x, and the same for the next."""
        read = torch.cat((before, self.norm(x)), 1)  # (B, (kernel - 1) d + T, C)
        gated = F.glu(self.convolve(read.transpose(1, 2)), dim=1)  # (B, C, T)
        return x + self.drop(self.mix(gated.transpose(1, 2))), read[:, x.shape[1] :]


class ConvolutionNetwork(Network):
    """Embedding, gated convolutions, a projection, the tied softmax.

    Without the projection, a residual stream that begins as the embedding would predict that each word repeats itself.
    The state holds what each layer would read again, one after the other along the time axis, float
    (B, sum of (kernel - 1) d, C); at first it is zero.
    """

    stateful = True

    def __init__(self, vocabulary_size: int, width: int, kernel: int, steps: list[int], dropout: float) -> None:
        super().__init__(vocabulary_size, width, torch.float32)
        self.reaches = [(kernel - 1) * step for step in steps]
        self.window = 1 + sum(self.reaches)
        self.drop = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, kernel, step, len(steps), dropout) for step in steps)
        self.project = Linear(width, width, bias=False)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        nn.init.normal_(self.project.weight, std=0.1 * width**-0.5)  # at first all words are nearly as likely

    def start(self, rows: int) -> Tensor:
        return self.bias.new_zeros(rows, sum(self.reaches), self.project.in_features)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.start(len(ids)) if state is None else state
        x = self.drop(F.rms_norm(self.embed(ids), self.embedding.weight.shape[1:]))  # (B, T, C)
        after = []
        with self.autocast(ids.device):
            for block, before in zip(self.blocks, state.split(self.reaches, 1), strict=True):
                x, read = self.through(block, x, before)
                after.append(read)
            x = self.project(x).float()
        return self.drop(x), torch.cat(after, 1)


class Convolution(NeuralModel):
    """Gated causal convolutions: each layer joins a few positions, and a stack of them sees a long stretch of
    history at once, without recurrence (Dauphin et al. 2017).

    Each layer is x += M ((W * y + b) sigmoid(V * y + c)) with y = norm(x) and * a convolution over the newest and the
    ``kernel - 1`` positions before it; x: (B, T, C), W and V: (C, C, kernel), M: (C, C); then
    p(w | history) = softmax(E P x + b), E the embedding (V, C), P: (C, C). ``dilation`` spreads these
    positions, d = dilation^layer apart, so that the history grows exponentially with depth (Bai et al. 2018). Norms
    of the activations (RMS) stand where the papers normalise the weights.

    A prediction sees 1 + (kernel - 1) sum(d) tokens; the history runs on across boundaries (``stream``), and
    each layer reads zeros before the first token of a row.

    >>> Convolution(ConvolutionConfig(layers=6, kernel=3, dilation=2)).config.window
    127
    """

    kind = "cnn"
    Config = ConvolutionConfig
    chunk = 2048

    @property
    def width(self) -> int | None:
        return self.config.width

    def work(self, width: int) -> int:
        return (2 * self.config.kernel + 1) * width**2 * self.config.layers + width**2

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        return {
            "width": width,
            "dropout": usual_dropout(passes, none_below=4),
            "batch_size": 16,
            "sequence_length": 128 if fine else 64,
            "optimizer": "adamw",
            "learning_rate": 4e-3,
        }

    def build(self, vocabulary_size: int) -> ConvolutionNetwork:
        config = self.config
        self.structure = (
            f"gated convolutions, {config.layers} x {config.width}, kernel {config.kernel}, window {config.window}, "
            f"dropout {config.dropout:g}"
        )
        return ConvolutionNetwork(vocabulary_size, config.width, config.kernel, config.steps, config.dropout)
