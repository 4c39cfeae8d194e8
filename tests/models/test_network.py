"""The softmax loss by blocks equals the plain one, in value and in gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lmbench.models import network
from lmbench.models.network import Dropout, Network, _SoftmaxLoss


@pytest.mark.parametrize("logits", [7, 100, 1 << 20])
def test_the_loss_by_blocks_equals_cross_entropy(monkeypatch, logits):
    monkeypatch.setattr(network, "LOGITS", logits)
    torch.manual_seed(1)
    inputs = [torch.randn(13, 5), torch.randn(7, 5), torch.randn(7)]
    targets = torch.randint(0, 7, (13,))
    gradients = []
    for blockwise in (True, False):
        hidden, weight, bias = (x.clone().requires_grad_() for x in inputs)
        if blockwise:
            loss = _SoftmaxLoss.apply(hidden, weight, bias, targets, torch.float32)
        else:
            loss = torch.nn.functional.cross_entropy(hidden @ weight.t() + bias, targets)
        (3 * loss).backward()
        gradients.append((loss.detach(), hidden.grad, weight.grad, bias.grad))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("logits", [14, 1 << 20])
def test_label_smoothing_equals_that_of_cross_entropy(monkeypatch, logits):
    monkeypatch.setattr(network, "LOGITS", logits)
    torch.manual_seed(1)
    inputs = [torch.randn(13, 5), torch.randn(7, 5), torch.randn(7)]
    targets = torch.randint(0, 7, (13,))
    gradients = []
    for blockwise in (True, False):
        hidden, weight, bias = (x.clone().requires_grad_() for x in inputs)
        if blockwise:
            loss = _SoftmaxLoss.apply(hidden, weight, bias, targets, torch.float32, 0.2)
        else:
            loss = torch.nn.functional.cross_entropy(hidden @ weight.t() + bias, targets, label_smoothing=0.2)
        loss.backward()
        gradients.append((loss.detach(), hidden.grad, weight.grad, bias.grad))
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-6)


def test_bfloat16_gives_nearly_the_same_loss():
    torch.manual_seed(1)
    hidden, weight, bias = torch.randn(64, 32), torch.randn(50, 32) * 0.1, torch.zeros(50)
    targets = torch.randint(0, 50, (64,))
    low, full = (float(_SoftmaxLoss.apply(hidden, weight, bias, targets, t)) for t in (torch.bfloat16, torch.float32))
    assert low == pytest.approx(full, rel=5e-3)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.65])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(1)
    drop = Dropout(p)
    y = drop(torch.ones(1001, 999))
    # one in a million elements has a standard error of sqrt(p (1 - p) / 1e6) < 5e-4; p itself is rounded to 1/256
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=1 / 512 + 2e-3)
    assert float(y.mean()) == pytest.approx(1, abs=5e-3)
    zero = (y == 0).flatten().float()
    for lag in (1, 7, 8, 999):  # neighbours, bytes of one draw, and rows fall independently
        assert float((zero[:-lag] * zero[lag:]).mean()) == pytest.approx(float(zero.mean()) ** 2, abs=2e-3)
    assert drop.eval()(torch.ones(3)).tolist() == [1, 1, 1]


class Identity(Network):
    """No body: the embedding is the hidden state."""

    def forward(self, ids, state=None):
        return self.embedding(ids), None


class Allocations(TorchDispatchMode):
    """The arrays of (N, 50) that operations give, all kept, so that no memory is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.kept: list[Any] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dim() > 1 and result.shape[-1] == 50:
            self.kept.append(result)
            self.sizes[result.untyped_storage().data_ptr()] = result.untyped_storage().nbytes()
        return result


@pytest.mark.parametrize("events", [5, 64, 999])
def test_scoring_allocates_logits_once_however_many_events_there_are(monkeypatch, events):
    monkeypatch.setattr(network, "LOGITS", 8 * 50)  # blocks of 8 events
    torch.manual_seed(1)
    model, hidden, targets = Identity(50, 4, torch.float32), torch.randn(events, 4), torch.randint(0, 50, (events,))
    with torch.inference_mode(), Allocations() as allocated:
        values = model.log_probs_of(hidden, targets)
    plain = model.log_softmax(hidden).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(values, plain.detach())
    sizes = [size for size in allocated.sizes.values() if size != 50 * 4 * 4]  # the weights, (4, 50)
    assert sizes == [2 * min(8, events) * 50 * 4]  # one block of logits and one of their logarithms, 4 bytes each
