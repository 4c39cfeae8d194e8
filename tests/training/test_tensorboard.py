"""Logs for TensorBoard, read back by TensorBoard's own reader."""

from __future__ import annotations

import math
import sys
import threading
from pathlib import Path

import pytest

from lmbench.errors import ResultsError, UsageError
from lmbench.training.budget import Silent
from lmbench.training.tensorboard import TensorBoard


class Watcher(Silent):
    def __init__(self) -> None:
        self.seen: list[object] = []

    def begin(self, name: str) -> None:
        self.seen.append(name)

    def update(self, fraction: float, **figures: float) -> None:
        self.seen.append(fraction)


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> step and value of each point."""
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_every_figure_is_drawn_against_the_step_and_passed_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    watcher = Watcher()
    with TensorBoard(tmp_path, watcher) as logs:
        logs.begin("gpt:width=8")
        logs.update(0.5, step=20, loss=3.0, learning_rate=0.1, gradient_norm=1.5, tokens_per_second=math.nan)
        logs.update(1.0, step=40, loss=2.0, valid_loss=math.log(8), learning_rate=0.0)
        logs.begin("ngram")
        logs.update(1.0)
    assert watcher.seen == ["gpt:width=8", 0.5, 1.0, "ngram", 1.0]
    drawn = scalars(tmp_path / "gpt-width=8")
    assert drawn["loss/train"] == [(20, 3.0), (40, 2.0)]
    assert drawn["perplexity/valid"] == [(40, pytest.approx(8.0))]
    assert drawn["training/gradient_norm"] == [(20, 1.5)]
    assert "training/tokens_per_second" not in drawn  # it was not known yet
    assert not (tmp_path / "ngram").exists()  # nothing was learned step by step


def test_each_network_of_a_mixture_and_a_training_that_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with TensorBoard(tmp_path, Silent(), "both") as logs:
        for step in (20, 40, 60, 20):
            logs.update(0.5, step=step, loss=float(step))
    with TensorBoard(tmp_path, Silent(), "both") as logs:
        logs.update(0.5, step=40, loss=1.0)
    assert scalars(tmp_path / "both")["loss/train"] == [(20, 20.0), (40, 1.0)]
    assert scalars(tmp_path / "both-part-2")["loss/train"] == [(20, 20.0)]


def test_without_the_package_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        TensorBoard(tmp_path, Silent())


def test_what_cannot_be_written_is_told_once(tmp_path: Path, monkeypatch, capfd) -> None:
    """A full disk is found by the thread that writes: by the next figure as an error, at the end as a note."""
    module = pytest.importorskip("tensorboard.summary.writer.record_writer")
    notes: list[str] = []
    before = threading.excepthook

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, TensorBoard(tmp_path, Notes()) as logs:
        logs.update(0.5, step=20, loss=3.0)
        patched.setattr(module.RecordWriter, "flush", full)
    assert [note.partition(tmp_path.name)[2] for note in notes] == [
        "/model could not be written: No space left on device."
    ]
    with TensorBoard(tmp_path, Notes(), "other") as logs, pytest.raises(ResultsError, match="No space left"):  # noqa: PT012
        logs.update(0.5, step=0, loss=3.0)
        monkeypatch.setattr(module.RecordWriter, "write", full)
        for step in range(1000):
            logs.update(0.5, step=step, loss=3.0)
    assert len(notes) == 1
    assert "Traceback" not in capfd.readouterr().err
    assert threading.excepthook is before
