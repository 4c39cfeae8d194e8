"""The gradient loop: budgets, early stop, the best weights, interruption and restart."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, TrainingError, UsageError
from lmbench.models.registry import create
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.optimizers import learning_rate_factor

LSTM = "lstm:hidden=8:batch_size=2:sequence_length=5:device=cpu:dropout=0.3:learning_rate=1"
GPT = "gpt:width=8:heads=2:layers=1:batch_size=2:sequence_length=5:device=cpu:dropout=0.3"
ADAM = LSTM.replace("learning_rate=1", "learning_rate=0.01:optimizer=adamw")


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, Tokens]:
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(60)]
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:50]), tokenizer.encode(units[50:])


class Interrupt(Silent):
    """Sends the process a signal when a given step is shown."""

    def __init__(self, at: int, number: int = signal.SIGINT) -> None:
        self.at, self.number = at, number

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] >= self.at:
            self.at = 10**9
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("spec", [LSTM, GPT, ADAM])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on_to_the_same_numbers(tokens, tmp_path, spec, number):
    whole = create(spec)
    report = whole.fit(*tokens, Budget(steps=90))
    cut = create(spec)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(*tokens, Budget(steps=90), Interrupt(40, number), Checkpoints(tmp_path))
    rest = create(spec)
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    again = rest.fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    assert again.steps == report.steps == 90
    assert [point.valid_loss for point in again.curve] == [point.valid_loss for point in report.curve]
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))


def test_other_settings_than_the_kept_ones_are_refused(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(LSTM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="another plan"):
        create(LSTM + ":clip=1").fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))


def test_other_text_or_another_network_than_the_kept_one_is_refused(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(LSTM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="another text"):
        create(LSTM).fit(tokens[1], tokens[1], Budget(steps=90), None, Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="another shapes"):
        create(LSTM.replace("hidden=8", "hidden=12")).fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="another budget"):
        create(LSTM).fit(*tokens, Budget(steps=80), None, Checkpoints(tmp_path))


def test_a_damaged_checkpoint_is_named(tmp_path):
    Checkpoints(tmp_path).path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="damaged"):
        Checkpoints(tmp_path).load()


def test_a_budget_in_epochs_reads_the_text_so_often(tokens):
    report = create(LSTM).fit(*tokens, "3epochs")  # a budget may be given as text
    # 50 sentences of 7 events make 350, in 2 rows of 175: 35 steps of 5 an epoch.
    assert report.steps == 105
    assert report.tokens == 3 * 350
    assert report.epochs == pytest.approx(3)
    assert report.stopped == "budget"


def test_a_budget_in_seconds_ends_in_time(tokens):
    report = create(LSTM).fit(*tokens, Budget(seconds=0.5))
    assert 0.3 < report.train_seconds < 3
    assert report.curve[-1].seconds <= report.train_seconds


def test_overfitting_stops_early_and_keeps_the_best_weights(tokens):
    model = create(
        "lstm:hidden=64:batch_size=2:sequence_length=5:device=cpu:dropout=0:optimizer=adamw:learning_rate=0.03:schedule=constant"
    )
    report = model.fit(*tokens, Budget(epochs=150))
    assert report.stopped == "early-stop"
    assert report.epochs < 149
    assert report.valid_loss == min(point.valid_loss for point in report.curve)


def test_divergence_names_the_setting_to_change(tokens):
    with pytest.raises(TrainingError, match="learning_rate"):
        create(LSTM.replace("rate=1", "rate=3e38") + ":clip=0").fit(*tokens, Budget(steps=200))


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5m", 300), ("1h", 3600), ("1.5", 1.5)])
def test_budgets_in_seconds(text, seconds):
    assert Budget.parse(text) == Budget(seconds=seconds)


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "0epochs", "0steps", "soon", "", "5 parsecs", "0.5steps"])
def test_impossible_budgets_are_refused(text):
    with pytest.raises(UsageError):
        Budget.parse(text)


def test_schedules_rise_and_end_where_they_should():
    assert learning_rate_factor("linear", 0.0, 0.0) == 1
    assert learning_rate_factor("linear", 0.0, 0.25) == 0.75
    assert learning_rate_factor("linear", 0.1, 0.05) == pytest.approx(0.5)
    assert learning_rate_factor("cosine", 0.0, 0.5) == pytest.approx(0.5)
    assert learning_rate_factor("constant", 0.0, 1.0) == 1
    for schedule in ("linear", "cosine"):
        assert math.isclose(learning_rate_factor(schedule, 0.1, 1.0), 0, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lstm:hiden=3", "hidden"),
        ("lstm:hidden=many", "whole number"),
        ("lstm:dropout=1.5", "dropout"),
        ("lstm:optimizer=adma", "adamw"),
        ("lstm:device=tpu", "device"),
        ("gpt:width=10:heads=3", "heads"),
        ("gpt:layers=0", "layers"),
        ("source", "not trained"),
        ("lsmt", "lstm"),
    ],
)
def test_impossible_settings_name_what_to_change(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)
