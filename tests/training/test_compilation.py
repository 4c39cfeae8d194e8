"""torch.compile: used in training only, told where it cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import TrainingError, UsageError
from lmbench.models.registry import create
from lmbench.training.budget import Budget
from lmbench.training.compilation import COMPILERS

GPT = "gpt:width=8:heads=2:layers=1:batch_size=2:sequence_length=5:device=cpu"
SENTENCES = ["a b c a b", "c a b a"] * 10
TOKENS = train_tokenizer("word", SENTENCES).encode(SENTENCES)


def test_what_is_compiled_is_the_forward_pass_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile_nothing(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *rows: calls.append(torch.is_grad_enabled()) or forward(*rows)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain, built = create(GPT), create(GPT + ":compile=yes")
    for model in (plain, built):
        model.fit(TOKENS, TOKENS, Budget(steps=7))
    assert calls == [True] * 7
    assert built.network.compiled is None
    assert list(built.network.state_dict()) == list(plain.network.state_dict())
    for one, other in zip(built.network.parameters(), plain.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


@pytest.mark.filterwarnings("ignore")  # of torch about itself
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="there is no C++ compiler")
@pytest.mark.parametrize("family", ["gpt:width=8:heads=2", "mingru:width=8", "mamba:width=8", "gru:hidden=8"])
def test_what_torch_builds_learns_the_same(family: str) -> None:
    """Also the second time, when torch finds on the disk what it has built before."""
    spec = f"{family}:layers=1:batch_size=2:sequence_length=5:device=cpu:precision=float32:dropout=0"
    losses = []
    for compile in ("no", "yes", "yes"):
        torch._dynamo.reset()
        losses.append(create(f"{spec}:compile={compile}").fit(TOKENS, TOKENS, Budget(steps=5)).valid_loss)
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert losses[2] == pytest.approx(losses[0], abs=1e-5)


def test_without_a_compiler_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler.* leave compile=yes out"):
        create(GPT + ":compile=yes").fit(TOKENS, TOKENS, Budget(steps=1))


def test_a_network_that_cannot_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def broken(*_: object) -> None:
        raise TorchDynamoException("this cannot be\nand here is why, at length")

    monkeypatch.setattr(torch, "compile", lambda forward: broken)
    with pytest.raises(TrainingError, match=r"this cannot be\. Leave compile=yes out"):
        create(GPT + ":compile=yes").fit(TOKENS, TOKENS, Budget(steps=1))
