"""Names -> optimisers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

OptimizerName = Literal["sgd", "adamw", "asgd", "muon"]
ScheduleName = Literal["linear", "cosine", "constant", "warmup-stable-decay", "halving", "stepwise"]

DESCENT = ("sgd", "asgd")
"""Plain gradient descent, whose steps are as large as the gradient is: its rates are of another size."""
BETAS, EPSILON = (0.9, 0.99), 1e-8
"""Of AdamW, wherever it is used."""
COOLDOWN = 0.2
"""Share of the budget in which the rate of ``warmup-stable-decay`` falls."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda fraction: 1.0 - fraction,
    "cosine": lambda fraction: 0.5 * (1.0 + math.cos(math.pi * fraction)),
    "constant": lambda fraction: 1.0,
    "halving": lambda fraction: 1.0,
    "stepwise": lambda fraction: 1.0,
}


def build_optimizer(
    name: OptimizerName, module: nn.Module, learning_rate: float, decay: float
) -> torch.optim.Optimizer:
    """The optimiser over all parameters of ``module``; weight decay only for matrices (not biases, gains).

    ``asgd`` is sgd here: what it averages, and from when on, is the loop's.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    if name == "muon":
        edges = _edges(module)
        matrices = groups[0]["params"]
        groups[0] = {**groups[0], "params": [p for p in matrices if id(p) in edges]}
        hidden = [p for p in matrices if id(p) not in edges]
        groups.append({"params": hidden, "weight_decay": decay, "orthogonal": True})
    groups = [group for group in groups if group["params"]]
    if name in DESCENT:
        return torch.optim.SGD(groups, lr=learning_rate)
    if name == "muon":
        return Muon(groups, learning_rate, getattr(module, "precision", torch.float32))
    fused = parameters[0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=fused)


def update(optimizer: torch.optim.Optimizer, rate: float, clip: float) -> Tensor:
    """One step of the optimiser at that learning rate -> the norm of the gradient, which is shortened to ``clip`` first
    where it is longer (Pascanu et al. 2013) and that is not 0.

    Plain descent on a CPU takes the shorter step instead of passing over the gradient once more.
    """
    groups = optimizer.param_groups
    weights = [weight for group in groups for weight in group["params"] if weight.grad is not None]
    norm = nn.utils.get_total_norm([weight.grad for weight in weights])
    plain = isinstance(optimizer, torch.optim.SGD) and type(norm) is Tensor and norm.device.type == "cpu"
    if clip and plain and not any(group["weight_decay"] for group in groups):
        rate *= min(clip / (float(norm) + 1e-6), 1.0)  # nan where that is the norm
    elif clip:
        nn.utils.clip_grads_with_norm_(weights, clip, norm)
    for group in groups:
        group["lr"] = rate
    optimizer.step()
    return norm


def _edges(module: nn.Module) -> set[int]:
    """Identities of the embeddings and the softmax matrix, whose rows belong to words."""
    edges = {id(p) for part in module.modules() if isinstance(part, nn.Embedding) for p in part.parameters()}
    return edges | {id(getattr(module, "softmax_weight", None))}


class Muon(torch.optim.Optimizer):
    """Momentum whose singular values are made equal, for hidden matrices; AdamW for all else (Jordan et al. 2024).

    With gradient G of a matrix (R, C): ``M <- 0.95 M + G``, ``O = orthogonal(G + 0.95 M)``,
    ``W <- W - rate (0.2 sqrt(max(R, C)) O + decay W)``. The factor gives each update the root mean square that AdamW's
    have, so that one rate serves both (Liu et al. 2025). A group with ``orthogonal`` holds hidden matrices;
    ``precision`` is that of its products.
    """

    def __init__(
        self, groups: list[dict[str, Any]], learning_rate: float, precision: torch.dtype = torch.float32
    ) -> None:
        self.precision = precision
        fused = groups[0]["params"][0].device.type in ("cpu", "cuda")
        defaults = {"lr": learning_rate, "weight_decay": 0.0, "momentum": 0.95, "orthogonal": False, "fused": fused}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in weights]
            if not group["orthogonal"]:
                self._adapt(weights, gradients, group)
                continue
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in weights:
                alike.setdefault(tuple(weight.shape), []).append(weight)
            for same in alike.values():
                self._turn(same, group)

    def _turn(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """One update of hidden matrices of one shape, (R, C); a convolution's is (outputs, inputs x kernel)."""
        for weight in weights:
            if "momentum" not in self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        moments = [self.state[weight]["momentum"] for weight in weights]
        gradients: list[Any] = [weight.grad for weight in weights]  # each has one: see step
        torch._foreach_mul_(moments, group["momentum"])
        torch._foreach_add_(moments, gradients)
        steps = torch.stack(torch._foreach_add(gradients, moments, alpha=group["momentum"])).flatten(2)
        rows, columns = steps.shape[1:]
        updates = orthogonal(steps if rows <= columns else steps.mT, self.precision)
        updates = updates if rows <= columns else updates.mT.contiguous()
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        turned = updates.view(len(weights), *weights[0].shape).unbind()
        torch._foreach_add_(weights, turned, alpha=-group["lr"] * 0.2 * max(rows, columns) ** 0.5)

    def _adapt(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """One update of all other weights, by AdamW."""
        for weight in weights:
            if "step" not in self.state[weight]:
                first = {"exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}
                self.state[weight].update(step=torch.zeros((), device=weight.device), **first)
        states = [self.state[weight] for weight in weights]
        adamw(
            weights, gradients, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states],
            [], [s["step"] for s in states], amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=EPSILON, maximize=False,
            fused=group["fused"],
        )  # fmt: skip


def orthogonal(matrices: Tensor, precision: torch.dtype = torch.float32, steps: int = 5) -> Tensor:
    """U V' of each matrix = U S V', nearly: float (N, R, C), R <= C -> the same, singular values between 0.68 and
    1.2 but for those below 0.0016 of the norm.

    Newton-Schulz iteration: ``X <- a X + (b A + c A^2) X`` with ``A = X X'`` takes each singular value s to
    ``a s + b s^3 + c s^5``; Jordan's coefficients lift small ones fastest. Products are in ``precision``.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(precision)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def learning_rate_factor(
    schedule: ScheduleName, warmup: float, fraction: float, falls: int = 0, divisor: float = 2.0
) -> float:
    """What the learning rate is multiplied by when ``fraction`` in [0, 1] of the budget is used.

    It rises linearly over the first ``warmup`` of the budget, then follows the schedule to its end, whatever the
    budget is counted in: steps, epochs or seconds. ``warmup-stable-decay`` falls to 0 in the last fifth of the budget
    as 1 - sqrt (Hägele et al. 2024). ``halving`` and ``stepwise`` are constant but for the ``falls`` so far, at each of
    which the rate was divided by ``divisor``: the loop counts them.
    """
    if fraction < warmup:
        return min(1.0, max(fraction, 1e-3) / warmup)
    if schedule == "warmup-stable-decay":
        return 1.0 - math.sqrt(max(0.0, min(1.0, fraction) - 1.0 + COOLDOWN) / COOLDOWN)
    return SCHEDULES[schedule](min(1.0, (fraction - warmup) / (1.0 - warmup))) / divisor**falls
