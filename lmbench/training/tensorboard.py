"""What trainings report -> event files that TensorBoard draws; everything is passed on to whoever watches."""

from __future__ import annotations

import math
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lmbench.errors import ResultsError, UsageError
from lmbench.training.budget import Progress, Step

TAGS = {
    "loss": "loss/train",
    "valid_loss": "loss/valid",
    "learning_rate": "training/learning_rate",
    "gradient_norm": "training/gradient_norm",
    "tokens_per_second": "training/tokens_per_second",
}
"""Figure of a training -> what it is called in TensorBoard. Losses are nats per event."""


class TensorBoard:
    """A ``Progress`` that draws every figure against the step, in a folder of ``directory`` for each model.

    ``watcher``: where all of it is passed on to. A training that goes on takes the place of what was drawn after that
    step; the second network of a mixture, whose steps begin anew, has a folder of its own. Raises UsageError where the
    package tensorboard is not installed, ResultsError where its files cannot be written; if only the last of a training
    cannot, that is no more than a note.
    """

    def __init__(self, directory: str | Path, watcher: Progress, name: str = "model") -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise UsageError(
                f"Logs for TensorBoard were asked for in {directory}, and the package tensorboard is not installed. "
                "Install it by: pip install tensorboard"
            ) from None
        self.directory, self.watcher = Path(directory), watcher
        self._create = SummaryWriter
        self._writer: Any = None
        self._name, self._part, self._step = name, 1, 0
        self._hook = threading.excepthook

    def __enter__(self) -> Self:
        threading.excepthook = self._failed
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._close()
        finally:
            threading.excepthook = self._hook

    def _failed(self, thread: Any) -> None:
        """What the thread that writes cannot write is raised again by the next figure, or told at the end."""
        if not (isinstance(thread.exc_value, OSError) and type(thread.thread).__module__.startswith("tensorboard.")):
            self._hook(thread)

    def begin(self, name: str) -> None:
        """The model called ``name`` comes next."""
        self._close()
        self._name, self._part, self._step = name, 1, 0
        if hasattr(self.watcher, "begin"):
            self.watcher.begin(name)

    def step(self, name: Step, detail: str) -> None:
        self.watcher.step(name, detail)

    def update(self, fraction: float, **figures: float) -> None:
        values = {TAGS[name]: value for name, value in figures.items() if name in TAGS and math.isfinite(value)}
        if "valid_loss" in figures:
            values["perplexity/valid"] = math.exp(min(700.0, figures["valid_loss"]))
        if values:
            self._write(values, int(figures.get("step", 0)))
        self.watcher.update(fraction, **figures)

    def note(self, text: str) -> None:
        self.watcher.note(text)

    def _write(self, values: dict[str, float], step: int) -> None:
        if step < self._step:
            self._close()
            self._part += 1
        self._step = step
        try:
            if self._writer is None:
                self._writer = self._create(str(self._folder()), purge_step=step)
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)
        except OSError as error:
            self._writer = None
            raise ResultsError(
                f"{self._folder()} could not be written: {error.strerror or error}. Free some space, or name another "
                "folder with --tensorboard."
            ) from None

    def _folder(self) -> Path:
        """Named after the model, as far as a file system takes it."""
        name = re.sub(r"[^\w.,=+-]+", "-", self._name)[:100]
        return self.directory / (name if self._part == 1 else f"{name}-part-{self._part}")

    def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.close()
        except OSError as error:
            with suppress(OSError):  # its thread ends
                writer.file_writer.close()
            self.note(f"The last figures in {self._folder()} could not be written: {error.strerror or error}.")
