"""What is GPT's own: attention in two forms, rotary positions."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional as F

from lmbench.models.fused import rotate
from lmbench.models.gpt import GPTConfig, GPTNetwork
from lmbench.models.network import Dropout
from lmbench.models.transformer import _attend


def test_attention_in_training_equals_the_fused_one_in_value_and_gradient():
    torch.manual_seed(1)
    parts = [torch.randn(2, 3, 7, 4) for _ in range(3)]
    results = []
    for attend in (
        partial(_attend, causal=True),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    ):
        query, key, value = (part.clone().requires_grad_() for part in parts)
        seen = attend(query, key, value)
        seen.square().sum().backward()
        results.append((seen.detach(), query.grad, key.grad, value.grad))
    for ours, fused in zip(*results, strict=True):
        torch.testing.assert_close(ours, fused, rtol=1e-4, atol=1e-5)


def test_dropout_of_attention_spares_on_average_what_is_attended_to():
    """Half of the weights, in training only: the first token, which sees but itself, is seen twofold or not at all."""
    torch.manual_seed(1)
    query, key, value = (torch.randn(400, 2, 6, 4) for _ in range(3))
    seen = _attend(query, key, value, causal=True, drop=Dropout(0.5).eval())
    torch.testing.assert_close(seen, _attend(query, key, value, causal=True))
    seen = _attend(query, key, value, causal=True, drop=Dropout(0.5))
    times = (seen[:, :, 0] / value[:, :, 0]).round(decimals=4)
    assert sorted(set(times.flatten().tolist())) == [0, 2]
    assert abs(times.mean() - 1) < 0.15  # of 800 draws: four standard errors


def test_rotary_positions_depend_on_the_distance_alone():
    network = GPTNetwork(5, GPTConfig(width=8, heads=1, layers=1, sequence_length=16, dropout=0.0))
    torch.manual_seed(1)
    query, key = torch.randn(8), torch.randn(8)
    turned_query, turned_key = (rotate(x.expand(16, 8), network.cosine, network.sine) for x in (query, key))
    products = turned_query @ turned_key.t()
    for distance in range(-15, 16):
        values = torch.diagonal(products, distance)
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-4, atol=1e-4)


def test_each_layer_of_a_sliding_window_reaches_one_window_further():
    config = GPTConfig(width=8, heads=1, layers=2, sequence_length=12, dropout=0.0, sliding_window=3)
    torch.manual_seed(1)
    network = GPTNetwork(5, config)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            plain = network(torch.zeros(1, 12, dtype=torch.int64))[0]
            changed = network(torch.eye(1, 12, dtype=torch.int64))[0]  # another first token
        moved = (plain - changed).abs().amax(2)[0] > 1e-6
        assert moved.nonzero().flatten().tolist() == [0, 1, 2, 3, 4]  # 2 layers x (3 - 1) further


def test_a_gated_feed_forward_layer_has_as_many_weights():
    sizes = []
    for form in ("squared-relu", "swiglu"):
        network = GPTNetwork(
            5, GPTConfig(width=12, heads=1, layers=1, sequence_length=4, dropout=0.0, feed_forward=form)
        )
        sizes.append(sum(weight.numel() for weight in network.parameters()))
    assert sizes[0] == sizes[1]  # 2 x 12 x 48 = 3 x 12 x 32


def test_a_gated_feed_forward_layer_by_hand():
    """U (silu(W y) * V y), silu(z) = z / (1 + exp(-z))."""
    config = GPTConfig(width=12, heads=1, layers=1, sequence_length=4, dropout=0.0, feed_forward="swiglu")
    block = GPTNetwork(5, config).blocks[0]
    y = torch.randn(3, 12)
    gate, value = (block.widen.weight @ y.t()).chunk(2)
    expected = (block.narrow.weight @ (gate / (1 + torch.exp(-gate)) * value)).t()
    torch.testing.assert_close(block._feed(y), expected, rtol=1e-4, atol=1e-5)
