"""Ids -> states of a recurrent network -> log probabilities: Elman's network, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.recurrence import elman, gru, lstm
from lmbench.models.scan import has_kernels
from lmbench.models.sizing import usual_dropout
from lmbench.training.distributed import processes
from lmbench.training.optimizers import DESCENT

CACHED = 576
"""Cells up to which torch's LSTM on a CPU is the faster one in bfloat16: beyond, its weights leave the caches, and with
1150 cells a step takes it twice as long, 170 against 77 ms a layer and 20 rows of 35."""

Cell = Literal["tanh", "sigmoid", "gru", "lstm"]
CELLS: dict[str, type[nn.RNN | nn.GRU | nn.LSTM]] = {"tanh": nn.RNN, "sigmoid": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class RecurrentConfig(NetworkConfig):
    """Dropout falls on the embedding, between the layers and before the softmax; the state runs on from step to
    step, while the error is propagated back through ``sequence_length`` events."""

    hidden: int | None = None
    """Cells of each layer, and the width of the embedding unless embedding_size says otherwise."""
    layers: int = 1
    """Recurrent layers, one above the other."""
    embedding_size: int | None = None
    """Width of the embedding, by default hidden; if tied, also the cells of the last layer."""
    tied: bool = True
    """Whether the softmax takes the embedding for its matrix, or has one of its own."""
    input_dropout: float | None = None
    """Dropout on the embedding, by default dropout."""
    hidden_dropout: float | None = None
    """Dropout between the layers, by default dropout."""
    locked: bool = False
    """Whether one mask of each dropout holds for all events of a step (variational dropout)."""
    embedding_dropout: float = 0.0
    """Share of the vocabulary whose embedding is dropped, wherever the word stands in the step."""
    weight_drop: float = 0.0
    """Share of the recurrent weights that are dropped, anew for each step."""
    activation_penalty: float = 0.0
    """Added to the loss: this times the mean square of the last layer's outputs, after dropout."""
    change_penalty: float = 0.0
    """Added to the loss: this times the mean square of their change from event to event, before dropout."""
    initial_range: float | None = None
    """All weights begin uniform between minus and plus this; by default 0.1 for embeddings, cells^-0.5 for layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("input_dropout", "hidden_dropout", "embedding_dropout", "weight_drop"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, not {value}.")
        for name in ("activation_penalty", "change_penalty"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must be at least 0, not {getattr(self, name)}.")
        if self.embedding_size is not None and self.embedding_size < 1:
            raise UsageError(f"embedding_size must be at least 1, not {self.embedding_size}.")
        if self.initial_range is not None and not self.initial_range > 0:
            raise UsageError(f"initial_range must be above 0, not {self.initial_range}.")
        if self.layers == 1 and self.tied and self.embedding_size and self.hidden not in (None, self.embedding_size):
            raise UsageError(
                f"A single layer of {self.hidden} cells cannot share an embedding of {self.embedding_size} with the "
                "softmax, which reads the last layer. Set tied=no, or layers=2, or embedding_size equal to hidden."
            )


class LockedDropout(Dropout):
    """One mask for all steps of a sequence, another for each row (Gal & Ghahramani 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, H) -> (T, B, H)."""
        return x * super().forward(torch.ones_like(x[:1])) if self.training and self.p else x


class RecurrentLayer(nn.Module):
    """One layer of torch's recurrent cells, whose recurrent weights may be dropped (Merity et al. 2018).

    What it remembers from event to event is one array (B, S): its outputs h, and in an LSTM its cells c beside them.

    >>> outputs, memory = RecurrentLayer("lstm", inputs=3, hidden=4, weight_drop=0.0)(torch.zeros(7, 2, 3))
    >>> outputs.shape, memory.shape
    (torch.Size([7, 2, 4]), torch.Size([2, 8]))
    """

    def __init__(self, kind: Cell, inputs: int, hidden: int, weight_drop: float) -> None:
        super().__init__()
        self.kind = kind
        self.size = hidden * (2 if kind == "lstm" else 1)
        self.cell = CELLS[kind](inputs, hidden)
        self.weight_drop = Dropout(weight_drop)

    def forward(
        self, x: Tensor, memory: Tensor | None = None, precision: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """float (T, B, E), (B, S) or None for zeros -> (T, B, H) in ``precision``, and (B, S)."""
        x = x.to(precision)
        if self.kind == "lstm" and _on_card(x):
            outputs, after = _lstm_layers([self], x, [memory])
            return outputs, after[0]
        memory, weights = self.memory(x, memory), [w.to(precision) for w in self.weights()]
        if self.kind == "lstm":
            return self._lstm(x, memory, weights)
        run = {"gru": self._gru, "tanh": self._tanh, "sigmoid": self._sigmoid}[self.kind]
        outputs = run(x, memory.to(precision), weights)
        return outputs, outputs[-1]

    def weights(self) -> list[Tensor]:
        """Those of inputs and, after dropout, of outputs before; and the biases of both."""
        cell = self.cell
        return [cell.weight_ih_l0, self.weight_drop(cell.weight_hh_l0), cell.bias_ih_l0, cell.bias_hh_l0]

    def memory(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """float32 (B, S), zeros where there is none before (T, B, E) is read."""
        return x.new_zeros(x.shape[1], self.size, dtype=torch.float32) if memory is None else memory

    def _lstm(self, x: Tensor, memory: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
        (w, u, b, d), (h, c) = weights, memory.chunk(2, -1)
        if self._by_hand(x):
            outputs, c = lstm(F.linear(x, w, b + d), h.to(x.dtype), c.contiguous(), u)
            return outputs, torch.cat((outputs[-1].float(), c.float()), -1)
        state = [part.to(x.dtype).contiguous()[None] for part in (h, c)]
        outputs, h, c = torch.lstm(x, state, weights, *self._how())
        return outputs, torch.cat((h[0], c[0]), -1)

    def _gru(self, x: Tensor, memory: Tensor, weights: list[Tensor]) -> Tensor:
        w, u, b, d = weights
        if self._by_hand(x):
            return gru(F.linear(x, w, b), memory, u, d)
        return torch.gru(x, memory[None].contiguous(), weights, *self._how())[0]

    def _tanh(self, x: Tensor, memory: Tensor, weights: list[Tensor]) -> Tensor:
        w, u, b, d = weights
        if self._by_hand(x):
            return elman(F.linear(x, w, b + d), memory, u)
        return torch.rnn_tanh(x, memory[None].contiguous(), weights, *self._how())[0]

    def _sigmoid(self, x: Tensor, memory: Tensor, weights: list[Tensor]) -> Tensor:
        """sigmoid(a) = (1 + tanh(a / 2)) / 2: with h = (1 + t) / 2, a / 2 = W/2 x + U/4 t + (b + U 1 / 2) / 2."""
        w, u, b, d = weights
        return (1 + self._tanh(x, 2 * memory - 1, [w / 2, u / 4, b / 2 + u.sum(1) / 4, d / 2])) / 2

    def _how(self) -> tuple[Any, ...]:
        """What torch's layers are told: biases, layers, dropout between, mode, directions, order."""
        return True, 1, 0.0, self.training, False, False

    def _by_hand(self, x: Tensor) -> bool:
        """Whether what ``recurrence`` has for such cells, with its gradient, is faster than what torch has."""
        if not torch.is_grad_enabled() or x.device.type != "cpu":
            return False
        large = x.dtype == torch.bfloat16 and self.cell.hidden_size > CACHED
        return self.kind != "lstm" or (large and not torch.compiler.is_compiling())


def _on_card(x: Tensor) -> bool:
    """Whether an LSTM that is trained on x runs by the kernels of a card."""
    return torch.is_grad_enabled() and has_kernels(x.device)


def _lstm_layers(
    layers: Sequence[RecurrentLayer], x: Tensor, memories: Sequence[Tensor | None], drop: Dropout | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Side by side on a card: float (T, B, E), what each layer remembers, dropout between them -> outputs of the last
    layer (T, B, H), and what each remembers."""
    from lmbench.models.wavefront import Layer, lstm_layers

    parts = []
    for layer, memory in zip(layers, memories, strict=True):
        w, u, b, d = layer.weights()
        h, c = layer.memory(x, memory).chunk(2, -1)
        mask = None
        if drop is not None and layer is not layers[-1] and drop.training and drop.p:
            mask = drop(h.new_ones(1 if isinstance(drop, LockedDropout) else len(x), *h.shape))
        parts.append(Layer(w, u, b + d, h, c, mask))
    outputs, states = lstm_layers(x, parts)
    return outputs, [torch.cat((h.float(), c), -1) for h, c in states]


class RecurrentNetwork(Network):
    """``x = drop(E w)``; ``x, memory = layer(x, memory)`` for each layer, ``drop`` between them and before the softmax.

    State: what all layers remember, side by side, float (B, S).
    """

    stateful = True

    def __init__(self, vocabulary_size: int, config: RecurrentConfig, cell: Cell) -> None:
        hidden, dropout = config.hidden or 0, config.dropout or 0.0
        embedding_size = config.embedding_size or hidden
        sizes = [embedding_size, *[hidden] * (config.layers - 1), embedding_size if config.tied else hidden]
        super().__init__(vocabulary_size, embedding_size, torch.float32, None if config.tied else hidden)
        drop = LockedDropout if config.locked else Dropout
        self.cell = cell
        self.word_drop = Dropout(config.embedding_dropout)
        self.input_drop = drop(dropout if config.input_dropout is None else config.input_dropout)
        self.hidden_drop = drop(dropout if config.hidden_dropout is None else config.hidden_dropout)
        self.drop = drop(dropout)
        self.layers = nn.ModuleList(RecurrentLayer(cell, i, o, config.weight_drop) for i, o in pairwise(sizes))
        self.sizes = [o * (2 if cell == "lstm" else 1) for o in sizes[1:]]
        self.penalties = config.activation_penalty, config.change_penalty
        self.penalty: Tensor | None = None
        for embedding in (self.embedding.weight, self.output):
            if embedding is not None:
                nn.init.uniform_(embedding, -0.1, 0.1)
        if config.initial_range:
            for weight in self.parameters():
                nn.init.uniform_(weight, -config.initial_range, config.initial_range)
        self.register_load_state_dict_pre_hook(_name_layers)

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        memories = [None] * len(self.layers) if state is None else state.split(self.sizes, -1)
        x = self.input_drop(self._embedded(ids.t()))  # (T, B, E)
        after: list[Tensor] = []
        precision = self.precision if self.training else torch.float32
        if self._at_once(x):
            x, after = _lstm_layers(self.layers, x.to(precision), memories, self.hidden_drop)  # type: ignore[arg-type]
        else:
            for number, (layer, memory) in enumerate(zip(self.layers, memories, strict=True)):
                x, memory = layer(self.hidden_drop(x) if number else x, memory, precision)  # (T, B, H), (B, S)
                after.append(memory.float())
        x = x.float()
        outputs = self.drop(x)
        if self.training and any(self.penalties):
            self.penalty = self._penalty(outputs, x)
        return outputs.transpose(0, 1), torch.cat(after, -1)

    def _at_once(self, x: Tensor) -> bool:
        """Whether the layers run side by side: those of an LSTM in training, on a card that holds all their matrices
        at once."""
        return self.cell == "lstm" and _on_card(x) and not processes().sharded

    def _embedded(self, ids: Tensor) -> Tensor:
        """int64 (T, B) -> float (T, B, E), whole words dropped."""
        x = self.embed(ids)
        if not self.training or not self.word_drop.p:
            return x
        kept = self.word_drop(torch.ones_like(self.bias))  # (V,)
        return x * kept[ids][..., None]

    def _penalty(self, outputs: Tensor, raw: Tensor) -> Tensor:
        """Activation and temporal activation regularisation (Merity, McCann & Socher 2017), of (T, B, H) both."""
        activation, change = self.penalties
        penalty = activation * outputs.square().mean()
        return penalty + change * raw.diff(dim=0).square().mean() if len(raw) > 1 else penalty

    def loss(self, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, L + 1) -> mean loss, nats per event, in training with the penalties; and the detached state."""
        loss, state = super().loss(rows, state)
        penalty, self.penalty = self.penalty, None
        return loss if penalty is None else loss + penalty, state


def _name_layers(network: nn.Module, weights: dict[str, Any], prefix: str, *others: Any) -> None:
    """Models kept by version 0.1.0 hold all layers as one module, ``lstm``."""
    for name in [name for name in weights if name.startswith(f"{prefix}lstm.")]:
        kind, _, layer = name.removeprefix(f"{prefix}lstm.").rpartition("_l")
        weights[f"{prefix}layers.{layer}.cell.{kind}_l0"] = weights.pop(name)


class _Recurrent(NeuralModel):
    """What the three families share; each states its cell, and of how many matrices W and as many U it is made."""

    descends = True
    title: ClassVar[str]
    matrices: ClassVar[int]
    adaptive_rate: ClassVar[float] = 4e-3
    """Usual learning rate of the optimisers that scale each step."""

    @property
    def cell(self) -> Cell:
        """What its layers are made of."""
        return self.kind  # type: ignore[return-value]

    @property
    def width(self) -> int | None:
        return self.config.hidden

    def work(self, width: int) -> int:
        return 2 * self.matrices * width**2 * self.config.layers

    def softmax_width(self, width: int) -> int:
        return self.config.embedding_size or width if self.config.tied else width

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        optimizer = self.config.optimizer or ("adamw" if fine else "sgd")
        return {
            "hidden": width,
            "dropout": usual_dropout(passes, none_below=1),
            "batch_size": 32 if fine else 20,
            "sequence_length": 64 if fine else 35,
            "optimizer": optimizer,
            "learning_rate": 20.0 if optimizer in DESCENT else self.adaptive_rate,
            "reset": 0.01 if fine else 0.0,
        }

    def build(self, vocabulary_size: int) -> RecurrentNetwork:
        config = self.config
        tied = f"{'tied' if config.tied else 'untied'} embedding"
        if config.embedding_size:
            tied += f" of {config.embedding_size}"
        self.structure = f"{self.title}, {config.layers} x {config.hidden}, {tied}, dropout {config.dropout:g}"
        return RecurrentNetwork(vocabulary_size, config, self.cell)


@dataclass(frozen=True)
class RNNConfig(RecurrentConfig):
    """See ``RecurrentConfig``."""

    activation: Literal["sigmoid", "tanh"] = "sigmoid"
    """The squashing function: sigmoid, as Elman and Mikolov have it, or tanh, which needs a lower rate."""


class RNN(_Recurrent):
    """A simple recurrent network (Elman 1990), as a language model by Mikolov et al. (2010).

    ``h_t = f(W x_t + U h_{t-1} + b)``, f being sigmoid or tanh; x: (B, E), h: (B, H), W: (H, E), U: (H, H). The error
    fades or explodes over distance with the powers of U, which is why the gated families below exist.
    """

    kind, title, matrices = "rnn", "RNN", 1
    Config = RNNConfig

    @property
    def cell(self) -> Cell:
        return self.config.activation

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        optimizer = self.config.optimizer or "adamw"
        rates = (20.0, 8e-3) if self.config.activation == "sigmoid" else (5.0, 4e-3)
        rate = rates[0] if optimizer in DESCENT else rates[1]
        return {**super().usual(fine, width, passes), "optimizer": optimizer, "learning_rate": rate}


class GRU(_Recurrent):
    """Gated recurrent units (Cho et al. 2014): one gate says how much of the past is kept, another what is read of it.

    r, z = sigmoid(W x + U h + b) each; candidate n = tanh(W x + b + r (U h + d)), output ``h = (1 - z) n + z h``;
    x: (B, E); r, z, n, h: (B, H). The reset gate r stands after the product with U, as in all fast implementations.
    """

    kind, title, matrices = "gru", "GRU", 3
    Config = RecurrentConfig


class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter & Schmidhuber 1997): a cell carries history over any distance.

    Gates i, f, o = sigmoid(W x + U h + b), candidate g = tanh(W x + U h + b), cell ``c = f c + i g``, output
    ``h = o tanh(c)``; x: (B, E); i, f, o, g, c, h: (B, H). By settings it is that of Zaremba et al. (2014: ``tied=no``,
    ``initial_range``, dropout between the layers) or that of Merity, Keskar & Socher (2018): ``weight_drop``, U loses
    entries, the same at all events of a step; ``locked=yes``, dropout has one mask (B, 1, E) for all events of a row;
    ``embedding_dropout``, whole types are lost; ``varied=yes``, steps of other lengths; an ``embedding_size`` below
    ``hidden``; penalties a mean(drop(h)^2) + b mean((h_t - h_{t-1})^2).
    ``lmbench/recipes`` has both. Where a paper sums the loss over the events of a step, its rate is to be multiplied,
    its clip divided by ``sequence_length``.
    """

    kind, title, matrices = "lstm", "LSTM", 4
    adaptive_rate = 8e-3
    Config = RecurrentConfig
