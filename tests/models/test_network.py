"""What all networks share: dropout, the embedding."""

from __future__ import annotations

import copy

import pytest
import torch

from lmbench.models.network import Dropout
from lmbench.models.recurrent import RecurrentConfig, RecurrentNetwork


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


@pytest.mark.parametrize("tied", [True, False])
def test_the_gradient_of_an_embedding_is_dense_and_that_of_torchs_own(tied, monkeypatch):
    torch.manual_seed(1)
    network = RecurrentNetwork(11, RecurrentConfig(hidden=6, dropout=0.0, tied=tied), "lstm").train()
    rows = torch.randint(3, 6, (4, 9))  # each type several times, others never

    def gradient():
        network.zero_grad()
        for part in rows.split(2):  # what accumulation adds up
            network.loss(part)[0].backward()
        return network.embedding.weight.grad

    ours = gradient().clone()
    monkeypatch.setattr(network, "embed", network.embedding)
    assert not ours.is_sparse
    torch.testing.assert_close(ours, gradient())
    assert tied == bool(ours[0].any())  # of types that were not read there is the softmax's alone


def test_rows_may_be_read_without_a_loss_and_a_loss_does_not_need_the_rows():
    torch.manual_seed(1)
    network = RecurrentNetwork(11, RecurrentConfig(hidden=6, dropout=0.0), "gru").train()
    weight, rows = network.embedding.weight, torch.randint(3, 6, (4, 9))
    network.embed(rows).sum().backward()
    assert weight.grad is not None
    assert weight.grad.sum(1).tolist() == [6 * float((rows == n).sum()) for n in range(11)]
    network.zero_grad()
    hidden, targets = torch.randn(5, 6), torch.arange(5)
    for _ in range(2):  # what was read above has no part in the first; nothing was read for the second
        network.cross_entropy(hidden, targets).backward()
    plain = torch.nn.functional.cross_entropy(hidden @ weight.t() + network.bias, targets)
    (expected,) = torch.autograd.grad(plain, weight)
    torch.testing.assert_close(weight.grad, 2 * expected)
    copy.deepcopy(network)
