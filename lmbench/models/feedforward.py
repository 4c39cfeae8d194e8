"""Ids -> the last few words, side by side -> log probabilities: the neural n-gram model (Bengio et al. 2003)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.corpus.batches import Tokens
from lmbench.errors import UsageError
from lmbench.models.network import Dropout, Network
from lmbench.models.neural import NetworkConfig, NeuralModel
from lmbench.models.products import Linear
from lmbench.models.sizing import usual_dropout
from lmbench.training.budget import Budget


@dataclass(frozen=True)
class FeedForwardConfig(NetworkConfig):
    """Dropout falls on the embeddings, on each hidden layer and before the softmax. Every event of the
    ``batch_size`` rows of ``sequence_length`` is an example of its own; the rows run on from step to step."""

    order: int | None = None
    """Words of an n-gram: the predicted one and the ``order - 1`` before it."""
    width: int | None = None
    """Size of the embedding."""
    hidden: int | None = None
    """Units of each hidden layer; by default twice the width."""
    layers: int = 2
    """Hidden layers: the first reads the embeddings, as in the paper; the others add to what is below them."""
    tied: bool = True
    """Whether the softmax takes the embedding as its matrix; if not, it has one of its own, as in the paper."""
    direct: bool = True
    """Whether the embeddings are also connected to the output directly, past the first hidden layer."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 for no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order is not None and self.order < 2:
            raise UsageError(
                f"order must be at least 2, the predicted word and one before it, not {self.order}. "
                "Without any history it is ngram:order=1."
            )


SMALL = 0.1
"""First size of what goes to the softmax: all words are nearly as likely then."""


class ResidualLayer(nn.Module):
    """``x += U tanh(H norm(x) + d)``, float (B, T, E) -> (B, T, E)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.drop = nn.RMSNorm(width), Dropout(dropout)
        self.widen, self.narrow = _linear(width, hidden, bias=True), _linear(hidden, width, SMALL)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.drop(torch.tanh(self.widen(self.norm(x)))))


class FeedForwardNetwork(Network):
    """``context`` embeddings side by side, hidden layers, the softmax.

    The state holds the last ``context - 1`` ids of each row, int64 (B, context - 1); at first all are the boundary.
    """

    stateful = True

    def __init__(
        self,
        vocabulary_size: int,
        context: int,
        width: int,
        hidden: int,
        layers: int,
        *,
        tied: bool = True,
        direct: bool = True,
        dropout: float = 0.0,
    ) -> None:
        joined, size = context * width, width if tied else hidden
        super().__init__(vocabulary_size, width, torch.float32, None if tied else hidden + direct * joined)
        self.window, self.drop = context, Dropout(dropout)
        self.widen = _linear(joined, hidden, bias=True)
        self.narrow = _linear(hidden, width, SMALL) if tied else None
        self.direct = _linear(joined, width, SMALL) if tied and direct else None
        self.join = direct and not tied
        self.above = nn.ModuleList(ResidualLayer(size, hidden, dropout) for _ in range(layers - 1))
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def start(self, rows: int) -> Tensor:
        return self.bias.new_zeros(rows, (self.window or 1) - 1, dtype=torch.int64)  # 0 is the boundary

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        context, length = self.window or 1, ids.shape[1]
        before = self.start(len(ids)) if state is None else state
        seen = torch.cat((before, ids), 1)  # (B, context - 1 + T)
        size = self.embedding.weight.shape[1:]
        start, words = F.rms_norm(self.embed(F.pad(seen.flatten(), (1, 0))), size).tensor_split((1,))
        words = self.drop(words.view(*seen.shape, -1))  # (B, context - 1 + T, E)
        beyond, parts = torch.zeros_like(ids, dtype=torch.bool), []
        for first in reversed(range(context)):  # from the last word backwards; beyond a boundary are boundaries alone
            parts.append(torch.where(beyond[..., None], start, words[:, first : first + length]))
            beyond = beyond | (seen[:, first : first + length] == 0)
        joined = torch.cat(parts, 2)  # (B, T, context E)
        with self.autocast(ids.device):
            x = torch.tanh(self.widen(joined)).float()  # (B, T, hidden)
            if self.narrow is not None:
                x = self.narrow(self.drop(x)).float()  # (B, T, E)
            if self.direct is not None:
                x = x + self.direct(joined)
            for layer in self.above:
                x = layer(x)
        x = self.drop(x)
        return torch.cat((x, joined), 2) if self.join else x, seen[:, length:].contiguous()


def _word_dropout(passes: float) -> float:
    """What suits a text in words that is read so often. Histories of words are soon known by heart: on validation of
    Penn Treebank 5.05 nats after 7.5 passes with 0.1, and 5.08 after 1.9."""
    return 0.0 if passes < 2 else 0.1 if passes < 4 else 0.3


def _linear(inputs: int, outputs: int, scale: float = 1.0, bias: bool = False) -> nn.Linear:
    """A linear layer whose outputs are at first about ``scale`` times as large as its inputs."""
    linear = Linear(inputs, outputs, bias=bias)
    nn.init.normal_(linear.weight, std=scale * inputs**-0.5)
    return linear


class FeedForward(NeuralModel):
    """The neural n-gram model: the ``order - 1`` words before, as vectors side by side, one hidden layer, a softmax
    (Bengio et al. 2003). Words that are used alike get vectors that are alike, so that what was learnt of one n-gram
    holds for many that were never seen.

    With c = [C w_{t-1}; ...; C w_{t-n+1}], the (n - 1) E numbers of the history, the paper has
    p(w | history) = softmax(U tanh(H c + d) + D c + b). C: (V, E); H: (hidden, (n - 1) E); U: (V, hidden); D, the
    direct connections: (V, (n - 1) E). This is ``tied=no``. By default U and D are factored through the embedding,
    U = C U' and D = C D' with U': (E, hidden) and D': (E, (n - 1) E), which learns more from little text (Press & Wolf
    2017); the direct part is then the log-bilinear model of Mnih & Hinton (2007). Vectors are scaled to unit size
    where they are read. Further ``layers`` come before the softmax, x += U'' tanh(H'' norm(x) + d''): the deeper
    form of Sun & Iyyer (2021), without its average over the distant past.

    The history of a sentence begins with it, as in counted n-grams (``sentence``): before its first word stand
    boundaries alone, in training as in scoring, so a single sentence is judged by what was learnt of beginnings.

    >>> FeedForward(FeedForwardConfig(order=5, layers=3)).config.direct
    True
    """

    kind = "ffnn"
    context = "sentence"  # type: ignore[assignment]
    Config = FeedForwardConfig
    chunk = 2048

    @property
    def width(self) -> int | None:
        return self.config.width

    def sized(self, train: Tokens, budget: Budget) -> Any:
        fine = train.tokenizer.kind in ("char", "byte")
        if self.config.order is None:
            self.config = replace(self.config, order=12 if fine else 8)
        return super().sized(train, budget)

    def work(self, width: int) -> int:
        config, hidden = self.config, self.config.hidden or 2 * width
        joined, size = (config.order - 1) * width, width if config.tied else hidden
        between = width * (hidden + config.direct * joined) if config.tied else 0
        return joined * hidden + between + 2 * size * hidden * (config.layers - 1)

    def softmax_width(self, width: int) -> int:
        config = self.config
        if config.tied:
            return width
        return (config.hidden or 2 * width) + config.direct * (config.order - 1) * width

    def usual(self, fine: bool, width: int, passes: float) -> dict[str, Any]:
        return {
            "width": width,
            "hidden": 2 * width,
            "dropout": usual_dropout(passes, none_below=4) if fine else _word_dropout(passes),
            "batch_size": 32,
            "sequence_length": 32,
            "optimizer": "adamw",
            "learning_rate": 6e-3 if fine else 2e-3,
        }

    def build(self, vocabulary_size: int) -> FeedForwardNetwork:
        config = self.config
        self.structure = (
            f"feed-forward {config.order}-gram, {config.layers} x {config.hidden}, "
            f"{'tied' if config.tied else 'own'} softmax, embedding of {config.width}, dropout {config.dropout:g}"
        )
        return FeedForwardNetwork(
            vocabulary_size,
            config.order - 1,
            config.width,
            config.hidden,
            config.layers,
            tied=config.tied,
            direct=config.direct,
            dropout=config.dropout,
        )
