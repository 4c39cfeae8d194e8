"""A network + tokens + a budget -> trained weights: the one gradient loop of the package.

It reads as the five steps it is: *structure* (the network, built by its model), *data* (windows of
the token stream), *forward* (log probabilities of the next tokens), *backward* (gradients and one
update), *predict* (validation; the best weights are kept).
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lmbench.corpus.batches import Tokens, TrainingRows, checksum
from lmbench.errors import DivergenceError
from lmbench.training.budget import Budget, CurvePoint, FitReport, Progress
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.devices import reuse_memory
from lmbench.training.distributed import processes
from lmbench.training.interruption import deferred_interrupt
from lmbench.training.optimizers import learning_rate_factor, update
from lmbench.training.parallel import Parallel, check_shards
from lmbench.training.plan import Clock, Plan
from lmbench.training.replay import Replay, gradients
from lmbench.training.state import State, flatten, unflatten
from lmbench.training.validation import VALID_EVENTS, Validation

CHECKPOINT_SHARE = 0.02
"""Of the time is spent on keeping the state, at most; but no more often than every second."""
BUILDING = 2
"""Steps after which torch.compile has built what it will: some networks once more when they are first given a state."""
RECENT = 20
"""Steps over which the training loss is averaged, and between two reports of it."""


class Network(Protocol):
    """What the loop knows of a model. It is also a ``torch.nn.Module``."""

    stateful: bool
    """Whether state runs on from one window to the next (recurrent) or windows stand alone."""
    overlap: int
    """Events that a window shares with the one before it where text is scored, 0 if none."""
    replayable: bool
    """Whether a step runs the same kernels whatever the tokens are: nothing is asked of them, such as how many."""

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

    Its weights are float32 whatever the precision of its matrix products, which is its own matter.

    Raises DivergenceError where the loss or the gradient stops being a number; then too the network holds the best
    weights, if any, and ``checkpoints`` a state to go on from. Raises KeyboardInterrupt when that was kept on SIGINT.
    """
    with deferred_interrupt() as interrupted:
        return _Training(network, train_tokens, valid_tokens, plan, budget, progress, checkpoints).run(interrupted)


class _Training:
    """One fit: the network, its data, and the state of its training."""

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
        rows, length, optimizer, self.rate = plan.settled()
        self.processes.check(rows)
        if self.processes.sharded:
            check_shards(optimizer, bool(plan.average_decay))
        self.parallel = Parallel(network, self.processes)
        self.network = network = self.parallel.trained
        self.device = self.parallel.device
        if self.device.type == "cpu":
            reuse_memory()
        self.data = TrainingRows(
            train_tokens, rows, length, shuffled=not network.stateful, seed=plan.seed, varied=plan.varied
        )
        self.processes.check(self.data.batch_size)
        self.clock = Clock(budget, self.data.steps)
        events = max(VALID_EVENTS, self.clock.affordable(plan.validations, rows * length))
        self.validation = Validation(self.parallel, valid_tokens, rows, length, events)
        settings = {
            "number of processes": self.processes.size,
            "budget": str(budget),
            "text": checksum(train_tokens, valid_tokens),
            "shapes": {name: list(value.shape) for name, value in network.state_dict().items()},
        }
        if events != VALID_EVENTS:
            settings["events of a validation"] = events
        self.state = State(self.parallel, plan, self.clock, settings)
        self.guessing = math.log(train_tokens.vocabulary_size)
        # Far worse than guessing: lost for good. SoftmaxLoss tells no more than 69 nats.
        self.limit = min(4 * self.guessing + 20, 60)
        self.rate_now, self.norm = self.rate, torch.zeros(())  # of the last step: its rate, its gradient's norm
        replays = self.device.type == "cuda" and self.processes.alone and bool(network.replayable)
        self.unbuilt = BUILDING if getattr(network, "compiled", None) else 0
        self.replay = Replay(self.parallel.loss, network.parameters(), self.device) if replays else None

    def run(self, interrupted: threading.Event) -> FitReport:
        """From the first step, or the one after that which was kept, to the report."""
        if self.checkpoints is not None and self.state.take_up(self.checkpoints):
            for note in [f"training goes on from step {self.clock.step}", *self.state.notes]:
                self.progress.note(note)
        self.network.train()
        try:
            with self.replay.turn() if self.replay else nullcontext():
                stopped = self._learn(interrupted)
            if self.processes.agree(0.0, interrupted.is_set())[1]:  # perhaps only during the last validation
                self._keep(asked=True)
                raise KeyboardInterrupt
        except DivergenceError as error:
            error.best = bool(self.state.best)
            self._put_back()
            raise
        self.network.load_state_dict(self.state.best)
        self.network.eval()
        self.parallel.finish()
        return self._report(stopped)

    def _learn(self, interrupted: threading.Event) -> str:
        """Step after step, pass after pass, until budget or patience are used up or a signal comes; which it was."""
        started = time.perf_counter() - self.clock.seconds
        keep_at = self.clock.seconds + 1.0
        # A training that was cut off between its last step and its report has no step left.
        if self.state.worse >= self.plan.patience:
            return "early-stop"
        ended = bool(self.state.best) and self.clock.fraction() >= 1.0
        while not ended:
            epoch, first = divmod(self.clock.step, self.data.steps)
            if first == 0:
                self.state.hidden = [None] * self.plan.accumulation
            for rows in self.data.epoch(epoch, first):
                before = self.clock.seconds
                self._step(torch.from_numpy(self.processes.share(rows)).to(self.device))
                self.clock.seconds, cut_off = self.processes.agree(time.perf_counter() - started, interrupted.is_set())
                if self.unbuilt:
                    self.unbuilt -= 1
                    self.clock.building += self.clock.seconds - before
                ended = self.clock.fraction() >= 1.0
                if self.clock.due(self.plan.validations, len(self.state.curve)):
                    self._validate()
                    self.clock.seconds, _ = self.processes.agree(time.perf_counter() - started)
                if cut_off:
                    return "interrupted"
                if self.clock.seconds > keep_at:
                    began = self.clock.seconds
                    self._keep()
                    self.clock.seconds, _ = self.processes.agree(time.perf_counter() - started)
                    keep_at = self.clock.seconds + max(1.0, (self.clock.seconds - began) / CHECKPOINT_SHARE)
                if self.state.worse >= self.plan.patience:
                    return "early-stop"
                if ended:
                    break
        return "budget"

    def _step(self, rows: Tensor) -> None:
        """Forward, backward, update."""
        self.state.optimizer.zero_grad()
        loss = self._gradients(rows)
        self.rate_now = self._rate(rows.shape[1] - 1)
        self.norm = update(self.state.optimizer, self.rate_now, self.plan.clip)
        if self.state.average is not None:
            self.state.average.add()
        self.clock.step += 1
        self.state.tokens += self.processes.size * rows.shape[0] * (rows.shape[1] - 1)
        self.state.recent.append(loss)
        if self.clock.step % RECENT == 0:
            self._show(self._recent())

    def _gradients(self, rows: Tensor) -> Tensor:
        """Forward and backward, part by part: the mean loss of the rows (B, L + 1), and its gradient in the network."""
        mean = torch.zeros((), device=self.device)
        parts = rows.chunk(self.plan.accumulation)
        for number, part in enumerate(parts):
            share = len(part) / len(rows)
            before = self._state_before(number)
            with self.parallel.step(last=part is parts[-1]) as loss_of:
                found = self.replay(part, before, share) if self.replay else gradients(loss_of, part, before, share)
            loss, self.state.hidden[number] = found
            mean += loss * share
        return mean

    def _state_before(self, number: int) -> Any:
        """The recurrent state before part ``number`` of the rows, (b, ...) each: that after the step before, but for
        rows that begin anew. Otherwise a network would forget what it is to begin (Melis et al. 2018)."""
        state = self.state.hidden[number]
        if state is None or not self.plan.reset:
            return state
        tensors = flatten(state)
        begin = torch.rand(len(tensors[0]), device=self.device) < self.plan.reset
        return unflatten(tuple(tensor.masked_fill(begin.view(-1, *[1] * (tensor.dim() - 1)), 0) for tensor in tensors))

    def _rate(self, length: int) -> float:
        """The learning rate of a step of so many events; where their number varies, all of them weigh the same."""
        plan, used = self.plan, self.clock.fraction()
        falls = max(0, self.clock.epoch + 1 - plan.hold) if plan.schedule == "stepwise" else self.state.halvings
        weight = length / self.data.length if plan.varied else 1.0
        return self.rate * weight * learning_rate_factor(plan.schedule, plan.warmup, used, falls, plan.divisor)

    def _recent(self) -> float:
        """Mean loss of the last steps. Raises DivergenceError: see ``_check``."""
        if not self.state.recent:
            return math.nan
        loss = self.processes.mean(float(torch.stack(self.state.recent[-RECENT:]).mean()))
        self._check(loss)
        return loss

    def _check(self, loss: float) -> None:
        """Raise DivergenceError where a loss or the gradient is no number, or the loss far above that of guessing."""
        norm = self._norm()
        if loss < self.limit and math.isfinite(norm):
            return
        what = f"gradient became {norm:g}" if loss < self.limit else f"loss became {loss:g} nats an event"
        clip = f"a smaller clip (it is {self.plan.clip:g})" if self.plan.clip else "a clip, such as clip=0.25"
        advice = f"Lower learning_rate (it is {self.rate:g}) or set {clip}."
        raise DivergenceError(f"The {what} at step {self.clock.step}: training diverged. {advice}")

    def _validate(self) -> None:
        """Mean loss over the validation split, the best weights so far, and what follows for the training."""
        state, began = self.state, time.perf_counter()
        recent = self._recent()
        with state.average.in_place() if state.average is not None else nullcontext():
            loss = self.validation.loss()
            self._check(loss)
            if loss < state.best_loss:
                state.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.clock.reserve, _ = self.processes.agree(time.perf_counter() - began)
        self.clock.validating += self.clock.reserve
        state.recent = state.recent[-RECENT:]
        if state.judge(loss):
            self.progress.note(f"the weights are averaged from step {self.clock.step} on")
        seconds, step, train_loss = round(self.clock.seconds, 3), self.clock.step, recent if state.recent else None
        state.curve.append(CurvePoint(seconds, step, step / self.data.steps, train_loss, loss, state.tokens))
        self._show(recent, valid_loss=loss)

    def _keep(self, asked: bool = False) -> None:
        """Write the state, unless it is one that nobody would go on from. ``asked``: by whoever interrupts."""
        if self.checkpoints is not None:
            loss = self._recent()
            if asked or self.state.best or not loss > self.guessing + 1:
                self.state.keep(self.checkpoints)

    def _put_back(self) -> None:
        """After a divergence: the best weights, and a checkpoint that goes on from them. Where there are none yet, the
        checkpoint stays that of the last step whose loss was a number."""
        if not self.state.best:
            return
        self.state.put_back()
        self.network.eval()
        self.parallel.finish()
        if self.checkpoints is not None:
            self.state.keep(self.checkpoints)
            self.processes.wait()  # the others may look for what process 0 has kept

    def _norm(self) -> float:
        """Of the last gradient, over all processes."""
        return float(self.parallel.whole({"norm": self.norm})["norm"])

    def _show(self, loss: float, **more: float) -> None:
        fraction, seconds = self.clock.fraction(), self.clock.seconds
        self.progress.update(
            fraction,
            step=self.clock.step,
            loss=loss,
            learning_rate=self.rate_now,
            gradient_norm=self._norm(),
            tokens_per_second=self.state.tokens / seconds if seconds else 0.0,
            seconds_left=(seconds - self.clock.building) * (1 - fraction) / fraction if fraction else math.nan,
            **more,
        )

    def _report(self, stopped: str) -> FitReport:
        return FitReport(
            train_seconds=self.clock.seconds,
            tokens=self.state.tokens,
            steps=self.clock.step,
            epochs=self.clock.step / self.data.steps,
            valid_loss=self.state.best_loss,
            stopped=stopped,
            device=str(self.device) if self.processes.alone else f"{self.processes.size} x {self.device.type}",
            curve=tuple(self.state.curve),
            notes=tuple(self.state.notes),
        )
