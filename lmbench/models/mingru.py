"""Ids -> states of a recurrence without feedback -> log probabilities: minGRU (Feng et al. 2024)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmbench.models.blocks import Block, BlockConfig, BlockModel, convolve, taps
from lmbench.models.products import Linear
from lmbench.models.scan import linear_scan


class MinGRUBlock(Block):
    """``recur(x) = M minGRU(convolve(x))``, M: (E, D).

    State: what the recurrence remembers, and the events before that the convolution still reads, (B, D + (K - 1) E).
    """

    def __init__(self, config: BlockConfig) -> None:
        width = config.width or 0
        cells = max(1, round(config.expansion * width))
        super().__init__(config, cells)
        self.convolution = taps(config.convolution, width)
        self.gate_candidate = Linear(width, 2 * cells)
        nn.init.normal_(self.gate_candidate.weight, std=width**-0.5)
        # Memories of 2 to 64 events at first (Tallec & Ollivier 2018): z = 1 / events.
        nn.init.zeros_(self.gate_candidate.bias)
        with torch.no_grad():
            self.gate_candidate.bias[:cells] = -(2 ** (1 + 5 * torch.rand(cells)) - 1).log()
        self.parts = [cells, (config.convolution - 1) * width]
        self.size = sum(self.parts)

    def recur(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        start, before = state.split(self.parts, -1)
        convolved, before = convolve(self.convolution, x.float(), before)
        gate, candidate = self.gate_candidate(convolved).float().chunk(2, -1)  # (T, B, D) each
        h = linear_scan(torch.sigmoid(-gate), torch.sigmoid(gate) * _positive(candidate), start)
        return self.mix(h), torch.cat((h[-1], before), -1)


def _positive(x: Tensor) -> Tensor:
    """The paper's g: x + 0.5 where x is not negative, sigmoid(x) elsewhere: smooth, positive, unbounded above."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


class MinGRU(BlockModel):
    """A gated recurrence whose gates see the input alone (Feng et al. 2024, "Were RNNs all we needed?").

    Gate z = sigmoid(W x + b), candidate v = g(U x + d), state ``h_t = (1 - z_t) h_{t-1} + z_t v_t``; x: (B, E); z, v,
    h: (B, D). Neither gate nor candidate depends on h, so all events of a step are computed at once, by matrix products
    over them all and a parallel scan for h; in scoring the state is carried on. As in the paper's language model, the
    blocks hold a causal convolution over 4 tokens, the recurrence and a feed-forward network, with norms and residuals.
    """

    kind, title, block = "mingru", "minGRU", MinGRUBlock
    Config = BlockConfig
    learning_rate = 6e-3

    def work(self, width: int) -> int:
        return round((3 * self.config.expansion + 8) * width**2 * self.config.layers)
