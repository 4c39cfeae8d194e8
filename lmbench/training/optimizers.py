"""Names -> optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["linear", "cosine", "constant"]

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda fraction: 1.0 - fraction,
    "cosine": lambda fraction: 0.5 * (1.0 + math.cos(math.pi * fraction)),
    "constant": lambda fraction: 1.0,
}


def build_optimizer(
    name: OptimizerName, module: nn.Module, learning_rate: float, decay: float
) -> torch.optim.Optimizer:
    """The optimiser over all parameters of ``module``; weight decay only for matrices (not biases, gains)."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate)
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=fused)


def learning_rate_factor(schedule: ScheduleName, warmup: float, fraction: float) -> float:
    """What the learning rate is multiplied by when ``fraction`` in [0, 1] of the budget is used.

    It rises linearly over the first ``warmup`` of the budget, then follows the schedule to its end,
    whatever the budget is counted in: steps, epochs or seconds.
    """
    if fraction < warmup:
        return max(fraction, 1e-3) / warmup
    return SCHEDULES[schedule](min(1.0, (fraction - warmup) / (1.0 - warmup)))
