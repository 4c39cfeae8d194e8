"""Schedules, the orthogonal updates of Muon, and when averaged SGD begins to average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lmbench.training.averaging import Average
from lmbench.training.optimizers import build_optimizer, learning_rate_factor, orthogonal, update


class Small(nn.Module):
    """An embedding, a hidden matrix and a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.gain = nn.Embedding(5, 4), nn.Linear(4, 6, bias=False), nn.RMSNorm(6)

    @property
    def softmax_weight(self):
        return self.embedding.weight


@pytest.mark.parametrize(
    ("schedule", "fraction", "factor"),
    [
        ("linear", 0.0, 1.0),
        ("linear", 0.25, 0.75),
        ("cosine", 0.5, 0.5),
        ("constant", 1.0, 1.0),
        ("warmup-stable-decay", 0.79, 1.0),
        ("warmup-stable-decay", 0.85, 0.5),  # a quarter of the last fifth: 1 - sqrt(0.25)
        ("warmup-stable-decay", 1.0, 0.0),
        ("halving", 1.0, 0.25),  # after two falls, by 2 each
        ("stepwise", 0.3, 0.25),
    ],
)
def test_schedules(schedule, fraction, factor):
    falls = 2 if schedule in ("halving", "stepwise") else 0
    assert learning_rate_factor(schedule, 0.0, fraction, falls) == pytest.approx(factor, abs=1e-9)
    assert learning_rate_factor(schedule, 0.1, 0.05, falls) == pytest.approx(0.5)  # half of the warm-up


def test_a_rate_may_fall_by_less_than_half():
    assert learning_rate_factor("stepwise", 0.0, 0.9, 3, 1.2) == pytest.approx(1 / 1.728)  # 1.2 ** 3


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e3])  # none, one that shortens, one that does not
def test_an_update_is_that_of_the_optimiser_after_the_gradient_was_clipped(name, decay, clip):
    torch.manual_seed(1)
    ours, plain = Small(), Small()
    plain.load_state_dict(ours.state_dict())
    optimizers = [build_optimizer(name, network, 0.1, decay) for network in (ours, plain)]
    for rate in (0.5, 0.25):
        for network, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            network.gain(network.hidden(network.embedding(torch.tensor([1, 3])))).square().sum().backward()
        found = update(optimizers[0], rate, clip)
        expected = torch.nn.utils.clip_grad_norm_(plain.parameters(), clip or math.inf)
        for group in optimizers[1].param_groups:
            group["lr"] = rate
        optimizers[1].step()
        assert float(found) == pytest.approx(float(expected), rel=1e-6)
        torch.testing.assert_close(list(ours.parameters()), list(plain.parameters()), rtol=1e-6, atol=1e-8)


def test_a_gradient_that_is_no_number_makes_the_weights_none():
    network = Small()
    for value in (math.inf, math.nan):
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        network.gain.weight.grad[0] = value
        assert not math.isfinite(float(update(build_optimizer("sgd", network, 0.1, 0.0), 0.1, 0.25)))
        assert not network.gain.weight[0].isfinite()
        changed = network.hidden.weight.isnan().all()
        assert changed if math.isnan(value) else not changed


@pytest.mark.parametrize("shape", [(8, 8), (8, 24), (8, 32)])
def test_orthogonal_updates_have_singular_values_near_one_and_the_same_directions(shape):
    torch.manual_seed(1)
    matrix = torch.randn(shape)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonal(torch.stack((matrix, -matrix)))[0]
    inside = left.t() @ result @ right.t()  # diagonal where the directions are kept
    torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-4, rtol=0)
    # five steps take whatever is above a hundredth of the norm between 0.67 and 1.21
    kept = inside.diagonal()[values > 0.01 * values.norm()]
    assert ((kept > 0.6) & (kept < 1.3)).all()


def test_muon_turns_hidden_matrices_and_gives_adamw_the_rest():
    torch.manual_seed(1)
    networks = [Small() for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    before = networks[0].hidden.weight.detach().clone()
    optimizers = [build_optimizer(name, net, 0.01, 0.1) for name, net in zip(("muon", "adamw"), networks, strict=True)]
    for _ in range(3):
        for network, optimizer in zip(networks, optimizers, strict=True):
            torch.manual_seed(2)
            for weight in network.parameters():
                weight.grad = torch.randn_like(weight)
            optimizer.step()
    torch.testing.assert_close(networks[0].embedding.weight, networks[1].embedding.weight)
    torch.testing.assert_close(networks[0].gain.weight, networks[1].gain.weight)
    # The gradient is the same each time, and orthogonal(c G) = orthogonal(G) = O. With the decoupled decay
    # d = 1 - 0.01 * 0.1 and the update u = 0.01 * 0.2 sqrt(6) O: ((W d - u) d - u) d - u
    gradient = networks[0].hidden.weight.grad
    turned = orthogonal(gradient.t()[None])[0].t()
    update = 0.01 * 0.2 * math.sqrt(6) * turned
    expected, decay = before, 1 - 0.01 * 0.1
    for _ in range(3):
        expected = expected * decay - update
    torch.testing.assert_close(networks[0].hidden.weight.detach(), expected, atol=1e-5, rtol=1e-4)


def test_an_average_is_plain_at_first_and_exponential_later():
    network = nn.Linear(1, 1, bias=False)
    plain, moving = Average(network), Average(network, newest=0.4)
    for value in (1.0, 2.0, 6.0, 11.0):
        nn.init.constant_(network.weight, value)
        plain.add()
        moving.add()
    with plain.in_place():
        assert network.weight.item() == pytest.approx(5.0)  # 20 / 4
    # 1; 1.5 (a half is more than 0.4); 1.5 + 0.4 * 4.5 = 3.3; 3.3 + 0.4 * 7.7 = 6.38
    with moving.in_place():
        assert network.weight.item() == pytest.approx(6.38)
    assert network.weight.item() == 11.0


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        # Shares 2/2, 2/3, 2/4, 2/5: 1; 1 + 2/3 = 5/3; 5/3 + (6 - 5/3) / 2 = 23/6; 23/6 + 2/5 (11 - 23/6) = 6.7,
        # which is (1 x 1 + 2 x 2 + 3 x 6 + 4 x 11) / (1 + 2 + 3 + 4)
        (1.0, 6.7),
        # n (n + 1) / 2 = 1, 3, 6, 10 in place of n: (1 x 1 + 3 x 2 + 6 x 6 + 10 x 11) / 20
        (2.0, 7.65),
    ],
)
def test_an_average_that_grows_forgets_its_beginning(growth, expected):
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, growth=growth)
    for value in (1.0, 2.0, 6.0, 11.0):
        nn.init.constant_(network.weight, value)
        average.add()
    with average.in_place():
        assert network.weight.item() == pytest.approx(expected)
