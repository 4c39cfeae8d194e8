"""Ids -> states of a recurrence without feedback -> log probabilities: minGRU (Feng et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.fused import squared_relu_feed_forward
from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.products import Linear
from lmbench.models.scan import linear_scan


@dataclass(frozen=True)
class MinGRUConfig(NetworkConfig):
    """Dropout falls on the embedding and on each residual branch; the state runs on from step to step, while the error
    is propagated back through ``sequence_length`` events."""

    width: int | None = None
    """Size of the residual stream and of the tied embedding."""
    layers: int = 3
    """Blocks of convolution, recurrence and feed-forward network."""
    expansion: float = 1.5
    """Cells of each recurrence, in widths."""
    convolution: int = 4
    """Tokens that the convolution before each recurrence reads; 1 for none."""
    warmup: float = 0.05
    """Share of the budget in which the rate first rises."""
    weight_decay: float = 0.1
    """Decay of matrices: decoupled under adamw, plain L2 under sgd."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.expansion > 0:
            raise UsageError(f"expansion must be above 0, not {self.expansion}.")
        if self.convolution < 1:
            raise UsageError(f"convolution must be at least 1, which is none, not {self.convolution}.")


class Block(nn.Module):
    """``x += narrow(minGRU(convolve(norm(x)))); x += feed_forward(norm(x))``.

    State: what the recurrence remembers, and the events before that the convolution still reads, (B, D + (K - 1) W).
    """

    def __init__(self, config: MinGRUConfig) -> None:
        super().__init__()
        width, layers, convolution = config.width or 0, config.layers, config.convolution
        cells = max(1, round(config.expansion * width))
        self.width, self.cells, self.reach = width, cells, convolution - 1
        # torch.compile must not look into loops that are compiled already.
        self.scan = torch.compiler.disable(linear_scan) if config.compile else linear_scan
        self.norm_recur, self.norm_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.convolution = nn.Parameter(torch.zeros(convolution, width))
        self.gate_candidate = Linear(width, 2 * cells)
        self.mix = Linear(cells, width, bias=False)
        self.widen = Linear(width, 4 * width, bias=False)
        self.narrow = Linear(4 * width, width, bias=False)
        self.drop = Dropout(config.dropout or 0.0)
        nn.init.uniform_(self.convolution, -((2 * convolution) ** -0.5), (2 * convolution) ** -0.5)
        nn.init.ones_(self.convolution[-1])  # at first each event reads itself above all
        for linear in (self.gate_candidate, self.widen):
            nn.init.normal_(linear.weight, std=width**-0.5)
        for linear in (self.mix, self.narrow):  # each branch begins small: the sum over 2 x layers stays near 1
            nn.init.normal_(linear.weight, std=(2 * layers * linear.in_features) ** -0.5)
        # Memories of 2 to 64 events at first (Tallec & Ollivier 2018): z = 1 / events.
        nn.init.zeros_(self.gate_candidate.bias)
        with torch.no_grad():
            self.gate_candidate.bias[:cells] = -(2 ** (1 + 5 * torch.rand(cells)) - 1).log()

    @property
    def size(self) -> int:
        """Numbers of its state in each row."""
        return self.cells + self.reach * self.width

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """float (T, B, W), (B, S) -> the same."""
        start, before = state.split([self.cells, self.reach * self.width], -1)
        before = before.unflatten(-1, (self.reach, self.width)).transpose(0, 1)  # (K - 1, B, W)
        inputs = torch.cat((before, self.norm_recur(x).float()))  # (K - 1 + T, B, W)
        convolved = sum(weight * inputs[k : k + len(x)] for k, weight in enumerate(self.convolution))
        gate, candidate = self.gate_candidate(convolved).float().chunk(2, -1)  # (T, B, D) each
        h = self.scan(torch.sigmoid(-gate), torch.sigmoid(gate) * _positive(candidate), start)
        mixed = self.mix(h)  # in the precision of the products
        x = x + self.drop(mixed)
        widen, narrow = self.widen.weight.to(mixed.dtype), self.narrow.weight.to(mixed.dtype)
        x = x + self.drop(squared_relu_feed_forward(self.norm_feed(x).to(mixed.dtype), widen, narrow))
        before = inputs[len(inputs) - self.reach :].transpose(0, 1).flatten(1)
        return x, torch.cat((h[-1], before), -1)


def _positive(x: Tensor) -> Tensor:
    """The paper's g: x + 0.5 where x is not negative, sigmoid(x) elsewhere: smooth, positive, unbounded above."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


class MinGRUNetwork(Network):
    """Embedding, ``layers`` blocks, a last norm, the tied softmax. State: that of all blocks side by side, (B, S)."""

    stateful = True

    def __init__(self, vocabulary_size: int, config: MinGRUConfig) -> None:
        width = config.width or 0
        super().__init__(vocabulary_size, width, torch.float32)
        self.drop, self.norm = Dropout(config.dropout or 0.0), nn.RMSNorm(width)
        blocks = [Block(config) for _ in range(config.layers)]
        self.blocks, self.sizes = nn.ModuleList(blocks), [block.size for block in blocks]
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if state is None:
            state = self.bias.new_zeros(len(ids), sum(self.sizes))
        x = self.drop(F.rms_norm(self.embed(ids.t()), self.embedding.weight.shape[1:]))  # (T, B, W)
        after = []
        with self.autocast(ids.device):
            for block, part in zip(self.blocks, state.split(self.sizes, -1), strict=True):
                x, part = self.through(block, x, part)
                after.append(part)
        return self.norm(x).transpose(0, 1), torch.cat(after, -1)


class MinGRU(NeuralModel):
    """A gated recurrence whose gates see the input alone (Feng et al. 2024, "Were RNNs all we needed?").

    Gate z = sigmoid(W x + b), candidate v = g(U x + d), state ``h_t = (1 - z_t) h_{t-1} + z_t v_t``; x: (B, W); z, v,
    h: (B, D). Neither gate nor candidate depends on h, so all events of a step are computed at once, by matrix products
    over them all and a parallel scan for h; in scoring the state is carried on. As in the paper's language model, the
    blocks hold a causal convolution over 4 tokens, the recurrence and a feed-forward network, with norms and residuals.
    """

    kind = "mingru"
    Config = MinGRUConfig

    @property
    def width(self) -> int | None:
        return self.config.width

    def work(self, width: int) -> int:
        return round((3 * self.config.expansion + 8) * width**2 * self.config.layers)

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        optimizer = self.config.optimizer or self.matrix_optimizer
        return {
            "width": width,
            "sequence_length": 64,
            "dropout": 0.0 if passes < 4 else 0.1 if passes < 8 else 0.2 if passes < 16 else 0.3,
            "batch_size": 32,
            "optimizer": optimizer,
            "learning_rate": 6e-3,
        }

    def build(self, vocabulary_size: int) -> MinGRUNetwork:
        config = self.config
        self.structure = f"minGRU, {config.layers} x {config.width}, dropout {config.dropout:g}"
        return MinGRUNetwork(vocabulary_size, config)
