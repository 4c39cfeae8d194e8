"""A ``Network`` -> a language model: its settings, its size, its training, its scores, its files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import DivergenceError, ModelError, UsageError
from lmbench.models.base import Reading, Trainable, read_model, write_model
from lmbench.models.distributions import at_once, in_order
from lmbench.models.network import Network, overlap_of
from lmbench.models.resumption import NetworkReading, first_in_window
from lmbench.models.sizing import BUILT, affordable_operations, affordable_width, expected_passes
from lmbench.models.softmax import AdaptiveEmbedding
from lmbench.training import loop
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, write_tensors
from lmbench.training.compilation import WORTH, compiled, worth_building
from lmbench.training.devices import enough_memory, resolve_device, resolve_precision
from lmbench.training.distributed import processes
from lmbench.training.optimizers import DESCENT, OptimizerName
from lmbench.training.plan import Plan

WEIGHTS_FILE = "weights.safetensors"
IN_BLOCKS = "gpt, bert, cnn, mingru, mamba"
"""Families whose networks are made of blocks, which checkpointing=yes computes a second time."""


@dataclass(frozen=True)
class NetworkConfig(Plan):
    """What every trained network has; settings left open (None) are chosen for the text and the budget."""

    dropout: float | None = None
    """Share of activations that are dropped in training."""
    label_smoothing: float = 0.0
    """Share of each training target that is spread over the whole vocabulary."""
    softmax: Literal["full", "adaptive"] = "full"
    """full, or adaptive: rarer words have narrower vectors, in the embedding and in the softmax, which trains many
    times as fast where there are tens of thousands of types."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""
    precision: str = "auto"
    """float32, bfloat16 or auto, of the matrix products in training; weights stay float32 (mixed precision), and
    scoring is in float32."""
    checkpointing: bool = False
    """Whether only what goes into each block is kept in the forward pass, and the rest computed again in the backward
    pass: less memory, more time, the same gradients. For families made of blocks: gpt, bert, cnn, mingru, mamba."""
    compile: bool | None = None
    """Whether training runs through torch.compile, which takes some 15 to 30 seconds of it before the first step. If
    open, where it pays: for gpt, mingru and mamba in five minutes or more in bfloat16 on a processor, where there is a
    C++ compiler."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(("layers", "heads", "hidden", "width"), lambda value: value >= 1, "at least 1")
        self._check(("dropout", "label_smoothing"), lambda value: 0 <= value < 1, "at least 0 and below 1")
        if self.softmax == "adaptive" and self.label_smoothing:
            raise UsageError(
                f"label_smoothing={self.label_smoothing:g} spreads each target over all types, but softmax=adaptive "
                "computes only a few of them. Leave one of the two out."
            )
        resolve_precision(self.precision, torch.device("cpu"))


class NeuralModel(Trainable):
    """A family around a ``Network``: fit, score, keep. Subclasses say what it is made of and its usual settings."""

    reads = "left"
    context = "stream"
    normalized = True
    chunk = 512
    """Events that a stateful network reads at once in scoring."""
    descends = False
    """Whether its usual rate is known for plain gradient descent too."""
    gains_by_building = False
    """Whether steps on a CPU are faster by a fifth or more as torch.compile builds them."""
    structure = ""
    """One line for the log: what the network is made of."""

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config
        self.device = resolve_device(self.config.device)
        self.network: Network | None = None

    @property
    @abstractmethod
    def width(self) -> int | None:
        """Width of the network, None while it is open."""

    @abstractmethod
    def work(self, width: int) -> int:
        """Multiply-adds of one event in a network of this width, the softmax aside."""

    def softmax_width(self, width: int) -> int:
        """Width of what the softmax reads."""
        return width

    def predicted(self, fine: bool) -> float:
        """Share of the events that the softmax is asked for in training."""
        return 1.0

    @property
    def matrix_optimizer(self) -> OptimizerName:
        """That of a family which is mostly hidden matrices: muon, unless each is divided among processes."""
        return "adamw" if processes().sharded else "muon"

    @abstractmethod
    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        """What open settings become.

        ``fine``: tokens are characters or bytes; ``width``: the one in use; ``passes``: how often the text is read.
        """

    @abstractmethod
    def build(self, vocabulary_size: int) -> Network:
        """A new network of the (sized) configuration."""

    def sized(self, train: Tokens, budget: Budget) -> Any:
        """The configuration with every open choice made, for this text and budget."""
        fine = train.tokenizer.kind in ("char", "byte")
        types: float = train.vocabulary_size
        if self.config.softmax == "adaptive":
            types /= AdaptiveEmbedding.COST

        def softmax_work(width: int) -> float:
            return self.predicted(fine) * self.softmax_width(width) * types

        built = self.config.compile
        if built is None:
            built = self.gains_by_building and worth_building(self.config, self.device, budget)
        operations = affordable_operations(budget, self.device)
        width = self.width or affordable_width(self.work, softmax_work, train, operations)
        work = self.work(width) + softmax_work(width)
        faster = BUILT if built and (budget.seconds or 0) >= WORTH else 1.0
        passes = expected_passes(work, train, budget, operations * faster)
        usual = self.usual(fine, width, passes)
        if self.config.optimizer in DESCENT and self.config.learning_rate is None and not self.descends:
            raise UsageError(
                f"{self.kind} was asked to train with optimizer={self.config.optimizer}, whose usual rates are far "
                f"above the {usual['learning_rate']:g} that it takes by itself, and none is known for this family. "
                "Name one: learning_rate=1, for example."
            )
        return self._completed({**usual, "compile": built})

    def _completed(self, settings: Mapping[str, Any]) -> Any:
        """The configuration with what is open in it (None) as in ``settings``."""
        return replace(self.config, **{name: settings[name] for name in settings if getattr(self.config, name) is None})

    def _begun(self, kept: Mapping[str, Any]) -> None:
        """Make the open choices as they were made when the training began whose state is ``kept``, if it is one: today
        the machine may be measured to be faster."""
        before = kept.get("settings", {}).get("plan", {})
        open_choices = self.usual(False, self.width or 0, 1.0)
        self.config = self._completed({name: before[name] for name in open_choices if name in before})

    @property
    def max_context(self) -> int | None:  # type: ignore[override]
        return None if self.network is None else self.network.window

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._fitted().parameters())

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | str | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Train by gradient descent; see ``training.loop``. The budget, also as text, is 60 seconds unless given.

        Raises TrainingError where training diverges or memory runs out.
        """
        budget, progress = Budget.of(budget), progress or Silent()
        self._check_text(train)
        if checkpoints is not None:
            self._begun(checkpoints.state())
        asked = bool(self.config.compile)
        self.config = self.sized(train, budget)
        plan = self.config
        with enough_memory(
            f"with batch_size={plan.batch_size} and sequence_length={plan.sequence_length}, read in "
            f"accumulation={plan.accumulation} parts. Double accumulation, which makes the same update of smaller "
            f"parts; or set checkpointing=yes ({IN_BLOCKS}); or lower batch_size, sequence_length or the size."
        ):
            try:
                return self._fit(train, valid, budget, progress, checkpoints, asked)
            except DivergenceError as error:
                raise self._diverged(error, checkpoints) from None

    def _fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget,
        progress: Progress,
        checkpoints: Checkpoints | None,
        asked: bool,
    ) -> FitReport:
        """``asked``: whether compiling, where that is set, was asked for, so that training ends where it fails."""
        self.tokenizer, plan = train.tokenizer, self.config
        torch.manual_seed(plan.seed)
        self._place(self._built(train.vocabulary_size))
        network = self._fitted()
        if plan.checkpointing and not hasattr(network, "blocks"):
            raise UsageError(
                f"checkpointing=yes serves families made of blocks ({IN_BLOCKS}), and {self.kind} is none. "
                "Leave it out; accumulation saves memory in every family."
            )
        if plan.reset and not network.stateful:
            raise UsageError(
                f"reset={plan.reset:g} lets the state of a row begin anew, and {self.kind} carries none from step to "
                "step. Leave it out."
            )
        precision = str(network.precision).removeprefix("torch.")
        progress.step("structure", f"{self.structure}; {self.parameters:,} parameters")
        progress.step("data", f"{train.events:,} events, {plan.batch_size} rows of {plan.sequence_length} a step")
        softmax = "an adaptive" if network.adaptive else "a"
        built = ", built by torch.compile" if plan.compile else ""
        progress.step("forward", f"ln p by {softmax} softmax over {train.vocabulary_size:,} types, {precision}{built}")
        progress.step(
            "backward", f"{plan.optimizer}, rate {plan.learning_rate:g} ({plan.schedule}), clip {plan.clip:g}, {budget}"
        )

        def failed(told: str) -> None:
            progress.note(told)
            self.config = replace(plan, compile=False)

        with compiled(network, None if asked else failed) if plan.compile else nullcontext():
            report = loop.train(network, train, valid, plan, budget, progress, checkpoints)
        progress.step("predict", f"best of {len(report.curve)} validations, {report.valid_loss:.4f} nats per event")
        return FitReport(**{**vars(report), "precision": precision})

    def _built(self, vocabulary_size: int) -> Network:
        network = self.build(vocabulary_size)
        if self.config.softmax == "adaptive":
            network.adapt()
        return network

    def _check_text(self, train: Tokens) -> None:
        """Raise UsageError where a step would need more text than there is."""
        rows, length = self.config.batch_size or 1, self.config.sequence_length or 1
        if rows * length > train.events:
            raise UsageError(
                f"A step of batch_size={rows} rows and sequence_length={length} events needs {rows * length:,} events, "
                f"and the training text has {train.events:,}. Lower one of the two, or take a longer text."
            )

    def _place(self, network: Network) -> None:
        network.precision = resolve_precision(self.config.precision, self.device)
        network.label_smoothing = self.config.label_smoothing
        network.checkpointing = self.config.checkpointing
        self.network = network.to(self.device)

    def _diverged(self, error: DivergenceError, checkpoints: Checkpoints | None) -> DivergenceError:
        """``error`` and what it leaves: the best weights, kept as a model like any other, and a state to go on from."""
        if checkpoints is None:
            return error
        if not checkpoints.path.exists():
            return DivergenceError(f"{error} Nothing was kept, for it came too soon.")
        if not error.best:
            return DivergenceError(
                f"{error} A state before it is kept in {checkpoints.directory}: the same command with --resume goes on "
                "from there, with a lower learning_rate or clip; delete the folder to start anew."
            )
        self.save(checkpoints.best)
        return DivergenceError(
            f"{error} The weights that were best on validation are kept in {checkpoints.best}, a model like any other. "
            "lmbench train --resume goes on from them, with a lower learning_rate or clip if you name one."
        )

    def _fitted(self) -> Network:
        if self.network is None:
            raise ModelError(f"This {self.kind} has not been fitted yet: call fit, or load a saved one.")
        return self.network

    @torch.inference_mode()
    def log_probs(self, batch: Batch) -> np.ndarray:
        """float32 (B, T), nats: ln p of each target, 0 elsewhere."""
        network = self._fitted().eval()
        ids = torch.from_numpy(batch.ids).to(self.device)
        result = torch.zeros(batch.ids.shape, dtype=torch.float32, device=self.device)
        wanted = torch.from_numpy(batch.targets).to(self.device)
        inside = torch.from_numpy(batch.inside).to(self.device)
        for hidden, row, column in self.hidden_states(batch):
            keep = inside[row, column + 1]  # not only what is wanted: products of other shapes round otherwise
            row, column = row[keep], column[keep] + 1
            if wanted[row, column].any():
                result[row, column] = network.log_probs_of(hidden[keep], ids[row, column])
        return result.where(wanted, 0.0).cpu().numpy()

    def hidden_states(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Hidden states (N, E) after the input at (row, column) (N,) each, every input of a row but its last once.

        Windows that stand alone are passed over where nothing in them is asked for.
        """
        network, ids = self._fitted().eval(), torch.from_numpy(batch.ids).to(self.device)
        size = ids.shape[1] - 1
        if network.stateful:
            state = None
            for first in range(0, size, self.chunk):
                hidden, state = network(ids[:, first : min(first + self.chunk, size)], state)
                yield _flat(hidden, torch.arange(len(ids)), torch.full((len(ids),), first))
            return
        # Windows overlap by half: every prediction but the first few of a row sees at least window / 2 tokens.
        window = network.window or size
        overlap, stride = overlap_of(window)
        starts = [
            (row, start)
            for row, length in enumerate(batch.lengths)
            for start in range(0, max(1, int(length) - 1 - overlap), stride)
        ]
        length, many = min(window, size), max(1, (1 << 15) // window)
        padded = torch.nn.functional.pad(ids, (0, window))
        for first in range(0, len(starts), many):
            some = starts[first : first + many]
            if not any(batch.targets[row, start + 1 : start + length + 1].any() for row, start in some):
                continue
            row, start = (torch.tensor(part) for part in zip(*some, strict=True))
            columns = (start[:, None] + torch.arange(length)).to(self.device)
            hidden, _ = network(padded[row.to(self.device)[:, None], columns])
            places = columns.cpu()
            fresh = ((places >= start[:, None] + overlap) | (start[:, None] == 0)) & (places < size)
            flat, rows, cols = _flat(hidden, row, start)
            yield flat[fresh.flatten()], rows[fresh.flatten()], cols[fresh.flatten()]

    @torch.inference_mode()
    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float32 (B, V), nats: the distribution after each row's last token."""
        network = self._fitted().eval()
        rows = prefixes.rows()
        if network.window is not None and network.stateful:
            rows = [row[-network.window :] for row in rows]
        elif network.window is not None:  # the window in which log_probs would predict the next token
            rows = [row[first_in_window(network, len(row)) :] for row in rows]
        batch = Batch.of_prefixes(rows)
        hidden, state, size = [], None, batch.ids.shape[1]
        ids = torch.from_numpy(batch.ids).to(self.device)
        for first in range(0, size, self.chunk if network.stateful else size):
            part, state = network(ids[:, first : first + (self.chunk if network.stateful else size)], state)
            hidden.append(part)
        last = torch.cat(hidden, 1)[torch.arange(len(ids)), torch.from_numpy(batch.last())]
        return network.log_softmax(last).cpu().numpy()

    def reading(self, prefixes: Sequence[np.ndarray]) -> Reading:
        """See ``base.Resumable``."""
        return NetworkReading(self._fitted(), prefixes, self.chunk)

    @torch.inference_mode()
    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float32 (N, V), nats, a block after the other: see ``base.Distributions``."""
        network, size = self._fitted().eval(), at_once(len(self.tokenizer.vocabulary))
        for part in in_order(batch, self.chunk if network.stateful else None):
            wanted = torch.from_numpy(part.targets).to(self.device)
            for hidden, row, column in self.hidden_states(part):
                for states in hidden[wanted[row, column + 1]].split(size):
                    yield network.log_softmax(states).cpu().numpy()

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and ``weights.safetensors``."""
        directory = Path(directory)
        write_tensors(directory / WEIGHTS_FILE, self._fitted().state_dict())
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where it is missing or damaged."""
        from safetensors.torch import load_file

        tokenizer, state = read_model(directory)
        try:
            model = cls(cls.Config(**{**state["config"], "device": "auto"}))  # where it is used, not where it learned
            model.tokenizer = tokenizer
            network = model._built(len(tokenizer.vocabulary))
            network.load_state_dict(load_file(str(Path(directory) / WEIGHTS_FILE)))
        except (OSError, SafetensorError, RuntimeError, TypeError, KeyError) as error:
            raise ModelError(
                f"The weights in {directory} are missing or damaged ({error}). Train the model again."
            ) from None
        model._place(network)
        return model


def _flat(hidden: Tensor, rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, E) -> (B T, E), and the row and column that each state belongs to."""
    columns = starts[:, None] + torch.arange(hidden.shape[1])
    row = rows[:, None].expand_as(columns)
    return hidden.flatten(0, 1), row.flatten().to(hidden.device), columns.flatten().to(hidden.device)
