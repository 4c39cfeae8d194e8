"""Ids -> a memory that fades by what is read -> log probabilities: Mamba-2 (Dao & Gu 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.models.blocks import Block, BlockConfig, BlockModel, convolve, taps
from lmbench.models.products import Linear

CHUNK = 64
"""Events that read each other directly; what was before them is read from the state."""


@dataclass(frozen=True)
class MambaConfig(BlockConfig):
    """See ``BlockConfig``."""

    expansion: float = 2.0
    """Cells of each recurrence, in widths, rounded to whole heads."""
    head_size: int = 64
    """Cells that fade at the same rate."""
    state_size: int = 64
    """Numbers that each cell remembers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(("head_size", "state_size"), lambda value: value >= 1, "at least 1")


class MambaBlock(Block):
    """``z, v, s = W x``; ``u, b, c = silu(convolve(v))``; ``recur(x) = M norm(silu(z) (state_space(u, b, c) + d u))``,
    with steps softplus(s + bias) and a weight d of each head; W: (2 D + 2 N + heads, E), M: (E, D).

    State: the events before that the convolution still reads, and the memory, (B, (K - 1) (D + 2 N) + D N).
    """

    def __init__(self, config: MambaConfig) -> None:
        width, numbers = config.width or 0, config.state_size
        heads = max(1, round(config.expansion * width / config.head_size))
        cells = heads * config.head_size
        super().__init__(config, cells)
        self.heads, self.memory = heads, (heads, numbers, config.head_size)
        self.parts = [cells, cells + 2 * numbers, self.heads]
        self.read = [cells, numbers, numbers]
        self.split = Linear(width, sum(self.parts), bias=False)
        self.convolution = taps(config.convolution, self.parts[1])
        self.norm_mix = nn.RMSNorm(cells)
        nn.init.normal_(self.split.weight, std=width**-0.5)
        # Steps of 0.2 to 1 at first, and memories of 2 to 64 events.
        steps, events = 5 ** (torch.rand(self.heads) - 1), 2 ** (1 + 5 * torch.rand(self.heads))
        self.step_bias = nn.Parameter(steps.expm1().log())  # softplus of it is the step
        self.fading = nn.Parameter(-(steps * events).log())  # ln of what a step of 1 fades by
        self.skip = nn.Parameter(torch.ones(self.heads))
        self.sizes = [(config.convolution - 1) * self.parts[1], cells * numbers]
        self.size = sum(self.sizes)

    def recur(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        before, kept = state.split(self.sizes, -1)
        memory = kept.unflatten(-1, self.memory)  # (B, heads, N, P)
        gate, v, step = self.split(x).split(self.parts, -1)
        convolved, before = convolve(self.convolution.to(v.dtype), v, before.to(v.dtype))
        u, b, c = F.silu(convolved).split(self.read, -1)
        u = u.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)  # (B, heads, T, P)
        steps = F.softplus(step.float() + self.step_bias).permute(1, 2, 0)  # (B, heads, T)
        falls = -steps * self.fading.exp()[:, None]
        by_event = (u, 2), (b.transpose(0, 1), 1), (c.transpose(0, 1), 1), (steps, 2), (falls, 2)
        outputs = []
        for chunk in zip(*(array.split(CHUNK, dimension) for array, dimension in by_event), strict=True):
            y, memory = state_space(*chunk, memory)  # type: ignore[call-arg]
            outputs.append(y)
        y = torch.cat(outputs, 2) + self.skip.to(u.dtype)[:, None, None] * u
        y = y.permute(2, 0, 1, 3).flatten(2) * F.silu(gate)  # (T, B, D)
        return self.mix(self.norm_mix(y.float())), torch.cat((before.float(), memory.flatten(1)), -1)


def state_space(u: Tensor, b: Tensor, c: Tensor, steps: Tensor, falls: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """``M_t = exp(falls_t) M_{t-1} + steps_t b_t u_t'``, ``y_t = M_t' c_t`` of each row and head, all events at once.

    Written out, ``y_t = exp(F_t) M_0' c_t + sum over s <= t of exp(F_t - F_s) steps_s (c_t' b_s) u_s``, F being the
    running sum of falls: attention that fades, beside what the memory holds (Dao & Gu 2024, section 6).
    u: (B, heads, T, P); b, c: (B, T, N), all heads'; steps, falls, the latter negative: float32 (B, heads, T); memory
    M_0: float32 (B, heads, N, P) -> y like u, and the memory after the last event.
    """
    total = falls.cumsum(-1)
    future = torch.ones(total.shape[-1:] * 2, dtype=torch.bool, device=u.device).triu(1)
    left = (total[..., :, None] - total[..., None, :]).masked_fill(future, -torch.inf).exp()  # (B, heads, T, T)
    attention = (left * steps[..., None, :]).to(u.dtype) * (c @ b.mT)[:, None]
    since_start = total.exp()[..., None]
    y = attention @ u + (c[:, None] @ memory.to(u.dtype)) * since_start.to(u.dtype)
    to_end = (steps * (total[..., -1:] - total).exp()).to(u.dtype)[..., None]
    return y, since_start[..., -1:, :] * memory + (b.mT[:, None] @ (to_end * u)).float()


class Mamba(BlockModel):
    """A recurrence over matrices, whose memory fades by what is read (Dao & Gu 2024, Mamba-2).

    The memory of a head, M: (N, P), keeps what was read under the address it was written to: see ``state_space``. How
    much it fades, what is written and what is read depend on the input alone, so all events of a step are
    computed at once, by matrix products; in scoring the memory is carried on. A convolution over 4 tokens comes before
    it, a gate and a norm after. Between the recurrences stand feed-forward networks, as in all blocks here.
    """

    kind, title, block = "mamba", "Mamba-2", MambaBlock
    Config = MambaConfig
    learning_rate = 1e-2

    def work(self, width: int) -> int:
        config, cells = self.config, self.config.expansion * width
        matrices = width * (3 * cells + 2 * config.state_size + cells / config.head_size + 8 * width)
        return round(config.layers * (matrices + (CHUNK + 2 * config.state_size) * cells + CHUNK * config.state_size))
