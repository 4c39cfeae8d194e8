"""The softmax loss by blocks equals the plain one, in value and in gradient."""

from __future__ import annotations

import pytest
import torch

from lmbench.models import network
from lmbench.models.network import _SoftmaxLoss


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


def test_bfloat16_gives_nearly_the_same_loss():
    torch.manual_seed(1)
    hidden, weight, bias = torch.randn(64, 32), torch.randn(50, 32) * 0.1, torch.zeros(50)
    targets = torch.randint(0, 50, (64,))
    low, full = (float(_SoftmaxLoss.apply(hidden, weight, bias, targets, t)) for t in (torch.bfloat16, torch.float32))
    assert low == pytest.approx(full, rel=5e-3)
