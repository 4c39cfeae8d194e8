"""Blocks that remember: what networks of a recurrence without feedback share, minGRU and Mamba-2.

Each block is a recurrence over its input and a feed-forward network, with norms and residuals; all events of a step are
computed at once, and a state is carried from step to step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.fused import squared_relu_feed_forward
from lmbench.models.network import Dropout, Network, begin_small
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.products import Linear


@dataclass(frozen=True)
class BlockConfig(NetworkConfig):
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


class Block(nn.Module, ABC):
    """``x += recur(norm(x)); x += U max(0, W norm(x))^2``, x: (T, B, E), W: (4 E, E), U: (E, 4 E).

    ``mix``: the matrix with which ``recur`` ends; ``size``: numbers of its state in each row.
    """

    size: int

    def __init__(self, config: BlockConfig, cells: int) -> None:
        super().__init__()
        width = config.width or 0
        self.norm_recur, self.norm_feed = nn.RMSNorm(width), nn.RMSNorm(width)
        self.mix = Linear(cells, width, bias=False)
        self.widen, self.narrow = Linear(width, 4 * width, bias=False), Linear(4 * width, width, bias=False)
        self.drop = Dropout(config.dropout or 0.0)
        nn.init.normal_(self.widen.weight, std=width**-0.5)
        begin_small(config.layers, self.mix, self.narrow)

    @abstractmethod
    def recur(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """float (T, B, E), (B, S) -> the same; the first in the precision of the products."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """float (T, B, E), (B, S) -> the same."""
        mixed, state = self.recur(self.norm_recur(x), state)
        x = x + self.drop(mixed)
        y = self.norm_feed(x).to(mixed.dtype)
        return x + self.drop(squared_relu_feed_forward(y, self.widen.weight, self.narrow.weight)), state


def taps(count: int, channels: int) -> nn.Parameter:
    """The first weights of ``convolve``, (K, C): at first each event reads itself above all."""
    weights = nn.Parameter(torch.empty(count, channels))
    nn.init.uniform_(weights, -((2 * count) ** -0.5), (2 * count) ** -0.5)
    nn.init.ones_(weights[-1])
    return weights


def convolve(weights: Tensor, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Each channel over the last K events: weights (K, C), float (T, B, C), and the K - 1 events before them, (B, (K -
    1) C) -> (T, B, C), and the last K - 1 events.

    >>> convolve(torch.tensor([[0.5], [1.0]]), torch.tensor([[[3.0]], [[5.0]]]), torch.tensor([[2.0]]))
    (tensor([[[4.0000]],
    <BLANKLINE>
            [[6.5000]]]), tensor([[5.]]))
    """
    reach = len(weights) - 1
    inputs = torch.cat((before.unflatten(-1, (reach, x.shape[2])).transpose(0, 1), x))  # (K - 1 + T, B, C)
    result = weights[0] * inputs[: len(x)]
    for k in range(1, reach + 1):
        result = result + weights[k] * inputs[k : k + len(x)]
    return result, inputs[len(x) :].transpose(0, 1).flatten(1)


class BlockNetwork(Network):
    """Embedding, blocks, a last norm, the tied softmax. State: that of all blocks side by side, (B, S)."""

    stateful = True

    def __init__(self, vocabulary_size: int, config: BlockConfig, kind: Callable[[Any], Block]) -> None:
        width = config.width or 0
        super().__init__(vocabulary_size, width, torch.float32)
        self.drop, self.norm = Dropout(config.dropout or 0.0), nn.RMSNorm(width)
        blocks = [kind(config) for _ in range(config.layers)]
        self.blocks, self.sizes = nn.ModuleList(blocks), [block.size for block in blocks]
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def start(self, rows: int) -> Tensor:
        return self.bias.new_zeros(rows, sum(self.sizes))

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        state = self.start(len(ids)) if state is None else state
        x = self.drop(F.rms_norm(self.embed(ids.t()), self.embedding.weight.shape[1:]))  # (T, B, E)
        after = []
        with self.autocast(ids.device):
            for block, part in zip(self.blocks, state.split(self.sizes, -1), strict=True):
                x, part = self.through(block, x, part)
                after.append(part)
        return self.norm(x).transpose(0, 1), torch.cat(after, -1)


class BlockModel(NeuralModel):
    """A family around a ``BlockNetwork``; each states its block, and its usual learning rate."""

    gains_by_building = True
    title: ClassVar[str]
    block: ClassVar[Any]  # a class: config -> Block
    learning_rate: ClassVar[float]

    @property
    def width(self) -> int | None:
        return self.config.width

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        return {
            "width": width,
            "sequence_length": 64,
            "dropout": 0.0 if passes < 4 else 0.1 if passes < 8 else 0.2 if passes < 16 else 0.3,
            "batch_size": 32,
            "optimizer": self.config.optimizer or self.matrix_optimizer,
            "learning_rate": self.learning_rate,
        }

    def build(self, vocabulary_size: int) -> BlockNetwork:
        config = self.config
        self.structure = f"{self.title}, {config.layers} x {config.width}, dropout {config.dropout:g}"
        return BlockNetwork(vocabulary_size, config, self.block)
