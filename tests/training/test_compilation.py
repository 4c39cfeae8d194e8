"""torch.compile: used in training only, told where it cannot be."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import TrainingError, UsageError
from lmbench.models.network import Dropout
from lmbench.models.registry import create
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.compilation import can_build, compiled
from lmbench.training.optimizers import update
from lmbench.training.plan import Clock

GPT = "gpt:width=8:heads=2:layers=1:batch_size=2:sequence_length=5:device=cpu"
SENTENCES = ["a b c a b", "c a b a"] * 10
TOKENS = train_tokenizer("word", SENTENCES).encode(SENTENCES)
UNEVEN = TOKENS.tokenizer.encode(SENTENCES[:-3])
"""In two rows the last step of a pass is shorter."""


def test_what_is_compiled_is_the_forward_pass_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile_nothing(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *rows: calls.append(torch.is_grad_enabled()) or forward(*rows)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain, built = create(GPT), create(GPT + ":compile=yes")
    for model in (plain, built):
        model.fit(TOKENS, TOKENS, Budget(steps=7))
    assert calls == [True] * 8, "once more, to build it"
    assert built.network.compiled is None
    assert list(built.network.state_dict()) == list(plain.network.state_dict())
    for one, other in zip(built.network.parameters(), plain.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


@pytest.mark.filterwarnings("ignore")  # of torch about itself
@pytest.mark.skipif(not can_build(), reason="there is no C++ compiler")
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not can_build(), reason="there is no C++ compiler")
def test_what_torch_builds_drops_its_share_and_keeps_the_mean() -> None:
    """The same activations forward and backward, other ones the next time."""
    torch.manual_seed(1)
    torch._dynamo.reset()
    network = Dropout(0.3)
    with compiled(network):
        x = torch.ones(64, 1000, requires_grad=True)
        first, second = network.compiled(x), network.compiled(x)
        first.sum().backward()
    np.testing.assert_allclose(first.detach().unique(), [0, 1 / 0.7], rtol=1e-6)
    for y in (first, second):
        assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 64_000) ** 0.5)
    assert float(((first == 0) & (second == 0)).float().mean()) == pytest.approx(
        0.09, abs=4 * (0.09 * 0.91 / 64_000) ** 0.5
    )
    beside = ((first[:, 1:] == 0) & (first[:, :-1] == 0)).float().mean()
    assert float(beside) == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / 63_936) ** 0.5)
    np.testing.assert_array_equal(x.grad, first.detach())


def test_the_schedule_begins_when_all_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a warm-up of a twentieth of the time would be over with the first steps. The time still counts."""
    clock = Clock(Budget(seconds=100), 1000, seconds=30, building=20)
    assert clock.fraction() == 0.125  # 10 of 80 seconds
    rates, slow = [], [0.3, 0.3]

    def compile_slowly(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *rows: time.sleep(slow.pop() if slow else 0) or forward(*rows)

    def spied(optimizer: Any, rate: float, clip: float) -> Any:
        rates.append(rate)
        return update(optimizer, rate, clip)

    monkeypatch.setattr(torch, "compile", compile_slowly)
    monkeypatch.setattr("lmbench.training.loop.update", spied)
    report = create(f"{GPT}:compile=yes:warmup=0.5:learning_rate=1e-3").fit(TOKENS, TOKENS, Budget(seconds=1.6))
    assert rates[2] < 0.5e-3 < max(rates)
    assert 1.4 < report.train_seconds < 2.5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not can_build(), reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("family", "times"), [("gpt:heads=2", 2), ("mingru", 1), ("cnn", 1), ("ffnn:order=3:hidden=8", 1)]
)
def test_a_network_is_built_once_and_so_is_the_next(family: str, times: int) -> None:
    """Not again when a state comes, nor for the shorter step that ends a pass; and torch counts how often the same
    lines were built, whatever network has them."""
    import torch._dynamo

    spec = f"{family}:width=8:layers=1:batch_size=2:sequence_length=5:device=cpu:precision=float32:dropout=0"
    with torch._dynamo.config.patch(recompile_limit=1, fail_on_recompile_limit_hit=True):
        for _ in range(times):
            create(f"{spec}:compile=yes").fit(UNEVEN, TOKENS, Budget(steps=45))


class Interrupt(Silent):
    """As SIGINT would, at the second report of a loss."""

    reports = 0

    def update(self, fraction: float, **figures: float) -> None:
        self.reports += 1
        if self.reports == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not can_build(), reason="there is no C++ compiler")
def test_an_interrupted_training_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    """What is dropped too: it hangs on the generator, whose state is kept."""
    torch._dynamo.reset()
    whole, cut, rest = (create(f"{GPT}:compile=yes:dropout=0.3") for _ in range(3))
    whole.fit(TOKENS, TOKENS, Budget(steps=70))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(TOKENS, TOKENS, Budget(steps=70), Interrupt(), Checkpoints(tmp_path))
    torch.manual_seed(99)
    rest.fit(TOKENS, TOKENS, Budget(steps=70), None, Checkpoints(tmp_path))
    for one, other in zip(rest.network.parameters(), whole.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["gpt:heads=2", "mingru", "mamba", "cnn", "ffnn"])
def test_torch_builds_a_network_in_one_piece(family: str) -> None:
    """Each break costs a step at its edges, and what could be computed in one pass over memory."""
    torch._dynamo.reset()
    model = create(f"{family}:width=8:layers=1:batch_size=2:sequence_length=5:device=cpu:dropout=0.5")
    model.config = model.sized(TOKENS, Budget(steps=1))
    network = model.build(TOKENS.vocabulary_size).train()
    model._place(network)
    found = torch._dynamo.explain(network.forward)(torch.ones(2, 5, dtype=torch.int64))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.parametrize(
    ("spec", "budget", "built"),
    [
        ("gpt:precision=bfloat16", "300s", True),
        ("gpt:precision=bfloat16", "299s", False),
        ("gpt:precision=bfloat16", "9epochs", False),
        ("gpt:precision=float32", "300s", False),
        ("gpt:precision=bfloat16:checkpointing=yes", "300s", False),
        ("gpt:precision=bfloat16:compile=no", "300s", False),
        ("gpt:precision=float32:compile=yes", "1s", True),
        ("lstm:precision=bfloat16", "300s", False),
        ("mingru:precision=bfloat16", "1h", True),
    ],
)
def test_long_trainings_are_built_where_it_pays(
    spec: str, budget: str, built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    sized = create(f"{spec}:device=cpu").sized(TOKENS, Budget.of(budget))
    assert sized.compile is built
    monkeypatch.setattr(shutil, "which", lambda name: None)
    left_open = "compile" not in spec
    assert create(f"{spec}:device=cpu").sized(TOKENS, Budget.of(budget)).compile is (built and not left_open)


def test_what_is_built_reads_the_text_more_often_and_drops_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPT drops from five passes on; 4.5 are 5.6 where it is built. A budget in epochs tells them itself."""
    monkeypatch.setattr("lmbench.models.sizing.training_rate", lambda device: 1e4)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    model = create("gpt:width=8")
    widths = set()
    seconds = 4.5 * 6 * (model.work(8) + 8 * TOKENS.vocabulary_size) * TOKENS.events / 1e4
    for compile, expected in (("no", 0.0), ("yes", 0.1)):
        spec = f"gpt:precision=bfloat16:device=cpu:compile={compile}"
        assert create(f"{spec}:width=8").sized(TOKENS, Budget(seconds=seconds)).dropout == expected
        assert create(f"{spec}:width=8").sized(TOKENS, Budget(epochs=4)).dropout == 0.0
        widths.add(create(spec).sized(TOKENS, Budget(seconds=350)).width)
    assert len(widths) == 1


def test_without_a_compiler_the_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler.* leave compile=yes out"):
        create(GPT + ":compile=yes").fit(TOKENS, TOKENS, Budget(steps=1))


def broken(forward: Callable[..., Any]) -> Callable[..., Any]:
    """In the place of torch.compile."""
    from torch._dynamo.exc import TorchDynamoException

    def fail(*_: object) -> None:
        raise TorchDynamoException("this cannot be\nand here is why, at length")

    return fail


def test_a_network_that_cannot_be_built_is_trained_as_it_is_unless_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Told(Silent):
        notes: ClassVar[list[str]] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    monkeypatch.setattr(torch, "compile", broken)
    model, plain = create(GPT), create(GPT)
    monkeypatch.setattr("lmbench.models.neural.worth_building", lambda *_: True)
    model.fit(TOKENS, TOKENS, Budget(steps=3), Told())
    assert Told.notes == ["torch.compile could not build this network: this cannot be. Training goes on without."]
    assert model.config.compile is False, "another seed need not try again"
    monkeypatch.undo()
    plain.fit(TOKENS, TOKENS, Budget(steps=3))
    for one, other in zip(model.network.parameters(), plain.network.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), other.detach())


@pytest.mark.filterwarnings("ignore")
def test_a_backward_half_that_cannot_be_built_is_no_end_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch builds it when it first runs, long after the forward pass has come back."""
    from torch._dynamo.exc import TorchDynamoException

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> None:
            raise TorchDynamoException("no backward half")

    def half_built(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            hidden, state = forward(*inputs)
            return Half.apply(hidden), state

        return run

    monkeypatch.setattr(torch, "compile", half_built)
    monkeypatch.setattr("lmbench.models.neural.worth_building", lambda *_: True)
    model = create(GPT)
    assert model.fit(TOKENS, TOKENS, Budget(steps=3)).steps == 3
    assert model.config.compile is False


def test_a_network_that_cannot_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TrainingError, match=r"this cannot be\. Train it with compile=no"):
        create(GPT + ":compile=yes").fit(TOKENS, TOKENS, Budget(steps=1))
