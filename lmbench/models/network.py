"""Ids -> hidden states -> log probabilities: what every neural family shares.

A family supplies a ``Network``: ids (B, T) and a state in, hidden states (B, T, E) out. Embedding and
softmax are tied (Press & Wolf 2017; Inan et al. 2017): ``p(w | h) = softmax(E h + b)``. The loss never
holds more logits than a block of rows, and computes its gradient on the way, in bfloat16 where the machine
gains by it; scoring takes the full softmax in float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import ModelError
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, atomic
from lmbench.training.devices import resolve_device, resolve_precision
from lmbench.training.loop import Plan, train

LOGITS = 1 << 23
"""Logits that are held at once, on a CPU ..."""
LOGITS_GPU = 1 << 26
"""... and on a GPU."""
WEIGHTS_FILE = "weights.safetensors"


def _rows_at_once(device: torch.device, vocabulary_size: int) -> int:
    return max(1, (LOGITS if device.type == "cpu" else LOGITS_GPU) // vocabulary_size)


class _SoftmaxLoss(torch.autograd.Function):
    """Mean cross-entropy of a linear softmax layer, with its gradient, block by block.

    With p = softmax(h W' + b): dL/dlogits = (p - onehot) / N. Each block of logits becomes probabilities,
    is multiplied out and forgotten, so (N, V) need never exist; the one-hot part is a look-up.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, precision: torch.dtype
    ) -> Tensor:
        learn = any(ctx.needs_input_grad)
        w, b, h = weight.to(precision), bias.to(precision), hidden.to(precision)
        grad_hidden, grad_weight, grad_bias = torch.empty_like(h), torch.zeros_like(weight), torch.zeros_like(bias)
        loss = torch.zeros((), device=h.device)
        size = _rows_at_once(hidden.device, len(weight))
        for first in range(0, len(targets), size):
            block, wanted = h[first : first + size], targets[first : first + size]
            p = torch.softmax(nn.functional.linear(block, w, b), dim=1)
            loss -= p.gather(1, wanted[:, None]).float().clamp_min(1e-30).log().sum()
            if learn:
                grad_hidden[first : first + size] = p @ w - w[wanted]
                grad_weight += p.t() @ block
                grad_bias += p.sum(0)
        if learn:
            grad_weight.index_add_(0, targets, hidden, alpha=-1)
            grad_bias -= torch.bincount(targets, minlength=len(bias))
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = hidden.dtype
        return loss / len(targets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        scale = gradients[0] / len(hidden)
        return hidden.to(ctx.dtype) * scale, weight * scale, bias * scale, None, None


class Dropout(nn.Module):
    """Each activation is dropped with probability p, the others grow by 1 / (1 - p) (Srivastava et al. 2014).

    On a CPU one random byte decides an activation, so p is rounded to 1/256 and an eighth of the random numbers
    of ``nn.Dropout`` are drawn, which would take a tenth of a small LSTM's step.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        if not self.training or not self.p:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.p)
        level = max(1, min(255, round(256 * self.p)))
        draws = torch.empty(-(-x.numel() // 7), dtype=torch.int64).random_()  # 63 random bits each
        kept = draws.view(torch.uint8).view(-1, 8)[:, :7].reshape(-1)[: x.numel()].view(x.shape) >= level
        return x * kept * (256 / (256 - level))


class Network(nn.Module, ABC):
    """Embedding, a body, and the tied softmax over it.

    ``stateful``: whether state runs on between calls. ``window``: longest input, None if unlimited.
    """

    stateful: bool = False
    window: int | None = None

    def __init__(self, vocabulary_size: int, embedding_size: int, precision: torch.dtype) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.precision = precision

    @abstractmethod
    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, T) -> float (B, T, E), E the embedding size, and the state after them."""

    def loss(self, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, L + 1) -> mean loss, nats per event, and the detached state."""
        hidden, state = self(rows[:, :-1], state)
        flat, targets = hidden.flatten(0, 1), rows[:, 1:].flatten()
        return _SoftmaxLoss.apply(flat, self.embedding.weight, self.bias, targets, self.precision), _detached(state)

    def log_softmax(self, hidden: Tensor) -> Tensor:
        """float32 (N, E) -> (N, V), nats."""
        return torch.log_softmax(torch.addmm(self.bias, hidden.float(), self.embedding.weight.t()), dim=1)

    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """float32 (N, E), int64 (N,) -> float32 (N,): ln p of the targets by the full softmax."""
        size = _rows_at_once(hidden.device, len(self.bias))
        blocks = [
            self.log_softmax(hidden[first : first + size]).gather(1, targets[first : first + size, None])[:, 0]
            for first in range(0, len(targets), size)
        ]
        return torch.cat(blocks) if blocks else hidden.new_zeros(0)


def _detached(state: Any) -> Any:
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


class NeuralModel(Trainable):
    """A family around a ``Network``: fit, score, keep. Subclasses build the network and plan its training."""

    reads = "left"
    context = "stream"
    normalized = True
    chunk = 512
    """Events that a stateful network reads at once in scoring."""
    structure = ""
    """One line for the log: what the network is made of."""

    def __init__(self, config: Any = None) -> None:
        self.config = self.Config() if config is None else config
        self.device = resolve_device(self.config.device)
        self.network: Network | None = None

    @abstractmethod
    def sized(self, train: Tokens, budget: Budget) -> Any:
        """The configuration with every open choice made, for this text and budget."""

    @abstractmethod
    def build(self, vocabulary_size: int) -> Network:
        """A new network of the (sized) configuration."""

    @abstractmethod
    def plan(self) -> Plan:
        """How it is trained."""

    @property
    def max_context(self) -> int | None:  # type: ignore[override]
        return None if self.network is None else self.network.window

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._fitted().parameters())

    def fit(
        self,
        train_tokens: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Train by gradient descent; see ``training.loop``. The budget is 60 seconds unless given."""
        budget, progress = budget or Budget(seconds=60), progress or Silent()
        self.tokenizer = train_tokens.tokenizer
        self.config = self.sized(train_tokens, budget)
        torch.manual_seed(self.config.seed)
        self._place(self.build(train_tokens.vocabulary_size))
        plan, network = self.plan(), self._fitted()
        precision = str(network.precision).removeprefix("torch.")
        progress.step("structure", f"{self.structure}; {self.parameters:,} parameters")
        progress.step(
            "data", f"{train_tokens.events:,} events, {plan.batch_size} rows of {plan.sequence_length} a step"
        )
        progress.step("forward", f"ln p by a softmax over {train_tokens.vocabulary_size:,} types, {precision}")
        progress.step(
            "backward", f"{plan.optimizer}, rate {plan.learning_rate:g} ({plan.schedule}), clip {plan.clip:g}, {budget}"
        )
        report = train(network, train_tokens, valid, plan, budget, progress, checkpoints)
        progress.step("predict", f"best of {len(report.curve)} validations, {report.valid_loss:.4f} nats per event")
        return FitReport(**{**vars(report), "precision": precision})

    def _place(self, network: Network) -> None:
        network.precision = resolve_precision(self.config.precision, self.device)
        self.network = network.to(self.device)

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
        for hidden, row, column in self._hidden_states(network, ids, batch.lengths):
            keep = wanted[row, column + 1]
            row, column = row[keep], column[keep] + 1
            result[row, column] = network.log_probs_of(hidden[keep], ids[row, column])
        return result.cpu().numpy()

    def _hidden_states(
        self, network: Network, ids: Tensor, lengths: np.ndarray
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Hidden states (N, E) after the input at (row, column) (N,) each, every input of a row but its last once."""
        size = ids.shape[1] - 1
        if network.stateful:
            state = None
            for first in range(0, size, self.chunk):
                hidden, state = network(ids[:, first : min(first + self.chunk, size)], state)
                yield _flat(hidden, torch.arange(len(ids)), torch.full((len(ids),), first))
            return
        # Windows overlap by half: every prediction but the first few of a row sees at least window / 2 tokens.
        window = network.window or size
        starts = [
            (row, start)
            for row, length in enumerate(lengths)
            for start in range(0, max(1, int(length) - 1 - window // 2), max(1, window // 2))
        ]
        length, many = min(window, size), max(1, (1 << 15) // window)
        padded = torch.nn.functional.pad(ids, (0, window))
        for first in range(0, len(starts), many):
            row, start = (torch.tensor(part) for part in zip(*starts[first : first + many], strict=True))
            columns = (start[:, None] + torch.arange(length)).to(self.device)
            hidden, _ = network(padded[row.to(self.device)[:, None], columns])
            fresh = ((columns.cpu() >= start[:, None] + window // 2) | (start[:, None] == 0)) & (columns.cpu() < size)
            flat, rows, cols = _flat(hidden, row, start)
            yield flat[fresh.flatten()], rows[fresh.flatten()], cols[fresh.flatten()]

    @torch.inference_mode()
    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float32 (B, V), nats: the distribution after each row's last token."""
        network = self._fitted().eval()
        rows = [row[:length] for row, length in zip(prefixes.ids, prefixes.lengths, strict=True)]
        if network.window is not None:
            rows = [row[-network.window :] for row in rows]
        batch = Batch.of_prefixes(rows)
        hidden, state, size = [], None, batch.ids.shape[1]
        ids = torch.from_numpy(batch.ids).to(self.device)
        for first in range(0, size, self.chunk if network.stateful else size):
            part, state = network(ids[:, first : first + (self.chunk if network.stateful else size)], state)
            hidden.append(part)
        last = torch.cat(hidden, 1)[torch.arange(len(ids)), torch.from_numpy(batch.last())]
        return network.log_softmax(last).cpu().numpy()

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and ``weights.safetensors``."""
        from safetensors.torch import save_file

        directory = Path(directory)
        weights = {name: value.detach().cpu().contiguous() for name, value in self._fitted().state_dict().items()}
        directory.mkdir(parents=True, exist_ok=True)
        with atomic(directory / WEIGHTS_FILE) as temporary:
            save_file(weights, str(temporary))
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where it is missing or damaged."""
        from safetensors.torch import load_file

        tokenizer, state = read_model(directory)
        model = cls(cls.Config(**state["config"]))
        model.tokenizer = tokenizer
        network = model.build(len(tokenizer.vocabulary))
        try:
            network.load_state_dict(load_file(str(Path(directory) / WEIGHTS_FILE)))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(f"The weights in {directory} are missing or damaged: {error}") from None
        model._place(network)
        return model


def _flat(hidden: Tensor, rows: Tensor, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, E) -> (B T, E), and the row and column that each state belongs to."""
    columns = starts[:, None] + torch.arange(hidden.shape[1])
    row = rows[:, None].expand_as(columns)
    return hidden.flatten(0, 1), row.flatten().to(hidden.device), columns.flatten().to(hidden.device)
