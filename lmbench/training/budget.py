"""What a fit may cost, how it reports while it runs, and what it says at the end."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol, Self

from lmbench.errors import UsageError

Step = Literal["structure", "data", "forward", "backward", "predict"]
"""The five steps of every model: what it is made of, what it reads, how it gives probabilities,
how it learns from its errors, how it is used."""


@dataclass(frozen=True)
class Budget:
    """When training ends: after so many seconds, steps (parameter updates) or epochs; exactly one is given.

    >>> Budget.parse("90s"), Budget.parse("5epochs")
    (Budget(seconds=90.0, steps=None, epochs=None), Budget(seconds=None, steps=None, epochs=5.0))
    """

    seconds: float | None = None
    steps: int | None = None
    epochs: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.seconds, self.steps, self.epochs) if value is not None]
        if len(given) != 1:
            raise UsageError("A budget is one of seconds, steps or epochs, for example 60s, 2000steps or 5epochs.")
        if not 0 < given[0] < float("inf"):
            raise UsageError(f"A budget of {self} leaves no time to learn. Give more than 0, for example 60s.")

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``60s``, ``5m``, ``1h``, ``2000steps`` or ``5epochs``. Raises UsageError for anything else."""
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text.lower())
        number = float(match[1]) if match else 0.0
        scale = {"": 1, "s": 1, "sec": 1, "seconds": 1, "m": 60, "min": 60, "minutes": 60, "h": 3600, "hours": 3600}
        unit = match[2] if match else "?"
        if unit in scale:
            return cls(seconds=number * scale[unit])
        if unit in ("step", "steps"):
            return cls(steps=int(number))
        if unit in ("epoch", "epochs"):
            return cls(epochs=number)
        raise UsageError(f"'{text}' is not a budget. Write seconds, steps or epochs: 60s, 5m, 2000steps, 5epochs.")

    @classmethod
    def of(cls, budget: Budget | str | None) -> Budget:
        """``budget``, read where it is text; a minute where none is given."""
        return cls.parse(budget) if isinstance(budget, str) else budget or cls(seconds=60)

    def __str__(self) -> str:
        if self.seconds is not None:
            return f"{self.seconds:g}s"
        return f"{self.steps}steps" if self.steps is not None else f"{self.epochs:g}epochs"


class Progress(Protocol):
    """Where a fit reports. Implementations draw, log or stay silent; they never change the fit."""

    def step(self, name: Step, detail: str) -> None:
        """One of the five steps begins; ``detail`` says in one line what it is for this model."""

    def update(self, fraction: float, **figures: float) -> None:
        """``fraction`` in [0, 1] of the budget is used; ``figures`` such as step, loss (nats per event),
        valid_loss, tokens_per_second, seconds_left."""

    def note(self, text: str) -> None:
        """Something the user should know, such as a fallback that was used."""


class Silent:
    """Progress that says nothing."""

    def step(self, name: Step, detail: str) -> None:
        pass

    def update(self, fraction: float, **figures: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


@dataclass(frozen=True)
class CurvePoint:
    """One validation: when, and how good. Losses are nats per event.

    ``tokens``: training events read until then, repeats included; None in the files of versions that did not count.
    """

    seconds: float
    step: int
    epochs: float
    train_loss: float | None
    valid_loss: float
    tokens: int | None = None

    @property
    def valid_perplexity(self) -> float:
        return math.exp(self.valid_loss)

    def to_dict(self) -> dict[str, Any]:
        """The point as JSON values."""
        return {**asdict(self), "valid_perplexity": self.valid_perplexity}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave, also that of an older version."""
        return cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})


@dataclass(frozen=True)
class FitReport:
    """What a fit cost and reached.

    ``train_seconds``: wall seconds inside ``fit``. ``tokens``: training events read, repeats included.
    ``valid_loss``: nats per event of the kept model on what validations read of their split, None where none was made.
    ``stopped``: why training ended: ``budget``, ``early-stop``, ``closed-form`` or ``interrupted``.
    """

    train_seconds: float
    tokens: int
    steps: int = 0
    epochs: float = 1.0
    valid_loss: float | None = None
    stopped: str = "closed-form"
    device: str = "cpu"
    precision: str = "float64"
    curve: tuple[CurvePoint, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.train_seconds if self.train_seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        curve = [point.to_dict() for point in self.curve]
        return {**asdict(self), "curve": curve, "tokens_per_second": self.tokens_per_second}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        known = {field.name: content[field.name] for field in fields(cls)}
        curve = tuple(CurvePoint.from_dict(point) for point in content["curve"])
        return cls(**{**known, "curve": curve, "notes": tuple(content["notes"])})
