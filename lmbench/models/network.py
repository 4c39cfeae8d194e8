"""Ids -> hidden states -> log probabilities: what every neural family shares.

A family supplies a ``Network``: ids (B, T) and a state in, hidden states (B, T, E) out. The softmax,
``p(w | h) = softmax(W h + b)``, takes the embedding for W (tied: Press & Wolf 2017; Inan et al. 2017) unless a
family asks for a matrix of its own, or takes vectors that are narrower for rarer words (``adapt``). Training is in
bfloat16 where the machine gains by it; scoring is in float32, and always the distribution over all types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lmbench.models.products import linear
from lmbench.models.softmax import AdaptiveEmbedding, SoftmaxLoss, log_probs_of


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
        if torch.compiler.is_compiling():  # no comparison: torch would write its result bit by bit
            dropped = (_hashed(x) - round(self.p * 2**31)) >> 31  # -1 or 0
            return (x * ((dropped + 1).to(torch.int8) / (1 - self.p))).to(x.dtype)
        level = max(1, min(255, round(256 * self.p)))
        draws = torch.empty(-(-x.numel() // 7), dtype=torch.int64).random_()  # 63 random bits each
        kept = draws.view(torch.uint8).view(-1, 8)[:, :7].reshape(-1)[: x.numel()].view(x.shape) >= level
        return x * kept.to(x.dtype).mul_(256 / (256 - level))


def _hashed(x: Tensor) -> Tensor:
    """Random int32 of 0 to 2^31 - 1 in the shape of ``x``: one draw and the number of the element, mixed by products
    and shifts until each bit of the one hangs on all of the other. In a step that torch builds they cost no memory."""
    first = torch.randint(-(2**31), 2**31 - 1, (1,), dtype=torch.int32)
    bits = torch.arange(x.numel(), dtype=torch.int32).view(x.shape) ^ first
    bits = (bits ^ (bits >> 16 & 0xFFFF)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15 & 0x1FFFF)) * (0x846CA68B - 2**32)
    return (bits ^ (bits >> 16 & 0xFFFF)) & 0x7FFFFFFF


def begin_small(layers: int, *branches: nn.Linear) -> None:
    """First weights of what a block's two residual branches end with: the sum over 2 x layers stays near 1."""
    for branch in branches:
        nn.init.normal_(branch.weight, std=(2 * layers * branch.in_features) ** -0.5)


class _Tied(torch.autograd.Function):
    """int64 (...), float (V, E) -> the rows read (..., E), and the matrix, for the softmax.

    As the gradients of both arrive together, that of the rows is added in place to the other: automatic
    differentiation would first spread it over an array of zeros as large as the matrix.
    """

    @staticmethod
    def forward(ctx: Any, ids: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        ctx.ids = ids
        return nn.functional.embedding(ids, matrix), matrix.view_as(matrix)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        of_rows, of_matrix = gradients  # zeros for what was not used
        return None, of_matrix.index_add_(0, ctx.ids.flatten(), of_rows.flatten(0, -2))


class Network(nn.Module, ABC):
    """Embedding, a body, and the softmax over it, tied unless ``output_size`` gives it a matrix of its own.

    ``stateful``: whether state runs on between calls. ``window``: tokens that a prediction can see, None if unlimited;
    without a state, the longest input as well. ``overlap``: tokens that such windows share where text is scored.
    ``label_smoothing``: share of the target, in training, that is spread over all types. ``checkpointing``: whether
    ``through`` computes blocks again in the backward pass. ``compiled``: ``forward`` as torch.compile made it, for
    training; weights keep their names. ``replayable``: whether a step runs the same kernels whatever the tokens are, so
    that a card can repeat them.
    """

    stateful: bool = False
    window: int | None = None
    overlap: int = 0
    label_smoothing: float = 0.0
    checkpointing: bool = False
    compiled: Callable[..., Any] | None = None

    def __init__(
        self, vocabulary_size: int, embedding_size: int, precision: torch.dtype, output_size: int | None = None
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.output: nn.Parameter | None = None
        self.output_embedding: AdaptiveEmbedding | None = None
        if output_size is not None:
            self.output = nn.Parameter(torch.empty(vocabulary_size, output_size))
            nn.init.uniform_(self.output, -(output_size**-0.5), output_size**-0.5)
        self.precision = precision
        self._matrix: Tensor | None = None  # of the softmax, on its way from ``embed`` to ``cross_entropy``

    def adapt(self) -> None:
        """Take word vectors whose width falls with frequency, and an adaptive softmax, before training."""
        self.embedding, own = AdaptiveEmbedding(self.embedding.weight), self.output
        if own is not None:
            self.output, self.output_embedding = None, AdaptiveEmbedding(own)
        self.clusters = nn.Parameter(torch.zeros(len(AdaptiveEmbedding.ENDS)))

    @property
    def adaptive(self) -> tuple[AdaptiveEmbedding, Tensor, Tensor] | None:
        """Where the softmax is adaptive: its vectors, and the biases of types (V,) and clusters (2,)."""
        vectors = self.output_embedding or self.embedding
        return (vectors, self.bias, self.clusters) if isinstance(vectors, AdaptiveEmbedding) else None

    @property
    def replayable(self) -> bool:
        return self.adaptive is None and not self.checkpointing and self.compiled is None

    @property
    def softmax_weight(self) -> Tensor:
        """float32 (V, E): the embedding where it is tied, else the matrix of its own."""
        return self.embedding.weight if self.output is None else self.output

    def embed(self, ids: Tensor) -> Tensor:
        """int64 (...) -> float (..., E). On a CPU a tied matrix is handed on to the softmax, see ``_Tied``. A loss
        should read once: what was read before has its gradient in an array of zeros."""
        alone = self.output is not None or self.adaptive or torch.compiler.is_compiling()
        if alone or ids.device.type != "cpu" or not (self.training and torch.is_grad_enabled()):
            return self.embedding(ids)
        x, self._matrix = _Tied.apply(ids, self.embedding.weight)
        return x

    @abstractmethod
    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, T) -> float (B, T, E), E the width of the softmax, and the state after them."""

    def start(self, rows: int) -> Any:
        """The state before the first of so many rows; None where there is none, or none that ``forward`` need be told.
        Torch would build a forward pass that has to make it a second time."""
        return None

    def go_on(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``forward`` without a gradient, with a state from which it goes on: a tensor or a tuple of them, a row of
        each for each row of ``ids``."""
        return self(ids, state)

    def through(self, block: nn.Module, *inputs: Any) -> Any:
        """``block(*inputs)``; with ``checkpointing`` only ``inputs`` are kept until the backward pass, which computes
        all else again (Chen et al. 2016), with the same dropout and thus the same gradients."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=True)
        return block(*inputs)

    def read(self, ids: Tensor, *rest: Any) -> tuple[Tensor, Any]:
        """``forward``, in training the compiled one where there is one."""
        return (self.compiled if self.compiled and torch.is_grad_enabled() else self)(ids, *rest)

    def autocast(self, device: torch.device) -> torch.autocast:
        """Within it, large products are in ``precision`` while training, in float32 otherwise."""
        low = self.training and self.precision != torch.float32
        return torch.autocast(device.type, dtype=self.precision if low else torch.bfloat16, enabled=low)

    def loss(self, rows: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, L + 1) -> mean loss, nats per event, and the detached state."""
        hidden, state = self.read(rows[:, :-1], self.start(len(rows)) if state is None else state)
        return self.cross_entropy(hidden.flatten(0, 1), rows[:, 1:].flatten()), detached(state)

    def cross_entropy(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """float (N, E), int64 (N,) -> mean of -ln p of the targets, which are smoothed in training."""
        if not torch.is_grad_enabled():  # validation: as in scoring
            return -self.log_probs_of(hidden, targets).mean()
        if self.adaptive:
            vectors, bias, clusters = self.adaptive
            return vectors.loss(hidden, bias, clusters, targets, self.precision)
        matrix, self._matrix = self._matrix, None
        how = self.precision, len(targets), self.label_smoothing if self.training else 0.0
        return SoftmaxLoss.apply(hidden, self.softmax_weight if matrix is None else matrix, self.bias, targets, *how)

    def loss_after(self, rows: Tensor, seen: int) -> Tensor:
        """int64 (B, L + 1) -> mean loss, nats, of all but the first ``seen`` events of each row; no gradient."""
        hidden, _ = self(rows[:, :-1])
        return -self.log_probs_of(hidden[:, seen:].flatten(0, 1), rows[:, 1 + seen :].flatten()).mean()

    def log_softmax(self, hidden: Tensor) -> Tensor:
        """float32 (N, E) -> (N, V), nats."""
        if self.adaptive:
            vectors, bias, clusters = self.adaptive
            return vectors.log_softmax(hidden, bias, clusters)
        return torch.log_softmax(linear(hidden.float(), self.softmax_weight, self.bias), dim=1)

    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """float32 (N, E), int64 (N,) -> float32 (N,): ln p of the targets among all types, nats."""
        if self.adaptive:
            vectors, bias, clusters = self.adaptive
            return vectors.log_probs_of(hidden, bias, clusters, targets)
        return log_probs_of(hidden, self.softmax_weight, self.bias, targets)


def detached(state: Any) -> Any:
    """A recurrent state without the history of its gradient."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


def overlap_of(window: int) -> tuple[int, int]:
    """Tokens that one window shares with the next, and how far it moves on."""
    return window // 2, window - window // 2
