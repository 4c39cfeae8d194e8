"""How a network is trained, as a user sets it -> what the loop reads, checked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lmbench.errors import UsageError
from lmbench.training.budget import Budget
from lmbench.training.optimizers import OptimizerName, ScheduleName

AT_LEAST_ONE = ("batch_size", "sequence_length", "accumulation", "validations", "patience", "hold", "divisor")
NOT_NEGATIVE = ("weight_decay", "clip", "seed", "average_growth")
SHARES = ("warmup", "average_decay", "reset")
VALIDATION_SHARE = 0.1
"""Of a budget in seconds, at most this share is spent on validations before the last; of one in steps or epochs, as
many events may be asked for as this share of those that are trained on."""


@dataclass(frozen=True)
class Plan:
    """The settings of every network that the loop reads. What is left open (None) the family chooses, for the text
    and the budget, before training begins."""

    batch_size: int | None = None
    """Rows of the text that are read in parallel."""
    sequence_length: int | None = None
    """Events of each row in a step."""
    optimizer: OptimizerName | None = None
    """sgd, adamw, asgd (sgd whose weights are averaged once validation stalls; with schedule=constant), or muon
    (orthogonal updates of hidden matrices, adamw for all else)."""
    learning_rate: float | None = None
    """Highest rate of the schedule."""
    schedule: ScheduleName = "linear"
    """How the rate falls until the budget ends: linear, cosine, constant, warmup-stable-decay (constant, then to 0 in
    the last fifth), halving (by half whenever a validation is no better than the best), or stepwise (constant for some
    epochs, then by half at each further one, whatever the budget)."""
    hold: int = 1
    """Epochs at the full rate, with schedule=stepwise."""
    divisor: float = 2.0
    """What halving and stepwise divide the rate by, where that is not 2."""
    varied: bool = False
    """Whether the lengths of the steps vary from pass to pass, the rate with them, so that no event always comes first;
    for networks with a state (the windows of the others begin elsewhere in each pass anyway)."""
    reset: float | None = None
    """Probability that a row of a network with a state begins a step without one, as a text to be scored begins."""
    warmup: float = 0.02
    """Share of the budget in which the rate first rises."""
    weight_decay: float = 0.0
    """Decay of matrices: decoupled under adamw, plain L2 under sgd."""
    clip: float = 0.25
    """Largest norm of the gradient; 0 for no limit."""
    average_decay: float = 0.0
    """Decay, at each step, of a moving average of the weights, which is kept in their place; 0 for none."""
    average_growth: float = 0.0
    """With optimizer=asgd, the weights after the n-th averaged step count about as n^average_growth (Shamir & Zhang
    2013), so that those the average began with are left behind; 0 for all alike (Merity et al. 2018). A small LSTM has
    73.30 after 40 epochs of 130,000 words of Penn Treebank, with 3 66.72, with 8 65.62."""
    accumulation: int = 1
    """Parts in which the rows of a step are read, one after the other, to save memory; their gradients are summed."""
    validations: int = 12
    """How often the validation split is read within the budget; the weights that were best there are kept."""
    patience: int = 3
    """So many validations in a row that are worse than the best by over 0.02 nats end the training early."""
    seed: int = 1
    """Seed of the first weights, of the order of the text and of dropout."""

    def __post_init__(self) -> None:
        self._check(AT_LEAST_ONE, lambda value: value >= 1, "at least 1")
        self._check(NOT_NEGATIVE, lambda value: value >= 0, "at least 0")
        self._check(SHARES, lambda value: 0 <= value < 1, "at least 0 and below 1")
        self._check(("learning_rate",), lambda value: value > 0, "above 0")
        if self.optimizer == "asgd" and self.average_decay:
            raise UsageError("optimizer=asgd averages the weights itself. Leave average_decay out, or take sgd.")
        if self.optimizer != "asgd" and self.average_growth:
            raise UsageError(
                f"average_growth={self.average_growth:g} is for the average of optimizer=asgd: take that, or leave the "
                "growth out."
            )
        if self.hold != 1 and self.schedule != "stepwise":
            raise UsageError(
                f"hold={self.hold} is for a rate that falls by epochs. Add schedule=stepwise, or leave it out "
                f"(the schedule is {self.schedule})."
            )
        if self.divisor != 2 and self.schedule not in ("stepwise", "halving"):
            raise UsageError(
                f"divisor={self.divisor:g} is for a rate that falls in steps. Add schedule=stepwise or halving, or "
                f"leave it out (the schedule is {self.schedule})."
            )
        if self.batch_size and self.accumulation > self.batch_size:
            raise UsageError(
                f"{self.batch_size} rows cannot be read in {self.accumulation} parts. Lower accumulation or raise "
                "batch_size."
            )

    def _check(self, names: tuple[str, ...], fits: Callable[[float], bool], words: str) -> None:
        """Raise UsageError where one of the settings called ``names``, if there is one and it is set, does not fit."""
        for name in names:
            value = getattr(self, name, None)
            if value is not None and not (math.isfinite(value) and fits(value)):
                raise UsageError(f"{name} must be {words}, not {value}.")

    def settled(self) -> tuple[int, int, OptimizerName, float]:
        """Batch size, sequence length, optimiser and learning rate. Raises UsageError while one of them is open."""
        if None in (given := (self.batch_size, self.sequence_length, self.optimizer, self.learning_rate)):
            raise UsageError("batch_size, sequence_length, optimizer and learning_rate must be set to train a network.")
        return given  # type: ignore[return-value]


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
    building: float = 0.0
    """Seconds of steps in which torch.compile was at work. They count, but warm-up and schedule begin after them."""

    @property
    def epoch(self) -> int:
        """Passes over the text that are complete, whatever the budget is counted in."""
        return self.step // self.steps_per_epoch

    @property
    def total(self) -> int | None:
        """Steps of the whole budget, None where it is counted in seconds."""
        if self.budget.seconds is not None:
            return None
        return self.budget.steps or max(1, round((self.budget.epochs or 0) * self.steps_per_epoch))

    def fraction(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        if self.total is not None:
            return min(1.0, self.step / self.total)
        whole = (self.budget.seconds or 0) - self.reserve - self.building
        return min(1.0, max(0.0, self.seconds - self.building) / max(1e-9, whole))

    def affordable(self, validations: int, events: int) -> int:
        """Events that each of so many validations may read beside steps of ``events``; 0 where seconds are counted."""
        return int(VALIDATION_SHARE * (self.total or 0) * events / validations)

    def due(self, validations: int, made: int) -> bool:
        """Whether the next of so many evenly spaced validations, or the last, is to be made now."""
        if self.fraction() >= 1.0:
            return True
        if self.total is not None:  # in whole numbers: at the very step that ends an epoch
            return self.step * validations >= (made + 1) * self.total
        if self.validating > VALIDATION_SHARE * self.seconds:
            return False  # on a slow machine, time is better spent on learning
        return self.fraction() * validations >= made + 1
