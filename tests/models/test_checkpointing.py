"""Blocks that are computed again in the backward pass: the same losses and weights, dropout included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.registry import create
from lmbench.training.budget import Budget

SENTENCES = ["a b c a b", "c a b a", "b b c"] * 20
TOKENS = train_tokenizer("word", SENTENCES).encode(SENTENCES)
COMMON = ":batch_size=2:sequence_length=6:layers=2:dropout=0.3:learning_rate=0.01:device=cpu"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "spec", ["gpt:width=8:heads=2", "bert:width=8:heads=2", "cnn:width=8", "mingru:width=8", "mamba:width=8"]
)
def test_the_gradients_are_the_same(spec: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    original = torch.nn.RMSNorm.forward
    monkeypatch.setattr(torch.nn.RMSNorm, "forward", lambda norm, x: passes.append(norm) or original(norm, x))
    weights, counts = [], []
    for choice in ("no", "yes"):
        passes.clear()
        model = create(f"{spec}{COMMON}:precision={precision}:checkpointing={choice}")
        model.fit(TOKENS, TOKENS, Budget(steps=8))
        counts.append(len(passes))
        weights.append({name: value.numpy() for name, value in model.network.state_dict().items()})
    assert counts[1] > counts[0], "blocks are computed a second time"
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value, err_msg=name)
