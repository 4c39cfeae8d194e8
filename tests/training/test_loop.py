"""The gradient loop: budgets, early stop, the best weights, interruption and restart."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, TrainingError, UsageError
from lmbench.models.recurrent import RecurrentNetwork
from lmbench.models.registry import create
from lmbench.scoring.scorer import token_log_probs
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.interruption import deferred_interrupt
from lmbench.training.validation import Validation

LSTM = "lstm:hidden=8:batch_size=2:sequence_length=5:device=cpu:dropout=0.3:learning_rate=1"
GPT = "gpt:width=8:heads=2:layers=1:batch_size=2:sequence_length=5:device=cpu:dropout=0.3"
ADAM = LSTM.replace("learning_rate=1", "learning_rate=0.01:optimizer=adamw")


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, Tokens]:
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(60)]
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:50]), tokenizer.encode(units[50:])


def test_a_stepwise_rate_falls_at_epochs(tokens, monkeypatch):
    """350 events in 2 rows, 5 a step: 35 steps an epoch. Two epochs at the full rate, then a fall at each."""
    falls = []

    def factor(schedule, warmup, fraction, fallen, divisor):
        falls.append(fallen)
        return divisor**-fallen

    monkeypatch.setattr("lmbench.training.loop.learning_rate_factor", factor)
    create(LSTM + ":schedule=stepwise:hold=2:divisor=1.5").fit(*tokens, Budget(steps=120))
    assert falls == [0] * 70 + [1] * 35 + [2] * 15


class Interrupt(Silent):
    """Sends the process a signal when a given step is shown."""

    def __init__(self, at: int, number: int = signal.SIGINT) -> None:
        self.at, self.number = at, number

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] >= self.at:
            self.at = 10**9
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        (LSTM, signal.SIGINT),
        (GPT, signal.SIGTERM),
        (ADAM, signal.SIGINT),
        (ADAM + ":average_decay=0.9:label_smoothing=0.1:schedule=warmup-stable-decay", signal.SIGTERM),
        (LSTM + ":accumulation=2:schedule=halving", signal.SIGINT),
        (LSTM + ":schedule=stepwise:hold=1:divisor=1.5:varied=yes", signal.SIGINT),
        (GPT + ":accumulation=2:optimizer=muon:schedule=cosine", signal.SIGINT),
        (LSTM.replace("learning_rate=1", "learning_rate=10:optimizer=asgd:schedule=constant"), signal.SIGTERM),
        (
            LSTM.replace("learning_rate=1", "learning_rate=10:optimizer=asgd:average_growth=3:schedule=constant"),
            signal.SIGTERM,
        ),
        (ADAM + ":softmax=adaptive", signal.SIGINT),
        (ADAM + ":reset=0.3", signal.SIGINT),
        ("ffnn:order=4:width=8:batch_size=2:sequence_length=5:device=cpu:dropout=0.3", signal.SIGINT),
        ("cnn:width=8:layers=2:batch_size=2:sequence_length=5:device=cpu:dropout=0.3", signal.SIGINT),
    ],
)
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


def cut_off_in_validation(monkeypatch, number, signal_number, spec, tokens, steps, folder):
    """A training that gets a signal while it makes its validation of that number, which is its last thing."""
    validate, calls = Validation.loss, []

    def interrupted(self):
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal_number)
        return validate(self)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patched.setattr(Validation, "loss", interrupted)
        create(spec).fit(*tokens, Budget(steps=steps), None, Checkpoints(folder))
    assert len(calls) == number


@pytest.mark.parametrize("last", [1, 4])
def test_an_interrupt_during_a_validation_is_heeded(tokens, tmp_path, monkeypatch, last):
    """Also during the last, after which there is no step that would look."""
    spec = f"{ADAM}:validations=4"
    cut_off_in_validation(monkeypatch, last, signal.SIGTERM, spec, tokens, 24, tmp_path)
    rest, whole = create(spec), create(spec)
    again = rest.fit(*tokens, Budget(steps=24), None, Checkpoints(tmp_path))
    report = whole.fit(*tokens, Budget(steps=24))
    assert (again.steps, len(again.curve)) == (report.steps, len(report.curve)) == (24, 4)
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))


def test_an_interrupt_after_the_last_look_is_not_lost_and_ignored_signals_stay_so():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        raise TrainingError("what goes wrong after it")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt() as event:
            signal.raise_signal(signal.SIGINT)
        assert not event.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_state_kept_at_an_early_stop_is_not_trained_on(tokens, tmp_path, monkeypatch):
    spec = LSTM.replace("learning_rate=1", "learning_rate=60:optimizer=sgd:validations=90:patience=1")
    whole = create(spec)
    report = whole.fit(*tokens, Budget(steps=90))
    assert report.stopped == "early-stop"
    cut_off_in_validation(monkeypatch, len(report.curve), signal.SIGINT, spec, tokens, 90, tmp_path)
    rest = create(spec)
    again = rest.fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    assert (again.stopped, again.steps, again.tokens) == (report.stopped, report.steps, report.tokens)
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))


def test_what_a_killed_process_left_half_written_is_removed(tokens, tmp_path):
    (tmp_path / ".checkpoint.safetensors.0.999.part").write_bytes(b"half")
    model = create(LSTM)
    model.fit(*tokens, Budget(steps=2), None, Checkpoints(tmp_path))
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")]
    model.save(tmp_path)
    mask = os.umask(0o022)
    os.umask(mask)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask  # a colleague may read it


def test_a_training_keeps_its_size_on_a_machine_that_is_measured_to_be_faster(tokens, tmp_path, monkeypatch):
    """0.35 x 1.1 sqrt(0.31 x 2^30 x 60) = 54,400 multiply-adds an event: 8 x 64^2 fits, 8 x 96^2 does not."""
    spec, budget = "lstm:batch_size=2:sequence_length=5:device=cpu", Budget(seconds=60)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for rate, steps in ((1e9, 20), (1e13, 40)):
        monkeypatch.setattr("lmbench.models.sizing.product_rate", lambda *_, rate=rate: rate)
        model = create(spec)
        with pytest.raises(KeyboardInterrupt):
            model.fit(*tokens, budget, Interrupt(steps), Checkpoints(tmp_path))
        assert model.config.hidden == 64
    assert create(spec).sized(tokens[0], budget).hidden == 640


def test_other_settings_than_the_kept_ones_are_refused(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(LSTM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    with pytest.raises(UsageError, match=r"differs in its weight_decay \(0.0, now 0.5\)"):
        create(LSTM + ":weight_decay=0.5").fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))


def test_a_training_of_a_version_with_fewer_settings_goes_on(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(LSTM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    tensors, state = Checkpoints(tmp_path).load()
    del state["settings"]["plan"]["weight_decay"]
    Checkpoints(tmp_path).save(tensors, state)
    with pytest.raises(UsageError, match=r"differs in its weight_decay \(0.0, now 0.5\)"):
        create(LSTM + ":weight_decay=0.5").fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    assert create(LSTM).fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path)).steps == 90


def test_other_text_or_another_network_than_the_kept_one_is_refused(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(LSTM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="differs in its text"):
        create(LSTM).fit(tokens[1], tokens[1], Budget(steps=90), None, Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="differs in its shapes"):
        create(LSTM.replace("hidden=8", "hidden=12")).fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    with pytest.raises(UsageError, match="differs in its budget"):
        create(LSTM).fit(*tokens, Budget(steps=80), None, Checkpoints(tmp_path))


def test_an_optimiser_does_not_meet_weights_in_another_order(tokens, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        create(ADAM).fit(*tokens, Budget(steps=90), Interrupt(20), Checkpoints(tmp_path))
    tensors, state = Checkpoints(tmp_path).load()
    state["settings"]["shapes"] = dict(reversed(state["settings"]["shapes"].items()))
    Checkpoints(tmp_path).save(tensors, state)
    with pytest.raises(UsageError, match="differs in its order of weights"):
        create(ADAM).fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))


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


class Ticking:
    """A clock that is a hundredth of a second later whenever it is read, on a busy machine as on a quiet one."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 0.01
        return self.now


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant", "halving", "warmup-stable-decay", "stepwise"])
def test_a_budget_in_seconds_ends_in_time(tokens, monkeypatch, schedule):
    monkeypatch.setattr("lmbench.training.loop.time", Ticking())
    report = create(f"{LSTM}:schedule={schedule}").fit(*tokens, Budget(seconds=0.5))
    # The last validation, which reads the clock at its begin, its end and after it, has to end within the budget too.
    assert report.train_seconds == pytest.approx(0.5, abs=0.03)
    assert 10 <= report.steps < 50  # at least one reading a step
    assert report.curve[-1].seconds <= report.train_seconds


def test_overfitting_stops_early_and_keeps_the_best_weights(tokens):
    model = create(
        "lstm:hidden=64:batch_size=2:sequence_length=5:device=cpu:dropout=0:optimizer=adamw:learning_rate=0.03:schedule=constant"
    )
    report = model.fit(*tokens, Budget(epochs=150))
    assert report.stopped == "early-stop"
    assert report.epochs < 149
    assert report.valid_loss == min(point.valid_loss for point in report.curve)


@pytest.mark.parametrize(
    ("spec", "train_loss"), [(LSTM, 1.983102), (GPT + ":optimizer=adamw", 2.487579), (ADAM, 1.995666)]
)
def test_the_defaults_train_as_version_0_1_did(tokens, spec, train_loss):
    """Mean loss of the last of 60 steps, as measured before there were averages, smoothing and accumulation."""
    report = create(spec + ":precision=float32").fit(*tokens, Budget(steps=60))
    assert report.curve[-1].train_loss == pytest.approx(train_loss, rel=1e-4)


def test_by_default_nothing_of_it_is_on(tokens):
    """Every option at its default gives the very weights that leaving it out gives."""
    options = ":average_decay=0:label_smoothing=0:accumulation=1:schedule=linear"
    batch = Batch.of(tokens[1].rows())
    for spec in (LSTM, GPT):
        models = [create(spec), create(spec + options)]
        for model in models:
            model.fit(*tokens, Budget(steps=20))
        np.testing.assert_array_equal(models[0].log_probs(batch), models[1].log_probs(batch))


@pytest.mark.parametrize("spec", [LSTM, GPT])
def test_rows_read_in_parts_give_the_same_update(tokens, spec):
    spec = spec.replace("dropout=0.3", "dropout=0:precision=float32:batch_size=4").replace(":batch_size=2", "", 1)
    batch = Batch.of(tokens[1].rows())
    values = []
    for parts in (1, 2, 3):
        model = create(f"{spec}:accumulation={parts}")
        model.fit(*tokens, Budget(steps=15))
        values.append(model.log_probs(batch))
    np.testing.assert_allclose(values[1], values[0], atol=1e-3)
    np.testing.assert_allclose(values[2], values[0], atol=1e-3)


@pytest.mark.parametrize("spec", [LSTM, GPT])
@pytest.mark.parametrize(("before", "after"), [(1, 4), (3, 2)])  # 4 rows in 3 parts are 2 and 2: the third has none
def test_a_training_goes_on_in_other_parts(tokens, tmp_path, spec, before, after):
    """What a user turns when the memory ran out: the same rows in more parts, each with the state of its rows."""
    spec = spec.replace("dropout=0.3", "dropout=0:precision=float32:batch_size=4").replace(":batch_size=2", "", 1)
    whole = create(f"{spec}:validations=12")
    whole.fit(*tokens, Budget(steps=12))
    cut = create(f"{spec}:accumulation={before}:validations=12")
    with pytest.raises(KeyboardInterrupt):
        cut.fit(*tokens, Budget(steps=12), Interrupt(5), Checkpoints(tmp_path))
    rest = create(f"{spec}:accumulation={after}:validations=12")
    report = rest.fit(*tokens, Budget(steps=12), None, Checkpoints(tmp_path))
    assert report.notes == (f"taken up at step 6 with other settings: accumulation {before}, now {after}",)
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_allclose(rest.log_probs(batch), whole.log_probs(batch), atol=1e-3)


def test_what_has_no_state_cannot_begin_it_anew(tokens):
    with pytest.raises(UsageError, match=r"reset=0.1 .* gpt carries none"):
        create(GPT + ":reset=0.1").fit(*tokens, Budget(steps=2))


@pytest.mark.parametrize(("reset", "begun"), [(0.0, 0), (0.999999, 4)])
def test_rows_begin_anew(tokens, monkeypatch, reset, begun):
    """The states that the network is given: of 4 rows so many are 0 after the first step of an epoch."""
    spec = f"{LSTM}:layers=2:reset={reset}".replace("batch_size=2", "batch_size=4")
    states, loss = [], RecurrentNetwork.loss

    def watched(self, rows, state=None):
        states.append(state if torch.is_grad_enabled() else None)
        return loss(self, rows, state)

    monkeypatch.setattr(RecurrentNetwork, "loss", watched)
    create(spec).fit(*tokens, Budget(steps=3))
    given = [torch.cat(state, -1) if isinstance(state, tuple) else state for state in states if state is not None][:2]
    assert [int((state == 0).all(1).sum()) for state in given] == [begun, begun]


def test_averaged_sgd_begins_where_validation_stalls_and_says_so(tokens):
    class Notes(Silent):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    spec = LSTM.replace("learning_rate=1", "learning_rate=10:optimizer=asgd:schedule=constant")
    losses = []
    for optimizer in ("asgd", "sgd"):
        notes = Notes()
        report = create(spec.replace("asgd", optimizer)).fit(*tokens, Budget(steps=200), notes)
        assert any("averaged from step" in note for note in notes.notes) == (optimizer == "asgd")
        losses.append(report.curve[-1].valid_loss)
    assert losses[0] < losses[1]


def test_a_moving_average_is_what_is_validated_and_kept(tokens):
    spec = ADAM.replace("learning_rate=0.01", "learning_rate=0.1") + ":schedule=constant"
    reports = [create(spec + more).fit(*tokens, Budget(steps=60)) for more in ("", ":average_decay=0.9")]
    assert reports[0].curve[0].train_loss == reports[1].curve[0].train_loss  # the raw weights go the same way
    assert reports[1].valid_loss < reports[0].valid_loss


def test_validation_of_windows_agrees_with_the_scorer(tokens):
    model = create("gpt:width=16:heads=2:layers=1:batch_size=4:sequence_length=10:device=cpu")
    valid = tokens[1]
    report = model.fit(tokens[0], valid, Budget(steps=60))
    nats = -token_log_probs(model, valid, "stream")
    # 10 sentences of 7 events: a window of 10, then 12 that bring 5 new events each, are all 70
    assert report.valid_loss == pytest.approx(nats.mean(), rel=1e-4)


def test_divergence_names_the_setting_to_change(tokens):
    with pytest.raises(TrainingError, match="learning_rate"):
        create(LSTM.replace("rate=1", "rate=3e38") + ":clip=0").fit(*tokens, Budget(steps=200))


@pytest.mark.parametrize("spec", [GPT, "ffnn:width=8", "cnn:width=8:layers=2", "mingru:width=8", "mamba:width=8"])
@pytest.mark.parametrize("optimizer", ["sgd", "asgd"])
def test_a_rate_that_nobody_knows_is_asked_for(tokens, spec, optimizer):
    spec = spec if spec == GPT else f"{spec}:batch_size=2:sequence_length=5:device=cpu"
    with pytest.raises(UsageError, match=f"{optimizer}, whose usual rates are far above .*Name one"):
        create(f"{spec}:optimizer={optimizer}").fit(*tokens, Budget(steps=2))
    create(f"{spec}:optimizer={optimizer}:learning_rate=0.1").fit(*tokens, Budget(steps=2))


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5m", 300), ("1h", 3600), ("1.5", 1.5)])
def test_budgets_in_seconds(text, seconds):
    assert Budget.parse(text) == Budget(seconds=seconds)


@pytest.mark.parametrize("text", ["0", "0s", "-3s", "0epochs", "0steps", "soon", "", "5 parsecs", "0.5steps"])
def test_impossible_budgets_are_refused(text):
    with pytest.raises(UsageError):
        Budget.parse(text)


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
        ("gpt:batch_size=2:accumulation=3", "accumulation"),
        ("gpt:accumulation=0", "accumulation"),
        ("lstm:average_decay=1", "average_decay"),
        ("lstm:optimizer=asgd:average_decay=0.9", "average_decay"),
        ("lstm:optimizer=sgd:average_growth=3", "optimizer=asgd"),
        ("lstm:label_smoothing=1", "label_smoothing"),
        ("lstm:schedule=cosin", "cosine"),
        ("lstm:hold=3", "Add schedule=stepwise"),
        ("lstm:divisor=1.2:schedule=cosine", "stepwise or halving"),
        ("gpt:sliding_window=65:sequence_length=64", "beyond the window"),
        ("source", "not trained"),
        ("lsmt", "lstm"),
    ],
)
def test_impossible_settings_name_what_to_change(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)
