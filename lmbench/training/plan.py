"""How a network is trained, and how much of the budget is used."""

from __future__ import annotations

from dataclasses import dataclass

from lmbench.training.budget import Budget
from lmbench.training.optimizers import OptimizerName, ScheduleName


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    ``batch_size`` rows of ``sequence_length`` events make a step; they are read in ``accumulation`` parts, whose
    gradients are summed. ``clip``: largest gradient norm, 0 for none. ``average_decay``: of the exponential moving
    average of the weights, which is then validated and kept instead of them; 0 for none. ``validations``: how often
    the validation split is read within the budget. ``patience``: so many validations in a row that are worse than
    the best by over 0.02 nats end the training early. ``hold``: epochs before ``schedule="stepwise"`` first divides the
    rate by ``divisor``, which it does at the beginning of every later epoch; ``"halving"`` divides by it too.
    ``varied``: the lengths of the steps vary from pass to pass, the rate with them; for networks with a state.
    """

    batch_size: int
    sequence_length: int
    optimizer: OptimizerName
    learning_rate: float
    schedule: ScheduleName = "linear"
    hold: int = 1
    divisor: float = 2.0
    varied: bool = False
    warmup: float = 0.0
    weight_decay: float = 0.0
    clip: float = 0.0
    average_decay: float = 0.0
    accumulation: int = 1
    validations: int = 12
    patience: int = 3
    seed: int = 1


@dataclass
class Clock:
    """What has been used of the budget. ``seconds`` runs on over interruptions."""

    budget: Budget
    steps_per_epoch: int
    seconds: float = 0.0
    step: int = 0
    reserve: float = 0.0
    """Seconds kept back for the last validation."""
    validating: float = 0.0
    """Seconds spent on validation so far."""

    @property
    def epoch(self) -> int:
        """Passes over the text that are complete, whatever the budget is counted in."""
        return self.step // self.steps_per_epoch

    def fraction(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        if self.budget.seconds is not None:
            return min(1.0, self.seconds / max(1e-9, self.budget.seconds - self.reserve))
        total = self.budget.steps or max(1, round((self.budget.epochs or 0) * self.steps_per_epoch))
        return min(1.0, self.step / total)
