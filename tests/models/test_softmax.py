"""The softmax loss by blocks equals the plain one, in value and in gradient; so does the adaptive one."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models import registry, softmax
from lmbench.models.products import product_with
from lmbench.models.registry import create
from lmbench.models.softmax import AdaptiveEmbedding, SoftmaxLoss, log_probs_of
from lmbench.training.budget import Budget


@pytest.mark.parametrize("logits", [7, 100, 1 << 20])
def test_the_loss_by_blocks_equals_cross_entropy(monkeypatch, logits):
    monkeypatch.setattr(softmax, "LOGIT_BYTES", 4 * logits)
    monkeypatch.setattr(softmax, "EVENTS", 1)
    torch.manual_seed(1)
    inputs = [torch.randn(13, 5), torch.randn(7, 5), torch.randn(7)]
    targets = torch.randint(0, 7, (13,))
    gradients = []
    for blockwise in (True, False):
        hidden, weight, bias = (x.clone().requires_grad_() for x in inputs)
        if blockwise:
            loss = SoftmaxLoss.apply(hidden, weight, bias, targets, torch.float32, 13)
        else:
            loss = F.cross_entropy(hidden @ weight.t() + bias, targets)
        (3 * loss).backward()
        gradients.append((loss.detach(), hidden.grad, weight.grad, bias.grad))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_blocks_are_as_large_as_memory_allows_and_about_equal():
    cpu = torch.device("cpu")
    assert 1024 * 10_000 * 2 < softmax.LOGIT_BYTES < 2048 * 10_000 * 2
    assert softmax._events_at_once(1024, 10_000, cpu, torch.bfloat16) == 1024
    assert softmax._events_at_once(2048, 10_000, cpu, torch.bfloat16) == 1024
    assert softmax._events_at_once(1024, 10_000, cpu, torch.float32) == 512
    assert softmax._events_at_once(1025, 1_000_000, cpu, torch.float32) == 205  # 5 blocks, of at most EVENTS
    assert softmax._events_at_once(0, 10, cpu, torch.float32) == 0


@pytest.mark.parametrize("logits", [14, 1 << 20])
def test_label_smoothing_equals_that_of_cross_entropy(monkeypatch, logits):
    monkeypatch.setattr(softmax, "LOGIT_BYTES", 4 * logits)
    monkeypatch.setattr(softmax, "EVENTS", 1)
    torch.manual_seed(1)
    inputs = [torch.randn(13, 5), torch.randn(7, 5), torch.randn(7)]
    targets = torch.randint(0, 7, (13,))
    gradients = []
    for blockwise in (True, False):
        hidden, weight, bias = (x.clone().requires_grad_() for x in inputs)
        if blockwise:
            loss = SoftmaxLoss.apply(hidden, weight, bias, targets, torch.float32, 13, 0.2)
        else:
            loss = F.cross_entropy(hidden @ weight.t() + bias, targets, label_smoothing=0.2)
        loss.backward()
        gradients.append((loss.detach(), hidden.grad, weight.grad, bias.grad))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_bfloat16_gives_nearly_the_same_loss_and_gradient():
    torch.manual_seed(1)
    inputs = [torch.randn(700, 64), torch.randn(1000, 64) * 0.1, torch.zeros(1000)]
    targets = (1000 * torch.rand(700) ** 3).long()  # the first types far more often
    exact = [x.double().requires_grad_() for x in inputs]
    loss = F.cross_entropy(exact[0] @ exact[1].t() + exact[2], targets)
    loss.backward()
    ours = [x.clone().requires_grad_() for x in inputs]
    low = SoftmaxLoss.apply(*ours, targets, torch.bfloat16, 700)
    low.backward()
    assert float(low.detach()) == pytest.approx(float(loss.detach()), rel=1e-3)
    for gradient, true in zip(ours, exact, strict=True):
        error = (gradient.grad.double() - true.grad).norm() / true.grad.norm()
        assert error < 2**-7, "bfloat16 keeps 8 bits: half a unit in the last place is 2^-9"


def test_no_targets_give_no_loss_and_no_gradient():
    hidden, weight, bias = torch.zeros(0, 3, requires_grad=True), torch.ones(5, 3, requires_grad=True), torch.ones(5)
    loss = SoftmaxLoss.apply(hidden, weight, bias, torch.zeros(0, dtype=torch.int64), torch.bfloat16, 7)
    loss.backward()
    assert float(loss.detach()) == 0
    assert weight.grad.abs().sum() == 0


class Allocations(TorchDispatchMode):
    """The most bytes that the arrays of (N, 50) which operations give take at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.given: list[weakref.ref[Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dim() > 1 and result.shape[-1] == 50:
            self.given.append(weakref.ref(result))
            alive = [tensor.untyped_storage() for one in self.given if (tensor := one()) is not None]
            alive = [storage for storage in alive if storage.nbytes() != 100 * 3 * 4]  # not the weights, (3, 100)
            self.most = max(self.most, sum({storage.data_ptr(): storage.nbytes() for storage in alive}.values()))
        return result


@pytest.mark.parametrize("events", [5, 64, 999])
def test_scoring_holds_two_blocks_however_many_events_there_are(monkeypatch, events):
    monkeypatch.setattr(softmax, "SCORED", (8, 50))  # of events and of types: two blocks of types
    torch.manual_seed(1)
    hidden, weight, bias = torch.randn(events, 3), torch.randn(100, 3), torch.randn(100)
    targets = torch.randint(0, 100, (events,))
    with torch.inference_mode(), Allocations() as allocated:
        values = log_probs_of(hidden, weight, bias, targets)
    plain = torch.log_softmax(hidden @ weight.t() + bias, 1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(values, plain)
    assert allocated.most == 2 * min(8, events) * 50 * 4  # one block of logits, one of their logarithms, 4 bytes each


def test_one_block_of_events_is_scored_without_a_copy_of_the_matrix(monkeypatch):
    monkeypatch.setattr(softmax, "SCORED", (8, 50))
    torch.manual_seed(1)
    held: list[weakref.ref] = []

    def watched(*given):
        # Of those before, at most the one that was multiplied by last.
        assert sum(product() is not None for product in held) <= (1 if events == 8 else len(held))
        held.append(weakref.ref(product := product_with(*given)))
        return product

    monkeypatch.setattr(softmax, "product_with", watched)
    for events in (8, 9):
        held.clear()
        log_probs_of(torch.randn(events, 3), torch.randn(200, 3), torch.randn(200), torch.randint(0, 200, (events,)))
        assert len(held) == 4


@pytest.fixture
def vectors() -> AdaptiveEmbedding:
    torch.manual_seed(1)
    return AdaptiveEmbedding(torch.randn(60, 8))


def full_matrix(vectors: AdaptiveEmbedding) -> Tensor:
    """(V, E): the vector of each type at full width."""
    rare = [tail @ projection for tail, projection in zip(vectors.tails, vectors.projections, strict=True)]
    return torch.cat((vectors.weight[:3], *rare))


def plain_log_probs(vectors: AdaptiveEmbedding, hidden: Tensor, bias: Tensor, clusters: Tensor) -> Tensor:
    """The formula, word for word: p(w | head) or p(cluster | head) p(w | cluster); (N, 60)."""
    head = torch.log_softmax(hidden @ vectors.weight.t() + torch.cat((bias[:3], clusters)), 1)
    every = full_matrix(vectors)
    first = torch.log_softmax(hidden @ every[3:15].t() + bias[3:15], 1) + head[:, 3:4]
    second = torch.log_softmax(hidden @ every[15:].t() + bias[15:], 1) + head[:, 4:5]
    return torch.cat((head[:, :3], first, second), 1)


def test_frequent_types_have_wide_vectors_and_rare_ones_narrow_ones(vectors):
    # 60 types: a head of 60 / 20 = 3 beside the 2 clusters, types 3 to 14 (60 / 4 = 15), types 15 to 59
    assert vectors.weight.shape == (3 + 2, 8)
    assert [tuple(tail.shape) for tail in vectors.tails] == [(12, 2), (45, 1)]
    assert [tuple(matrix.shape) for matrix in vectors.projections] == [(2, 8), (1, 8)]
    ids = torch.tensor([[0, 2, 3], [14, 15, 59]])
    torch.testing.assert_close(vectors(ids), full_matrix(vectors)[ids])


@pytest.mark.parametrize("logits", [40, 1 << 20])
@pytest.mark.parametrize("highest", [3, 15, 60])  # targets in the head alone, without the last cluster, in all
def test_the_adaptive_loss_and_its_gradient_are_those_of_the_formula(monkeypatch, vectors, logits, highest):
    monkeypatch.setattr(softmax, "LOGIT_BYTES", 4 * logits)
    monkeypatch.setattr(softmax, "EVENTS", 1)
    targets = torch.randint(0, highest, (23,))
    inputs = torch.randn(23, 8), torch.randn(60), torch.randn(2)
    found = []
    for ours in (True, False):
        vectors.zero_grad()
        hidden, bias, clusters = (x.clone().requires_grad_() for x in inputs)
        if ours:
            loss = vectors.loss(hidden, bias, clusters, targets, torch.float32)
        else:
            loss = -plain_log_probs(vectors, hidden, bias, clusters).gather(1, targets[:, None]).mean()
        (2 * loss).backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in vectors.parameters()]
        found.append([loss.detach(), hidden.grad, bias.grad, clusters.grad, *gradients])
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-6)


def test_adaptive_scores_are_the_log_probabilities_of_the_formula(vectors):
    hidden, bias, clusters = torch.randn(23, 8), torch.randn(60), torch.randn(2)
    plain = plain_log_probs(vectors, hidden, bias, clusters).detach()
    torch.testing.assert_close(plain.exp().sum(1), torch.ones(23))
    torch.testing.assert_close(vectors.log_softmax(hidden, bias, clusters).detach(), plain)
    targets = torch.randint(0, 60, (23,))
    torch.testing.assert_close(
        vectors.log_probs_of(hidden, bias, clusters, targets), plain.gather(1, targets[:, None])[:, 0]
    )


@pytest.fixture(scope="module")
def tokens():
    random = np.random.default_rng(7)
    words = [f"w{number}" for number in range(80)]

    def text(lines: int) -> tuple[str]:
        drawn = (80 * random.random((lines, 6)) ** 3).astype(int)
        return ("\n".join(" ".join(words[word] for word in line) for line in drawn),)

    corpus = Corpus("made", Split("train", text(200)), Split("valid", text(30)), Split("test", text(30)))
    return corpus.tokenize("word")


@pytest.mark.parametrize(
    "spec",
    [
        "ffnn:order=4:width=16:layers=1",
        "ffnn:order=3:width=16:layers=1:tied=no",
        "cnn:width=16:layers=2:kernel=2:dilation=2",
        "rnn:hidden=16:tied=no",
        "gru:hidden=16:initial_range=0.05",
        "lstm:hidden=16:optimizer=muon",
        "mingru:width=16:layers=1",
        "mamba:width=16:layers=1",
        "gpt:width=16:heads=2:layers=1",
        "bert:width=16:heads=2:layers=1",
    ],
)
def test_every_network_takes_the_adaptive_softmax_and_keeps_the_contract(tokens, spec, tmp_path):
    model = create(f"{spec}:softmax=adaptive:batch_size=4:sequence_length=8:device=cpu")
    report = model.fit(tokens.train, tokens.valid, Budget(steps=60))
    assert report.valid_loss < report.curve[0].valid_loss
    batch = Batch.of([np.array([0, 2, 9, 60, 79, 3, 0]), np.array([0, 40, 1, 0])])
    values = model.log_probs(batch)
    model.save(tmp_path)
    again = registry.load(tmp_path)
    np.testing.assert_array_equal(again.log_probs(batch), values)
    assert again.parameters == model.parameters
    if model.reads == "both":
        return
    row = batch.ids[0]
    following = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row))]))
    assert following.shape == (6, len(model.tokenizer.vocabulary))
    np.testing.assert_allclose(np.exp(following.astype(np.float64)).sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(values[0, 1:], following[np.arange(6), row[1:]], atol=1e-5)


def test_what_does_not_go_with_the_adaptive_softmax_is_told(tokens):
    with pytest.raises(UsageError, match="Leave one of the two out"):
        create("lstm:softmax=adaptive:label_smoothing=0.1")
    with pytest.raises(UsageError, match=r"only 7 types.*softmax=full"):
        AdaptiveEmbedding(torch.zeros(7, 4))
