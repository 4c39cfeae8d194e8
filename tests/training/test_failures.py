"""What breaks a training off, as a user meets it: one paragraph, and what was good stays."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import DivergenceError, TrainingError, UsageError
from lmbench.models.network import Network
from lmbench.models.registry import create, load
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.devices import enough_memory

GPT = "gpt:width=8:heads=2:layers=1:batch_size=2:sequence_length=5:device=cpu:dropout=0:learning_rate=0.01"


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, Tokens]:
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(60)]
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:50]), tokenizer.encode(units[50:])


def break_after(monkeypatch: pytest.MonkeyPatch, steps: int, breaks: str) -> SimpleNamespace:
    """From the step after so many, the loss, or only its gradient, is no number; until ``mended``."""
    state, loss = SimpleNamespace(done=0, mended=False), Network.loss

    def broken(network: Network, rows: torch.Tensor, state_before: object = None) -> tuple[torch.Tensor, object]:
        value, after = loss(network, rows, state_before)
        state.done += torch.is_grad_enabled()
        if state.done > steps and not state.mended and torch.is_grad_enabled():
            value = value * torch.nan if breaks == "loss" else value + 0 * (value * 0).sqrt()  # 0 * infinity
        return value, after

    monkeypatch.setattr(Network, "loss", broken)
    return state


@pytest.mark.parametrize(("breaks", "steps"), [("loss", 50), ("gradient", 59)])
def test_after_a_divergence_the_best_weights_are_kept_and_taken_up(tokens, tmp_path, monkeypatch, breaks, steps):
    broken = break_after(monkeypatch, steps, breaks)
    model = create(GPT)
    with pytest.raises(DivergenceError, match=f"{breaks} became .*learning_rate .it is 0.01.* best") as raised:
        model.fit(*tokens, Budget(steps=120), None, Checkpoints(tmp_path))
    assert str(tmp_path / "best") in str(raised.value)
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(load(tmp_path / "best").log_probs(batch), model.log_probs(batch))
    broken.mended = True
    again = create(GPT.replace("rate=0.01", "rate=0.005"))
    report = again.fit(*tokens, Budget(steps=120), None, Checkpoints(tmp_path))
    assert report.steps == 120
    # Whenever it is noticed, the best weights are those of the validation at step 50: there it goes on.
    assert report.notes == ("taken up at step 50 with other settings: learning_rate 0.01, now 0.005",)
    # 12 validations of 120 steps; those at 10 to 50 were made before
    assert [point.step for point in report.curve][:5] == [10, 20, 30, 40, 50]
    assert report.valid_loss < report.curve[4].valid_loss


def test_a_divergence_before_any_validation_leaves_nothing(tokens, tmp_path, monkeypatch):
    break_after(monkeypatch, 0, "loss")
    with pytest.raises(DivergenceError, match="Nothing was kept"):
        create(GPT).fit(*tokens, Budget(steps=1200), None, Checkpoints(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_divergence_before_any_validation_leaves_the_last_sound_state(tokens, tmp_path, monkeypatch):
    """The clock is 0.3 s later at each reading, one a step: a state is kept at step 4, after its first second."""
    now = iter(range(10**6))
    monkeypatch.setattr("lmbench.training.loop.time", SimpleNamespace(perf_counter=lambda: 0.3 * next(now)))
    broken = break_after(monkeypatch, 50, "loss")
    with pytest.raises(DivergenceError, match="A state before it is kept"):
        create(GPT).fit(*tokens, Budget(steps=1200), None, Checkpoints(tmp_path))
    broken.mended = True
    report = create(GPT.replace("rate=0.01", "rate=0.005")).fit(
        *tokens, Budget(steps=1200), None, Checkpoints(tmp_path)
    )
    assert report.notes == ("taken up at step 4 with other settings: learning_rate 0.01, now 0.005",)


def test_what_is_finished_leaves_nothing_of_a_divergence(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.best.mkdir()
    checkpoints.save({}, {})
    checkpoints.clear()
    assert not list(tmp_path.iterdir())


class TooLarge(Silent):
    """An update for which there is no memory, as torch tells it on a CPU."""

    def update(self, fraction: float, **figures: float) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: ..."
        )


def test_a_full_memory_names_the_settings_that_save_some(tokens):
    with pytest.raises(TrainingError, match="batch_size=2 and sequence_length=5") as raised:
        create(GPT).fit(*tokens, Budget(steps=20), TooLarge())
    assert all(words in str(raised.value) for words in ("accumulation=1", "checkpointing=yes"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("MPS backend out of memory (MPS allocated: 17 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_every_form_of_a_full_memory_is_told(error):
    with (
        pytest.raises(TrainingError, match=r"Memory ran out here\. Ask for less\."),
        enough_memory("here. Ask for less."),
    ):
        raise error


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), enough_memory("here. Ask for less."):
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        # 50 sentences of 7 events are 350
        ("gpt:width=8:batch_size=400:device=cpu", "needs 400 events, and the training text has 350"),
        ("gpt:width=8:batch_size=2:sequence_length=200:device=cpu", "needs 400 events"),
        ("lstm:hidden=8:sequence_length=351:device=cpu", "needs 351 events"),
        ("gpt:heads=7:device=cpu", "does not divide into 7 heads"),  # the width is chosen when the text is known
        ("lstm:hidden=8:checkpointing=yes:device=cpu", "blocks"),
    ],
)
def test_what_does_not_suit_the_text_is_refused_before_training(tokens, spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec).fit(*tokens, Budget(steps=1))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("gpt:validations=0", "validations must be at least 1"),
        ("lstm:patience=0", "patience must be at least 1"),
        ("lstm:learning_rate=nan", "learning_rate must be above 0, not nan"),
        ("lstm:clip=inf", "clip must be at least 0"),
        ("lstm:device=cuda:99", "cuda"),
        ("gpt:precision=float16", "precision=bfloat16"),
        ("gpt:checkpointing=perhaps", "true or false"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="Use device=cpu or device=auto"):
        create("lstm:device=cuda")
