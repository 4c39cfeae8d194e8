"""Ids -> hidden states -> log probabilities: what every neural family shares.

A family supplies a ``Network``: ids (B, T) and a state in, hidden states (B, T, E) out. The softmax,
``p(w | h) = softmax(W h + b)``, takes the embedding for W (tied: Press & Wolf 2017; Inan et al. 2017) unless a
family asks for a matrix of its own. The loss never holds more logits than a block of rows, and computes its gradient
on the way, in bfloat16 where the machine gains by it; scoring takes the full softmax in float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LOGITS = 1 << 23
"""Logits that are held at once, on a CPU ..."""
LOGITS_GPU = 1 << 26
"""... and on a GPU."""


def _rows_at_once(device: torch.device, vocabulary_size: int) -> int:
    return max(1, (LOGITS if device.type == "cpu" else LOGITS_GPU) // vocabulary_size)


class _SoftmaxLoss(torch.autograd.Function):
    """Mean cross-entropy of a linear softmax layer, with its gradient, block by block.

    With p = softmax(h W' + b): dL/dlogits = (p - onehot) / N. Each block of logits becomes probabilities,
    is multiplied out and forgotten, so (N, V) need never exist; the one-hot part is a look-up. With label smoothing
    e (Szegedy et al. 2016) the target is (1 - e) onehot + e / V, the loss -(1 - e) ln p(target) - (e / V) sum ln p.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        precision: torch.dtype,
        smoothing: float = 0.0,
    ) -> Tensor:
        w, b, h = weight.to(precision), bias.to(precision), hidden.to(precision)
        grad_hidden, grad_weight, grad_bias = torch.empty_like(h), torch.zeros_like(weight), torch.zeros_like(bias)
        loss = torch.zeros((), device=h.device)
        size = _rows_at_once(hidden.device, len(weight))
        for first in range(0, len(targets), size):
            block, wanted = h[first : first + size], targets[first : first + size]
            logits = nn.functional.linear(block, w, b)
            p = torch.softmax(logits, dim=1)
            loss -= (1 - smoothing) * p.gather(1, wanted[:, None]).float().clamp_min(1e-30).log().sum()
            if smoothing:  # mean ln p = mean logit - ln of the sum of exponentials
                loss -= smoothing * (logits.float().mean(1) - logits.float().logsumexp(1)).sum()
            del logits
            grad_hidden[first : first + size] = p @ w - (1 - smoothing) * w[wanted]
            grad_weight += p.t() @ block
            grad_bias += p.sum(0)
        grad_weight.index_add_(0, targets, hidden.to(grad_weight.dtype), alpha=smoothing - 1)
        grad_bias -= (1 - smoothing) * torch.bincount(targets, minlength=len(bias))
        if smoothing:
            grad_hidden -= smoothing * w.mean(0)
            grad_weight -= smoothing / len(bias) * hidden.sum(0)
            grad_bias -= smoothing * len(targets) / len(bias)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtype = hidden.dtype
        return loss / len(targets)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        scale = gradients[0] / len(hidden)
        return hidden.to(ctx.dtype) * scale, weight * scale, bias * scale, None, None, None


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
        return x * kept.to(x.dtype).mul_(256 / (256 - level))


class Network(nn.Module, ABC):
    """Embedding, a body, and the softmax over it, tied unless ``output_size`` gives it a matrix of its own.

    ``stateful``: whether state runs on between calls. ``window``: tokens that a prediction can see, None if unlimited;
    without a state, the longest input as well. ``overlap``: tokens that such windows share where text is scored.
    ``label_smoothing``: share of the target, in training, that is spread over all types. ``checkpointing``: whether
    ``through`` computes blocks again in the backward pass. ``compiled``: ``forward`` as torch.compile made it, for
    training; weights keep their names.
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
        if output_size is not None:
            self.output = nn.Parameter(torch.empty(vocabulary_size, output_size))
            nn.init.uniform_(self.output, -(output_size**-0.5), output_size**-0.5)
        self.precision = precision

    @property
    def softmax_weight(self) -> Tensor:
        """float32 (V, E): the embedding where it is tied, else the matrix of its own."""
        return self.embedding.weight if self.output is None else self.output

    @abstractmethod
    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """int64 (B, T) -> float (B, T, E), E the width of the softmax, and the state after them."""

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
        hidden, state = self.read(rows[:, :-1], state)
        return self.cross_entropy(hidden.flatten(0, 1), rows[:, 1:].flatten()), detached(state)

    def cross_entropy(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """float (N, E), int64 (N,) -> mean of -ln p of the targets, smoothed while there is a gradient."""
        if not torch.is_grad_enabled():  # validation: the full softmax, as in scoring
            return -self.log_probs_of(hidden, targets).mean()
        how = self.precision, self.label_smoothing
        return _SoftmaxLoss.apply(hidden, self.softmax_weight, self.bias, targets, *how)

    def loss_after(self, rows: Tensor, seen: int) -> Tensor:
        """int64 (B, L + 1) -> mean loss, nats, of all but the first ``seen`` events of each row; no gradient."""
        hidden, _ = self(rows[:, :-1])
        return -self.log_probs_of(hidden[:, seen:].flatten(0, 1), rows[:, 1 + seen :].flatten()).mean()

    def log_softmax(self, hidden: Tensor) -> Tensor:
        """float32 (N, E) -> (N, V), nats."""
        return torch.log_softmax(torch.addmm(self.bias, hidden.float(), self.softmax_weight.t()), dim=1)

    @torch.no_grad()
    def log_probs_of(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """float32 (N, E), int64 (N,) -> float32 (N,): ln p of the targets by the full softmax.

        All blocks share two arrays: were each to allocate its own between results that stay, the C library could
        reuse none of them, and memory would grow with N after all.
        """
        size = min(len(targets), _rows_at_once(hidden.device, len(self.bias)))
        weight, result = self.softmax_weight.t(), hidden.new_empty(len(targets), dtype=torch.float32)
        logits, log_probs = result.new_empty(2, size, len(self.bias))
        for first in range(0, len(targets), size or 1):
            block, wanted = hidden[first : first + size].float(), targets[first : first + size, None]
            rows = slice(0, len(wanted))
            torch.addmm(self.bias, block, weight, out=logits[rows])
            torch.log_softmax(logits[rows], dim=1, out=log_probs[rows])
            result[first : first + size] = log_probs[rows].gather(1, wanted)[:, 0]
        return result


def detached(state: Any) -> Any:
    """A recurrent state without the history of its gradient."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()
