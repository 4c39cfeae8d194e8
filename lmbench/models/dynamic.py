"""A trained network + the text it is asked about -> log probabilities by weights that follow the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from lmbench.corpus.batches import Batch, Tokens, TrainingRows
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.composed import Wrapper
from lmbench.models.distributions import at_once, in_order
from lmbench.models.network import Network, detached
from lmbench.models.neural import NeuralModel
from lmbench.models.recurrent import RecurrentLayer
from lmbench.training.budget import Progress
from lmbench.training.checkpoints import write_tensors

STATISTICS_FILE = "gradients.safetensors"
RATES = {"rms": (0.0003, 0.001, 0.003, 0.01), "sgd": (0.03, 0.1, 0.3, 1.0)}
"""Tried where the rate is open, from small to large, until one is worse than that before it ..."""
DECAYS = (0.003, 0.01, 0.03)
"""... and then, where the decay is open."""
SAMPLE = 6_000
"""Events of the validation split, the first, on which both are chosen."""
BATCHES, ROWS = 200, 16
"""Steps over the training text, and its rows in each, from which the size of gradients is told."""
EPSILON = 3.0
"""Times the mean of all root mean squares, added to each."""


@dataclass(frozen=True)
class DynamicConfig:
    """How the weights follow. Written ``dynamic(lstm:hidden=256):segment=5``."""

    segment: int = 20
    """Events after which the weights take a step: a step learns from them, and serves those that follow."""
    rule: Literal["rms", "sgd"] = "rms"
    """rms: each weight in units of its own gradients on the training text (Krause et al. 2018); sgd: all alike."""
    rate: float | None = None
    """Length of a step; if open, chosen on the validation split. 0 leaves the weights as they were trained."""
    decay: float | None = None
    """Share of the way back to the trained weights in each step; if open, chosen on the validation split."""

    def __post_init__(self) -> None:
        if self.segment < 1:
            raise UsageError(f"segment is the events of a step, so at least 1, not {self.segment}.")
        if self.rate is not None and not 0 <= self.rate < float("inf"):
            raise UsageError(f"rate must be at least 0, not {self.rate:g}. Leave it out to have it chosen.")
        if self.decay is not None and not 0 <= self.decay <= 1:
            raise UsageError(
                f"decay must be at least 0 and at most 1, not {self.decay:g}. Leave it out to have it chosen."
            )


class Dynamic(Wrapper):
    """Dynamic evaluation: the weights of a trained network learn on from the text that it is asked about.

    After each segment s of the text, scored before anything is learned from it (Mikolov et al. 2010; Krause et al.
    2018), with g the gradient of its mean loss, t the trained weights, and r the root mean square of each weight's
    gradient on the training text::

        w <- w - rate g / (r + 3 mean r) + decay min(r / mean r, 1 / decay) (t - w)    rms
        w <- w - rate g + decay (t - w)                                                sgd

    Each row of a batch begins from the trained weights, and so does each text. Segments of a network whose windows
    stand alone are read behind the same history as without adaptation, so that a rate of 0 gives its very numbers.
    """

    kind = "dynamic"
    Config = DynamicConfig

    def __init__(self, config: DynamicConfig | None, base: LanguageModel) -> None:
        super().__init__(config, base)
        self.statistics: dict[str, Tensor] = {}  # root mean square of each parameter's gradients

    @classmethod
    def takes(cls, family: type) -> bool:
        return issubclass(family, NeuralModel) and family.reads == "left"

    @property
    def network(self) -> Network:
        """That of the base."""
        return self.base._fitted()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.base.device

    def tune(self, train: Tokens, valid: Tokens, progress: Progress) -> tuple[float | None, str]:
        """Measure gradients on ``train``; choose rate, then decay, on the first events of ``valid``."""
        config = self.config
        progress.step(
            "structure", f"weights that follow the text, by {config.rule}, a step every {config.segment} events"
        )
        if config.rule == "rms":
            self._measure(train)
        sample = Batch.of([valid.ids[: SAMPLE + 1]])
        self.config = replace(config, rate=0.0, decay=0.0)
        still = best = self._loss(sample)
        if config.rate is None:
            best = self._choose("rate", RATES[config.rule], sample, best)
        else:
            self.config = replace(self.config, rate=config.rate)
        if config.decay is None and self.config.rate:
            best = self._choose("decay", DECAYS, sample, self._loss(sample))
        elif config.decay is not None:
            self.config = replace(self.config, decay=config.decay)
            best = self._loss(sample)
        note = (
            f"dynamic evaluation at rate {self.config.rate:g}, decay {self.config.decay:g}: {best:.4f} nats per event "
            f"on {sample.targets.sum():,} of the validation split, {still:.4f} without"
        )
        return best, note

    def _choose(self, name: str, values: Sequence[float], sample: Batch, best: float) -> float:
        """Set the one of ``values`` under which ``sample`` has the least loss, if that is below ``best``."""
        before = best
        for value in values:
            was, self.config = self.config, replace(self.config, **{name: value})
            loss = self._loss(sample)
            if loss >= before:
                self.config = was
                break
            before = loss
        return min(best, before)

    def _loss(self, batch: Batch) -> float:
        """Nats per event."""
        return -float(self.log_probs(batch)[batch.targets].mean(dtype=np.float64))

    def _measure(self, train: Tokens) -> None:
        """The root mean square of each weight's gradient, of a segment in the mean, over steps of the training text."""
        network, config = self.network.eval(), self.config
        length = config.segment if network.stateful else network.window or config.segment
        data = TrainingRows(train, ROWS, length, shuffled=not network.stateful, seed=1)
        weights, state = list(network.parameters()), None
        squares = [torch.zeros_like(weight) for weight in weights]
        with _differentiable(network):
            for rows in islice(data.epoch(0), BATCHES):
                loss, state = network.loss(torch.from_numpy(rows).to(self.device), state)
                gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
                # The mean of n gradients varies by 1 / n of what each does, so a segment's by n / segment as much.
                scale = rows.shape[0] * (rows.shape[1] - 1) / config.segment
                torch._foreach_addcmul_(squares, gradients, gradients, value=scale)
        names = [name for name, _ in network.named_parameters()]
        steps = min(BATCHES, data.steps)
        self.statistics = {name: square.div_(steps).sqrt_() for name, square in zip(names, squares, strict=True)}

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float32 (B, T), nats; each row begins from the trained weights."""
        ids, wanted = (torch.from_numpy(array).to(self.device) for array in (batch.ids, batch.targets))
        result = torch.zeros(batch.ids.shape, dtype=torch.float32, device=self.device)
        with torch.no_grad():
            for hidden, row, column in self.hidden_states(batch):
                keep = wanted[row, column + 1]
                row, column = row[keep], column[keep] + 1
                result[row, column] = self.network.log_probs_of(hidden[keep], ids[row, column])
        return result.cpu().numpy()

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float32 (B, V), nats: the distribution after each row's last token, by weights that followed the row."""
        longer = Batch.of([np.append(row, 0) for row in prefixes.rows()])  # any token to be predicted
        last = torch.from_numpy(prefixes.last()).to(self.device)
        result = torch.empty(len(last), len(self.tokenizer.vocabulary), device=self.device)
        with torch.no_grad():
            for hidden, row, column in self.hidden_states(longer):
                keep = column == last[row]
                if keep.any():
                    result[row[keep]] = self.network.log_softmax(hidden[keep])
        return result.cpu().numpy()

    @torch.no_grad()
    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float32 (N, V), nats, a block after the other: see ``base.Distributions``."""
        size = at_once(len(self.tokenizer.vocabulary))
        for part in in_order(batch, 0):  # row by row: those in which nothing is learned are read before the others
            wanted = torch.from_numpy(part.targets).to(self.device)
            for hidden, row, column in self.hidden_states(part):
                for states in hidden[wanted[row, column + 1]].split(size):
                    yield self.network.log_softmax(states).cpu().numpy()

    def hidden_states(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """See ``NeuralModel.hidden_states``; what is yielded belongs to the weights that ``network`` has then."""
        network, config, lengths = self.network.eval(), self.config, batch.lengths
        first_step = config.segment if network.stateful else min(config.segment, network.window or config.segment)
        still = (lengths - 1 <= first_step) | (config.rate == 0)  # nothing follows a step
        if still.any():
            rows, width = torch.from_numpy(np.flatnonzero(still)), int(lengths[still].max())
            part = Batch(batch.ids[still, :width], batch.targets[still, :width], lengths[still])
            for hidden, row, column in self.base.hidden_states(part):
                yield hidden, rows.to(row.device)[row], column
        if still.all():
            return
        with self._following() as (step, begin):
            for number in np.flatnonzero(~still):
                begin()
                row, state = torch.from_numpy(batch.ids[number, : lengths[number]]).to(self.device), None
                for start, first, last in _segments(network, len(row) - 1, config.segment):
                    learns = last < len(row) - 1
                    with torch.set_grad_enabled(learns):
                        hidden, state = network(row[None, start:last], state)
                        hidden, state = hidden[0, first - start :], detached(state)
                    columns = torch.arange(first, last, device=row.device)
                    yield hidden.detach(), torch.full_like(columns, int(number)), columns
                    if learns:
                        with torch.enable_grad():
                            log_probs = network.log_softmax(hidden).gather(1, row[first + 1 : last + 1, None])
                            step(-log_probs.mean())

    @contextmanager
    def _following(self) -> Iterator[tuple[Any, Any]]:
        """What takes a step against a loss, and what goes back to the trained weights, as is done at the end."""
        config = self.config
        weights: list[Tensor] = list(self.network.parameters())
        trained = [weight.detach().clone() for weight in weights]
        rates: list[Any] = [config.rate] * len(weights)
        decays: list[Any] = [config.decay] * len(weights)
        if config.rule == "rms":
            sizes = list(self.statistics.values())
            mean = sum(float(size.sum(dtype=torch.float64)) for size in sizes) / sum(size.numel() for size in sizes)
            rates = [config.rate / (size + EPSILON * mean) for size in sizes]
            decays = [(config.decay / mean * size).clamp_(max=1) for size in sizes]

        following = weights, trained, rates, decays

        def step(loss: Tensor) -> None:
            gradients = torch.autograd.grad(loss, weights, materialize_grads=True)
            with torch.no_grad():
                for weight, origin, rate, decay, gradient in zip(*following, gradients, strict=True):
                    if config.decay:
                        weight.lerp_(origin, decay)
                    if config.rule == "rms":
                        weight.addcmul_(gradient, rate, value=-1)
                    else:
                        weight.sub_(gradient, alpha=rate)

        def begin() -> None:
            with torch.no_grad():
                torch._foreach_copy_(weights, trained)

        with _differentiable(self.network):
            try:
                yield step, begin
            finally:
                begin()

    def save(self, directory: Path) -> None:
        """Write also the size of gradients, ``gradients.safetensors``."""
        if self.statistics:
            write_tensors(Path(directory) / STATISTICS_FILE, self.statistics)
        super().save(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        from safetensors.torch import load_file

        model = super().load(directory)
        if model.config.rule == "sgd":
            return model
        try:
            kept = load_file(str(Path(directory) / STATISTICS_FILE))
            for name, weight in model.network.named_parameters():
                model.statistics[name] = kept[name].to(model.device, copy=True).view(weight.shape)
        except (OSError, SafetensorError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"{Path(directory) / STATISTICS_FILE} is missing or damaged ({error}). Train the model again."
            ) from None
        return model


@contextmanager
def _differentiable(network: Network) -> Iterator[None]:
    """Within it the kernels of a GPU keep what the gradient of a recurrent layer needs; nothing is dropped."""
    network.eval()
    for module in network.modules():
        module.training = isinstance(module, RecurrentLayer)
    try:
        yield
    finally:
        network.eval()


def _segments(network: Network, size: int, segment: int) -> Iterator[tuple[int, int, int]]:
    """``start, first, last``: inputs first to last - 1 are a segment, and the network is to be fed from start on.

    A state carries the history; windows begin where ``NeuralModel.hidden_states`` lets them begin::

        window    x x x x x x x x                segments of 3:   0-2  3-5  6-7
                          - - - - x x x x                         8-10  11, fed from 4 on
    """
    window = network.window or size
    blocks = [(0, 0, min(window, size))]
    if network.stateful:
        blocks = [(first, first, min(first + segment, size)) for first in range(0, size, segment)]
    else:
        stride = window - window // 2
        starts = range(stride, max(0, size - window // 2), stride)
        blocks += [(start, start + window // 2, min(start + window, size)) for start in starts]
    for start, first, end in blocks:
        for begin in range(first, end, segment):
            yield start, begin, min(begin + segment, end)
