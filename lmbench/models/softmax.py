"""Hidden states and word vectors -> log probabilities, loss and its gradient: the softmax, in full or adaptive.

Logits are held for a block of events at a time, in training and in scoring, so that memory does not grow with the
length of the text, and with the vocabulary only by that block and by copies of the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmbench.errors import UsageError
from lmbench.models.products import aligned, linear, product_with

LOGIT_BYTES = (32 << 20) - 4096
"""Logits that are held at once, on a CPU: the largest array that ``reuse_memory`` keeps ..."""
LOGITS_GPU = 1 << 26
"""... and on a GPU, in numbers ..."""
EVENTS = 256
"""... but of about as many events at least: each block adds to the gradient of the whole matrix, which must be worth
it."""

SCORED = 512, 2048
"""Events and types whose logits a CPU computes at once where text is scored: 4 MiB."""


def _events_at_once(events: int, types: int, device: torch.device, precision: torch.dtype) -> int:
    """How many of the events make a block, so that all blocks are about as large."""
    most = LOGIT_BYTES // precision.itemsize if device.type == "cpu" else LOGITS_GPU
    blocks = -(-events // max(EVENTS, most // types))
    return -(-events // max(1, blocks))


class SoftmaxLoss(torch.autograd.Function):
    """The sum of -ln p over the targets, divided by ``events``, with its gradient, block by block.

    With p = softmax(h W' + b): dL/dlogits = (p - onehot) / events. Each block of logits becomes probabilities, these
    become the gradient in their place, which is multiplied out and forgotten, so (N, V) need never exist. With label
    smoothing e (Szegedy et al. 2016) the target is q = (1 - e) onehot + e / V, the loss -sum q ln p.

    hidden: (N, E); weight: (V, E); bias: (V,); targets: int64 (N,), which may be empty. Products are in ``precision``,
    sums of blocks in float32. In bfloat16 all three gradients are within 0.4 % of those in float64, by norm (700 to
    2048 events, 65 and 10,000 types), which is the rounding of each number to 8 bits: a product is summed in float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        precision: torch.dtype,
        events: int,
        smoothing: float = 0.0,
    ) -> Tensor:
        cast = aligned if hidden.is_cuda else Tensor.to
        w, b, h = cast(weight, precision), bias.to(precision), cast(hidden, precision)
        shares, loss = cast(hidden / events, precision), torch.zeros((), device=h.device)
        grad_hidden, grad_bias, width = torch.empty_like(h), torch.zeros_like(bias), hidden.shape[1]
        grad_weight = torch.zeros_like(weight) if not len(targets) else None
        size = _events_at_once(len(targets), len(weight), hidden.device, precision)
        for first in range(0, len(targets), max(1, size)):
            rows = slice(first, first + size)
            wanted = torch.arange(len(targets[rows]), device=targets.device), targets[rows]
            logits = linear(h[rows], w, b)
            p = torch.softmax(logits, dim=1)
            loss -= (1 - smoothing) * p[wanted].float().clamp_min(1e-30).log().sum()
            if smoothing:  # mean ln p = mean logit - ln of the sum of exponentials
                loss -= smoothing * (logits.float().mean(1) - logits.float().logsumexp(1)).sum()
                p -= smoothing / len(bias)
            del logits
            p[wanted] += smoothing - 1  # p - q
            torch.mm(p, w, out=grad_hidden[rows])
            part = (p.t() @ shares[rows])[:, :width]
            grad_weight = part.to(weight.dtype) if grad_weight is None else grad_weight.add_(part)
            grad_bias += p.sum(0)
        grad_hidden = grad_hidden[:, :width].to(hidden.dtype).div_(events)
        ctx.gradients = grad_hidden, grad_weight, grad_bias.div_(events)
        return loss / events

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found, ctx.gradients = ctx.gradients, None
        scale = gradients[0]
        if scale.device.type != "cpu" or float(scale) != 1:  # asking a GPU would wait for it
            found = tuple(gradient.mul_(scale) for gradient in found)
        return *found, None, None, None, None


@torch.no_grad()
def log_probs_of(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """float32 (N, E), (V, E), (V,), int64 (N,) -> float32 (N,): ln p of the targets, nats.

    With z = W h + b, ln p = z_w - ln sum_v exp z_v. On a CPU the sum is that of blocks of types, each of which stays in
    the caches between its product and its exponentials: half as fast again with 10,000 types, which would not.

    Two blocks are held at once, and all share the array of the second: were each to allocate its own between results
    that stay, the C library could reuse fewer of them, and memory would grow with N after all. Where there are several
    blocks of events a copy of the matrix is held too, in the order in which it is read.
    """
    count, types = len(targets), len(bias)
    on_cpu = hidden.device.type == "cpu"
    events, width = SCORED if on_cpu else (_events_at_once(count, types, hidden.device, torch.float32), types)
    events, width = min(events, count), min(width, types)
    result, starts = hidden.new_empty(count, dtype=torch.float32), range(0, count, max(1, events))
    parts = zip(weight.split(width), bias.split(width), strict=True)
    products: Iterable[Callable[[Tensor], Tensor]] = (product_with(w, events, len(starts), b) for w, b in parts)
    if len(starts) > 1:
        products = list(products)
    array = result.new_empty(events * width)
    for first in starts:
        block, wanted = hidden[first : first + events].float(), targets[first : first + events]
        total = result.new_full((len(block),), -torch.inf)  # ln of the sum over the types so far
        for product in products:
            logits = product(block)
            log_probs = torch.log_softmax(logits, dim=1, out=array[: logits.numel()].view_as(logits))
            part = logits.amax(1) - log_probs.amax(1)  # the difference is the same for all types, most exact here
            del logits  # before the next are made
            torch.logaddexp(total, part, out=total)
        result[first : first + events] = (block * weight[wanted]).sum(1) + bias[wanted] - total
    return result


class AdaptiveEmbedding(nn.Embedding):
    """Word vectors, and the softmax over them, that spend on a word as much as it is used (Grave et al. 2017;
    Baevski & Auli 2019). They suit vocabularies of some ten thousand types and more.

    The types, which are numbered by falling count, make a head and two clusters. A type of the head, the first V / 20,
    has a vector of the full width E; one of the clusters, which end at V / 4 and at V, a vector e of E / 4 or E / 16,
    which a matrix P of its cluster takes to the full width: P' e is what the network reads. In the softmax::

        p(w | h) = p(w | head, h)                            a type of the head
        p(w | h) = p(cluster | head, h) p(w | cluster, h)    any other

    with p(. | head, h) = softmax(H h + b), H the vectors of the head's types and of both clusters, and
    p(. | cluster, h) = softmax(e P h + b), the same e and P. All types still sum to one, but most events need only the
    head, and all matrices together are about an eighth of (V, E).

    ``weight``: H, (V / 20 + 2, E); ``tails``: (types, width) of each cluster; ``projections``: P, (width, E).
    """

    ENDS = 20, 4
    """The head ends at V / 20, the first cluster at V / 4: near 2,000 and 10,000 of 44,000 (Grave et al.), and 20,000
    and 60,000 of 267,000 (Baevski & Auli)."""
    COST = 16
    """Multiply-adds of an event are about V E / 16, where one event in four leaves the head."""

    def __init__(self, full: Tensor) -> None:
        """``full``: the first values of an embedding (V, E) in whose place it stands; clusters begin as large."""
        types, width = full.shape
        if types < 8:
            raise UsageError(
                f"softmax=adaptive was asked for, but the vocabulary has only {types} types, too few to sort them into "
                "frequent and rare ones. Use softmax=full."
            )
        self.cutoffs = [*(max(1, types // share) for share in self.ENDS), types]
        scale = float(full.detach().std())
        head = torch.cat((full[: self.cutoffs[0]], scale * torch.randn(len(self.cutoffs) - 1, width)))
        super().__init__(len(head), width, _weight=head.detach().clone())
        self.tails, self.projections = nn.ParameterList(), nn.ParameterList()
        for number, (first, last) in enumerate(pairwise(self.cutoffs), 1):
            narrow = max(1, width // 4**number)
            self.tails.append(torch.randn(last - first, narrow) * scale)
            self.projections.append(torch.randn(narrow, width) * narrow**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 (...) -> float (..., E)."""
        x = F.embedding(ids.clamp(max=self.cutoffs[0] - 1), self.weight)
        for tail, projection, (first, last) in zip(self.tails, self.projections, pairwise(self.cutoffs), strict=True):
            rare = F.embedding((ids - first).clamp(0, last - first - 1), tail) @ projection
            x = torch.where((ids >= first)[..., None], rare, x)
        return x

    def parts(self, bias: Tensor, clusters: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Biases of the types (V,) and of the clusters (2,) -> matrix and bias of the head and of each cluster."""
        biases = [
            torch.cat((bias[: self.cutoffs[0]], clusters)),
            *bias[self.cutoffs[0] :].split([*map(len, self.tails)]),
        ]
        return list(zip((self.weight, *self.tails), biases, strict=True))

    def sort(self, hidden: Tensor, targets: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(N, E), int64 (N,) -> of the head and each cluster: events, what its matrix is multiplied by, targets."""
        cutoffs = targets.new_tensor(self.cutoffs[:-1])
        place = torch.bucketize(targets.contiguous(), cutoffs, right=True)  # 0: in the head
        heading = torch.where(place == 0, targets, self.cutoffs[0] + place - 1)
        result = [(torch.arange(len(targets), device=targets.device), hidden, heading)]
        for number, projection in enumerate(self.projections):
            events = (place == number + 1).nonzero()[:, 0]
            result.append((events, hidden[events] @ projection.t(), targets[events] - self.cutoffs[number]))
        return result

    def loss(self, hidden: Tensor, bias: Tensor, clusters: Tensor, targets: Tensor, precision: torch.dtype) -> Tensor:
        """float (N, E), (V,), (2,), int64 (N,) -> mean of -ln p of the targets, with its gradient."""
        parts = zip(self.parts(bias, clusters), self.sort(hidden.float(), targets), strict=True)
        losses = [SoftmaxLoss.apply(h, *part, wanted, precision, len(targets)) for part, (_, h, wanted) in parts]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def log_probs_of(self, hidden: Tensor, bias: Tensor, clusters: Tensor, targets: Tensor) -> Tensor:
        """float32 (N, E), (V,), (2,), int64 (N,) -> float32 (N,): ln p of the targets among all types, nats."""
        result = hidden.new_zeros(len(targets), dtype=torch.float32)
        parts = zip(self.parts(bias, clusters), self.sort(hidden.float(), targets), strict=True)
        for part, (events, h, wanted) in parts:
            result[events] += log_probs_of(h, *part, wanted)
        return result

    def log_softmax(self, hidden: Tensor, bias: Tensor, clusters: Tensor) -> Tensor:
        """float32 (N, E), (V,), (2,) -> (N, V), nats."""
        (weight, head_bias), *parts = self.parts(bias, clusters)
        head = torch.log_softmax(linear(hidden.float(), weight, head_bias), dim=1)
        result = [head[:, : self.cutoffs[0]]]
        for number, ((tail, tail_bias), projection) in enumerate(zip(parts, self.projections, strict=True)):
            logits = linear(linear(hidden.float(), projection), tail, tail_bias)
            result.append(torch.log_softmax(logits, dim=1) + head[:, self.cutoffs[0] + number, None])
        return torch.cat(result, 1)
