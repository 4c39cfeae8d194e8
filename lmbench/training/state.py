"""Everything that changes while a network is trained <-> a checkpoint, to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor

from lmbench.errors import UsageError
from lmbench.training.averaging import Average
from lmbench.training.budget import CurvePoint
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.optimizers import build_optimizer
from lmbench.training.parallel import Parallel
from lmbench.training.plan import Clock, Plan

CHANGEABLE = ("learning_rate", "clip", "patience", "accumulation")
"""Settings that may be other ones where a training is taken up again: what one turns when a training diverged, or when
the memory ran out."""
TOLERANCE = 0.02
"""Nats by which a validation may be worse than the best before it counts against the patience."""
TRIGGER = 3
"""Averaged SGD begins to average where a validation is worse than the best of those more than so many before it."""
CLOCK = ("seconds", "step", "reserve", "validating", "building")
"""What is kept of it."""
EXACT = ("device", "compile", "checkpointing")
"""Settings that say where and how the same numbers are computed."""


class State:
    """Weights, optimiser, clock, recurrent states, the best so far, and what was seen of losses.

    ``settings``: JSON values that decide the numbers of the training, so that it goes on as what it was.
    """

    def __init__(self, parallel: Parallel, plan: Plan, clock: Clock, settings: Mapping[str, Any]) -> None:
        self.parallel, self.network, self.plan, self.clock = parallel, parallel.trained, plan, clock
        self.settings = {"plan": {key: value for key, value in asdict(plan).items() if key not in EXACT}, **settings}
        self.device = parallel.device
        _, _, optimizer, rate = plan.settled()
        self.optimizer = build_optimizer(optimizer, self.network, rate, plan.weight_decay)
        self.average = self._new_average()
        self.hidden: list[Any] = [None] * plan.accumulation
        """Recurrent state after the last step, of each part of its rows."""
        self.best: dict[str, Tensor] = {}
        self.best_loss = math.inf
        self.worse = 0
        """Validations in a row that were worse than the best."""
        self.halvings = 0
        self.tokens = 0
        self.recent: list[Tensor] = []
        """Losses of the last steps."""
        self.curve: list[CurvePoint] = []
        self.notes: list[str] = []
        self.diverged = False
        """Whether the last thing that happened was that."""

    def judge(self, loss: float) -> bool:
        """What a validation changes: the best so far, the patience, the rate on a plateau; whether averaging begins."""
        if loss >= self.best_loss and self.plan.schedule == "halving":
            self.halvings += 1
        self.best_loss = min(loss, self.best_loss)
        self.worse = self.worse + 1 if loss > self.best_loss + TOLERANCE else 0
        if self.plan.optimizer != "asgd" or self.average is not None:
            return False
        long_ago = min((point.valid_loss for point in self.curve[:-TRIGGER]), default=math.inf)
        stalls = loss > long_ago or self.worse >= self.plan.patience  # non-monotonic (Merity et al. 2018)
        if stalls:
            self.average, self.worse = self._long_average(), 0
        return stalls

    def put_back(self) -> None:
        """The best weights again, and nothing remembered of the way that led astray from them."""
        self.network.load_state_dict(self.best)
        self.diverged = True
        self.optimizer.state.clear()
        self.average, self.hidden = self._new_average(), [None] * self.plan.accumulation
        self.worse, self.recent = 0, []

    def keep(self, checkpoints: Checkpoints) -> None:
        """Write everything that a restart needs."""
        whole, gathered = self.parallel.whole, self.parallel.processes.gathered
        tensors = {f"model.{name}": value for name, value in whole(self.network.state_dict()).items()}
        tensors |= {f"best.{name}": value for name, value in whole(self.best).items()}
        for number, entry in self.optimizer.state_dict()["state"].items():
            known = {key: torch.as_tensor(value) for key, value in entry.items() if value is not None}
            tensors |= {f"optimizer.{number}.{key}": value for key, value in whole(known).items()}
        parts = [flatten(hidden) for hidden in self.hidden if hidden is not None]
        rows = [torch.cat(same) for same in zip(*parts, strict=True)]  # whatever the parts in which they are read
        tensors |= {f"state.{number}": gathered(value) for number, value in enumerate(rows)}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.mean.items()}
        tensors["random"] = gathered(torch.get_rng_state())
        if self.device.type == "cuda":
            tensors["random_cuda"] = gathered(torch.cuda.get_rng_state(self.device))
        checkpoints.save(tensors, self._facts())

    def take_up(self, checkpoints: Checkpoints) -> bool:
        """Go on from what was kept, if anything was. Raises UsageError where that was another training."""
        kept = checkpoints.load()
        if kept is None:
            return False
        tensors, facts = kept
        self._compare(facts.get("settings", {}), checkpoints)
        divided, share, shapes = self.parallel.divided, self.parallel.processes.share, self.network.state_dict()
        self.network.load_state_dict(divided(_under(tensors, "model."), shapes))
        best = divided(_under(tensors, "best."), shapes)
        self.best = {name: value.to(self.device) for name, value in best.items()}
        optimizer = self.optimizer.state_dict()
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for name, value in _under(tensors, "optimizer.").items():
            number, key = name.split(".", 1)
            value = divided({key: value}, {key: weights[int(number)]})[key]
            optimizer["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(optimizer)
        rows = [share(value).to(self.device) for _, value in sorted(_under(tensors, "state.").items())]
        for part, flat in enumerate(zip(*(value.chunk(self.plan.accumulation) for value in rows), strict=True)):
            self.hidden[part] = unflatten(flat)
        if facts["averaged"] is not None:
            self.average = self.average or self._long_average()
            self.average.load(_under(tensors, "average."), facts["averaged"])
        torch.set_rng_state(share(tensors["random"]).clone())  # torch reads a view from where its memory begins
        if "random_cuda" in tensors and self.device.type == "cuda":
            torch.cuda.set_rng_state(share(tensors["random_cuda"]).clone(), self.device)
        for name, value in facts["clock"].items():
            setattr(self.clock, name, value)
        self.curve = [CurvePoint(**point) for point in facts["curve"]]
        self.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        self.worse, self.tokens, self.halvings = facts["worse"], facts["tokens"], facts["halvings"]
        self.recent = [torch.tensor(loss, device=self.device) for loss in facts["recent"]]
        before = facts["settings"]["plan"]
        if facts.get("diverged") and self._changes(before):
            self._give_back()
        self.notes = [*facts.get("notes", ()), *self._changes(before)]
        return True

    def _give_back(self) -> None:
        """What was spent since the best validation: with other settings the way from there is another one. Without, or
        the same divergence could come again and again, for ever."""
        number = min(range(len(self.curve)), key=lambda i: self.curve[i].valid_loss)
        if self.plan.schedule == "halving":
            self.halvings -= len(self.curve) - 1 - number
        self.clock.validating *= (number + 1) / len(self.curve)
        self.curve = self.curve[: number + 1]
        then = self.curve[-1]
        self.clock.step, self.clock.seconds, self.tokens = then.step, then.seconds, then.tokens or 0
        self.clock.building = min(self.clock.building, then.seconds)

    def _facts(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "clock": {name: getattr(self.clock, name) for name in CLOCK},
            "curve": [asdict(point) for point in self.curve],
            "best_loss": self.best_loss if self.best else None,
            "worse": self.worse,
            "halvings": self.halvings,
            "averaged": None if self.average is None else self.average.count,
            "tokens": self.tokens,
            "recent": [float(loss) for loss in self.recent],
            "notes": self.notes,
            "diverged": self.diverged,
        }

    def _new_average(self) -> Average | None:
        return Average(self.network, newest=1 - self.plan.average_decay) if self.plan.average_decay else None

    def _long_average(self) -> Average:
        """That of averaged SGD, from where it begins."""
        return Average(self.network, growth=self.plan.average_growth)

    def _compare(self, before: Mapping[str, Any], checkpoints: Checkpoints) -> None:
        """Raise UsageError where a training with the settings of ``before`` cannot go on with these."""
        other = [name for name, value in self.settings.items() if name != "plan" and before.get(name) != value]
        if "shapes" not in other and list(before["shapes"]) != list(self.settings["shapes"]):
            other.append("order of weights")  # which is how an optimiser knows them
        # What a version before had no setting for, it did as the setting does by default.
        usual = {field.name: field.default for field in fields(self.plan) if field.name in self.settings["plan"]}
        then, now = {**usual, **before.get("plan", {})}, self.settings["plan"]
        keys = [key for key in {**then, **now} if key not in CHANGEABLE and then.get(key) != now.get(key)]
        other += [f"{key} ({then.get(key)}, now {now.get(key)})" for key in keys]
        if other:
            raise UsageError(
                f"{checkpoints.directory} holds the state of a training that differs in its {', its '.join(other)}. "
                f"Ask for the same to go on (only {', '.join(CHANGEABLE)} may change), or delete the folder to start "
                "anew."
            )

    def _changes(self, before: Mapping[str, Any]) -> list[str]:
        """What is said of settings that are other ones from here on."""
        now = self.settings["plan"]
        changed = [f"{name} {before[name]}, now {now[name]}" for name in CHANGEABLE if before[name] != now[name]]
        return [f"taken up at step {self.clock.step} with other settings: {'; '.join(changed)}"] if changed else []


def flatten(state: Any) -> tuple[Tensor, ...]:
    """The tensors of a recurrent state, which is one or a tuple of them, (b, ...) each."""
    return state if isinstance(state, tuple) else (state,)


def unflatten(tensors: tuple[Tensor, ...]) -> Any:
    """The recurrent state of which these are the tensors."""
    return tensors if len(tensors) > 1 else tensors[0]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with ``prefix``, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
