"""A network + tokens + a budget -> trained weights: the one gradient loop of the package.

It reads as the five steps it is: *structure* (the network, built by its model), *data* (windows of
the token stream), *forward* (log probabilities of the next tokens), *backward* (gradients and one
update), *predict* (validation; the best weights are kept).
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lmbench.corpus.batches import Tokens, TrainingRows
from lmbench.errors import TrainingError, UsageError
from lmbench.training.averaging import Average
from lmbench.training.budget import Budget, CurvePoint, FitReport, Progress
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.devices import reuse_memory
from lmbench.training.distributed import processes
from lmbench.training.interruption import deferred_interrupt
from lmbench.training.optimizers import build_optimizer, learning_rate_factor
from lmbench.training.parallel import Parallel, check_shards
from lmbench.training.plan import Clock, Plan
from lmbench.training.validation import Validation

VALIDATION_SHARE = 0.1
"""Of a budget in seconds, at most this share is spent on validations before the last."""
CHECKPOINT_SHARE = 0.02
"""Of the time is spent on keeping the state, at most; but no more often than every second."""
TRIGGER = 3
"""Averaged SGD begins to average where a validation is worse than the best of those at least so many before it."""


class Network(Protocol):
    """What the loop knows of a model. It is also a ``torch.nn.Module``."""

    stateful: bool
    """Whether state runs on from one window to the next (recurrent) or windows stand alone."""
    overlap: int
    """Events that a window shares with the one before it where text is scored, 0 if none."""

    def loss(self, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, L + 1) -> mean loss in nats per event, and the detached state after the rows."""

    def loss_after(self, rows: Tensor, seen: int) -> Tensor:
        """The same where ``overlap`` is not 0: the first ``seen`` events of each row are history only."""


def train(
    network: nn.Module,
    train_tokens: Tokens,
    valid_tokens: Tokens,
    plan: Plan,
    budget: Budget,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
) -> FitReport:
    """Train ``network`` (a ``Network``) in place; on return it holds the best weights seen on validation.

    Raises TrainingError where the loss stops being a number or memory runs out, KeyboardInterrupt on SIGINT or
    SIGTERM after the state was kept in ``checkpoints``.
    """
    with deferred_interrupt() as interrupted:
        return _Training(network, train_tokens, valid_tokens, plan, budget, progress, checkpoints).run(interrupted)


@contextmanager
def enough_memory(batch_size: int, sequence_length: int) -> Iterator[None]:
    """Turn the many forms of "out of memory" into one TrainingError that names the settings to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
        if not full:
            raise
        raise TrainingError(
            f"Memory ran out with batch_size={batch_size} and sequence_length={sequence_length}. "
            "Halve batch_size, or take a smaller model."
        ) from None


class _Training:
    """One fit: its network, data, optimiser, clock and best weights."""

    def __init__(
        self,
        network: nn.Module,
        train_tokens: Tokens,
        valid_tokens: Tokens,
        plan: Plan,
        budget: Budget,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> None:
        self.plan, self.progress, self.checkpoints, self.processes = plan, progress, checkpoints, processes()
        self.processes.check(plan.batch_size)
        if self.processes.sharded:
            check_shards(plan.optimizer, bool(plan.average_decay))
        self.parallel = Parallel(network, self.processes)
        self.network = network = self.parallel.trained
        self.device = self.parallel.device
        if self.device.type == "cpu":
            reuse_memory()
        shape, shuffled = (plan.batch_size, plan.sequence_length), not network.stateful
        self.data = TrainingRows(train_tokens, *shape, shuffled=shuffled, seed=plan.seed, varied=plan.varied)
        self.processes.check(self.data.batch_size)
        self.validation = Validation(self.parallel, valid_tokens, plan.batch_size, plan.sequence_length)
        self.optimizer = build_optimizer(plan.optimizer, network, plan.learning_rate, plan.weight_decay)
        self.clock = Clock(budget, self.data.steps)
        self.average = Average(network, 1 - plan.average_decay) if plan.average_decay else None
        self.states: list[Any] = [None] * plan.accumulation
        self.halvings = 0
        self.curve: list[CurvePoint] = []
        self.best: dict[str, Tensor] = {}
        self.settings = {
            "plan": asdict(plan),
            "number of processes": self.processes.size,
            "budget": str(budget),
            "text": hashlib.sha256(train_tokens.ids.tobytes() + valid_tokens.ids.tobytes()).hexdigest(),
            "shapes": {name: list(value.shape) for name, value in network.state_dict().items()},
        }
        self.limit = 4 * math.log(train_tokens.vocabulary_size) + 20  # far worse than guessing: lost for good
        self.best_loss, self.worse, self.tokens = math.inf, 0, 0
        self.since_validation: list[Tensor] = []

    def run(self, interrupted: threading.Event) -> FitReport:
        self._resume()
        started = time.perf_counter() - self.clock.seconds
        keep_at = self.clock.seconds + 1.0
        stopped = "budget"
        self.network.train()
        ended = bool(self.best) and self.clock.fraction() >= 1.0  # cut off between its last step and its report
        while not ended and stopped == "budget":
            epoch, first = divmod(self.clock.step, self.data.steps)
            if first == 0:
                self.states = [None] * self.plan.accumulation
            for rows in self.data.epoch(epoch, first):
                self._step(torch.from_numpy(self.processes.share(rows)).to(self.device))
                self.clock.seconds, cut_off = self.processes.agree(time.perf_counter() - started, interrupted.is_set())
                ended = self.clock.fraction() >= 1.0
                if self._due():
                    self._validate()
                    self.clock.seconds, _ = self.processes.agree(time.perf_counter() - started)
                if cut_off or self.clock.seconds > keep_at:
                    began = self.clock.seconds
                    self._keep()
                    self.clock.seconds, _ = self.processes.agree(time.perf_counter() - started)
                    keep_at = self.clock.seconds + max(1.0, (self.clock.seconds - began) / CHECKPOINT_SHARE)
                if cut_off:
                    raise KeyboardInterrupt
                if self.worse >= self.plan.patience:
                    stopped = "early-stop"
                if ended or stopped != "budget":
                    break
        self.network.load_state_dict(self.best)
        self.network.eval()
        self.parallel.finish()
        return self._report(stopped)

    def _step(self, rows: Tensor) -> None:
        """Forward, backward, update."""
        plan, fraction = self.plan, self.clock.fraction()
        factor = learning_rate_factor(plan.schedule, plan.warmup, fraction, self._falls(), plan.divisor)
        if plan.varied:
            factor *= (rows.shape[1] - 1) / self.data.length  # every event weighs the same
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        mean = torch.zeros((), device=self.device)
        parts = rows.chunk(self.plan.accumulation)
        for number, part in enumerate(parts):
            share = len(part) / len(rows)
            with self.parallel.step(last=part is parts[-1]) as loss_of:
                loss, self.states[number] = loss_of(part, self.states[number])
                (loss * share).backward()
            mean += loss.detach() * share
        if self.plan.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.add()
        self.clock.step += 1
        self.tokens += self.processes.size * rows.shape[0] * (rows.shape[1] - 1)
        self.since_validation.append(mean)
        if self.clock.step % 20 == 0:
            self._show(self._recent())

    def _falls(self) -> int:
        """How often the rate has been divided: on validations that asked for it, or at epochs."""
        if self.plan.schedule == "stepwise":
            return max(0, self.clock.epoch + 1 - self.plan.hold)
        return self.halvings

    def _due(self) -> bool:
        """Whether the next of the plan's evenly spaced validations, or the last, is to be made now."""
        fraction, clock = self.clock.fraction(), self.clock
        if fraction >= 1.0:
            return True
        if clock.budget.seconds is not None and clock.validating > VALIDATION_SHARE * clock.seconds:
            return False  # on a slow machine, time is better spent on learning
        return fraction * self.plan.validations >= len(self.curve) + 1

    def _recent(self) -> float:
        """Mean loss of the last steps; raises TrainingError where it is no number, or far above that of guessing."""
        recent = self.processes.mean(float(torch.stack(self.since_validation[-20:]).mean()))
        if not recent < self.limit:
            raise TrainingError(
                f"The loss became {recent:g} nats an event at step {self.clock.step}: training diverged. "
                f"Lower learning_rate (it is {self.plan.learning_rate:g}) or set a smaller clip."
            )
        return recent

    def _show(self, loss: float, **more: float) -> None:
        fraction, seconds = self.clock.fraction(), self.clock.seconds
        left = seconds * (1 - fraction) / fraction if fraction else math.nan
        self.progress.update(
            fraction,
            step=self.clock.step,
            loss=loss,
            tokens_per_second=self.tokens / seconds if seconds else 0.0,
            seconds_left=left,
            **more,
        )

    def _validate(self) -> None:
        """Mean loss over the validation split, the best weights so far, and what follows for the training."""
        began = time.perf_counter()
        with self.average.in_place() if self.average is not None else nullcontext():
            loss_now = self.validation.loss()
            if loss_now < self.best_loss:
                self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.clock.reserve, _ = self.processes.agree(time.perf_counter() - began)
        self.clock.validating += self.clock.reserve
        recent = self._recent() if self.since_validation else None
        if not loss_now < self.limit:
            self.since_validation.append(torch.tensor(loss_now))
            self._recent()
        self.since_validation = self.since_validation[-20:]
        self._react(loss_now)
        epochs = self.clock.step / self.data.steps
        self.curve.append(CurvePoint(round(self.clock.seconds, 3), self.clock.step, epochs, recent, loss_now))
        self._show(recent if recent is not None else math.nan, valid_loss=loss_now)

    def _react(self, loss: float) -> None:
        """What a validation changes: the best so far, the patience, the rate on a plateau, the begin of averaging."""
        if loss >= self.best_loss and self.plan.schedule == "halving":
            self.halvings += 1
        self.best_loss = min(loss, self.best_loss)
        self.worse = self.worse + 1 if loss > self.best_loss + 0.02 else 0
        if self.plan.optimizer == "asgd" and self.average is None:
            long_ago = min((point.valid_loss for point in self.curve[:-TRIGGER]), default=math.inf)
            if loss > long_ago or self.worse >= self.plan.patience:  # non-monotonic (Merity et al. 2018)
                self.average, self.worse = Average(self.network, newest=0.0), 0
                self.progress.note(f"the weights are averaged from step {self.clock.step} on")

    def _keep(self) -> None:
        """Write everything that a restart needs."""
        if self.checkpoints is None:
            return
        whole, gathered = self.parallel.whole, self.processes.gathered
        tensors = {f"model.{name}": value for name, value in whole(self.network.state_dict()).items()}
        tensors |= {f"best.{name}": value for name, value in whole(self.best).items()}
        for number, entry in self.optimizer.state_dict()["state"].items():
            known = {key: torch.as_tensor(value) for key, value in entry.items() if value is not None}
            tensors |= {f"optimizer.{number}.{key}": value for key, value in whole(known).items()}
        for part, state in enumerate(self.states):
            tensors |= {f"state.{part}.{number}": gathered(value) for number, value in enumerate(_flatten(state))}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.mean.items()}
        tensors["random"] = gathered(torch.get_rng_state())
        if self.device.type == "cuda":
            tensors["random_cuda"] = gathered(torch.cuda.get_rng_state(self.device))
        self.checkpoints.save(tensors, self._facts())

    def _facts(self) -> dict[str, Any]:
        clock = self.clock
        return {
            "settings": self.settings,
            "clock": {name: getattr(clock, name) for name in ("seconds", "step", "reserve", "validating")},
            "curve": [asdict(point) for point in self.curve],
            "best_loss": self.best_loss if self.best else None,
            "worse": self.worse,
            "halvings": self.halvings,
            "averaged": None if self.average is None else self.average.count,
            "tokens": self.tokens,
            "recent": [float(loss) for loss in self.since_validation],
        }

    def _resume(self) -> None:
        """Take up a kept state, or start afresh with the plan's seed."""
        kept = self.checkpoints.load() if self.checkpoints is not None else None
        if kept is None:
            return
        tensors, facts = kept
        other = [name for name in self.settings if facts.get("settings", {}).get(name) != self.settings[name]]
        if other:
            raise UsageError(
                f"{self.checkpoints.directory if self.checkpoints else ''} holds the state of a training with another "
                f"{' and another '.join(other)}. Ask for the same to go on, or delete the folder to start anew."
            )
        shapes, share = self.network.state_dict(), self.processes.share
        self.network.load_state_dict(self.parallel.divided(_under(tensors, "model."), shapes))
        best = {name: value.to(self.device) for name, value in _under(tensors, "best.").items()}
        self.best = self.parallel.divided(best, shapes)
        optimizer = self.optimizer.state_dict()
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for name, value in _under(tensors, "optimizer.").items():
            number, key = name.split(".", 1)
            value = self.parallel.divided({key: value}, {key: weights[int(number)]})[key]
            optimizer["state"].setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict(optimizer)
        for part in range(self.plan.accumulation):
            flat = [share(value).to(self.device) for _, value in sorted(_under(tensors, f"state.{part}.").items())]
            self.states[part] = tuple(flat) if len(flat) > 1 else (flat[0] if flat else None)
        if facts["averaged"] is not None:
            self.average = self.average or Average(self.network, newest=0.0)
            self.average.load(_under(tensors, "average."), facts["averaged"])
        torch.set_rng_state(share(tensors["random"]).clone())  # torch reads a view from where its memory begins
        if "random_cuda" in tensors:
            torch.cuda.set_rng_state(share(tensors["random_cuda"]).clone(), self.device)
        for name, value in facts["clock"].items():
            setattr(self.clock, name, value)
        self.curve = [CurvePoint(**point) for point in facts["curve"]]
        self.best_loss = math.inf if facts["best_loss"] is None else facts["best_loss"]
        self.worse, self.tokens, self.halvings = facts["worse"], facts["tokens"], facts["halvings"]
        self.since_validation = [torch.tensor(loss) for loss in facts["recent"]]
        self.progress.note(f"training goes on from step {self.clock.step}")

    def _report(self, stopped: str) -> FitReport:
        return FitReport(
            train_seconds=self.clock.seconds,
            tokens=self.tokens,
            steps=self.clock.step,
            epochs=self.clock.step / self.data.steps,
            valid_loss=self.best_loss,
            stopped=stopped,
            device=str(self.device) if self.processes.alone else f"{self.processes.size} x {self.device.type}",
            curve=tuple(self.curve),
        )


def _flatten(state: Any) -> list[Tensor]:
    """The tensors of a recurrent state: none, one, or a tuple of them."""
    if state is None:
        return []
    return list(state) if isinstance(state, tuple) else [state]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name begins with ``prefix``, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
