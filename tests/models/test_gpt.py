"""What is GPT's own: attention in two forms, rotary positions."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional as F

from lmbench.models.fused import rotate
from lmbench.models.gpt import GPTNetwork
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


def test_rotary_positions_depend_on_the_distance_alone():
    network = GPTNetwork(vocabulary_size=5, width=8, heads=1, layers=1, window=16, dropout=0.0)
    torch.manual_seed(1)
    query, key = torch.randn(8), torch.randn(8)
    turned_query, turned_key = (rotate(x.expand(16, 8), network.cosine, network.sine) for x in (query, key))
    products = turned_query @ turned_key.t()
    for distance in range(-15, 16):
        values = torch.diagonal(products, distance)
        torch.testing.assert_close(values, values[:1].expand_as(values), rtol=1e-4, atol=1e-4)
