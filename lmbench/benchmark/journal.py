"""What a run reports -> ``log.txt``, and on to whoever watches.

The log tells each model in the five steps of its life: structure, data, forward, backward, predict.
"""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Protocol

from lmbench.errors import ResultsError
from lmbench.training.budget import Progress, Silent, Step
from lmbench.training.distributed import processes


class RunProgress(Progress, Protocol):
    """Where a run reports: the Progress of each fit, and which model it is that the rest is about."""

    def begin(self, name: str) -> None:
        """The model called ``name`` comes next."""


class Quiet(Silent):
    """A RunProgress that says nothing."""

    def begin(self, name: str) -> None:
        pass


class Journal:
    """A RunProgress that appends to ``path`` and passes everything on to ``watcher``.

    Raises ResultsError where the log cannot be written.
    """

    def __init__(self, path: Path, watcher: RunProgress | None = None) -> None:
        self.path, self.watcher = path, watcher or Quiet()
        self.model = "run"
        self.steps: list[Step] = []
        """The steps that the model named so far."""

    def begin(self, name: str) -> None:
        self.model, self.steps = name, []
        self.watcher.begin(name)

    def step(self, name: Step, detail: str) -> None:
        self.steps.append(name)
        self._write(f"{name:<9}  {detail}")
        self.watcher.step(name, detail)

    def update(self, fraction: float, **figures: float) -> None:
        if "valid_loss" in figures:  # the others come many times a second
            written = "  ".join(f"{key} {value:,.5g}" for key, value in figures.items())
            self._write(f"{fraction:>8.1%}   {written}")
        self.watcher.update(fraction, **figures)

    def note(self, text: str) -> None:
        self._write(text)
        self.watcher.note(text)

    def failure(self, error: BaseException) -> None:
        """Keep the traceback of ``error``; watchers are told the reason elsewhere."""
        self._write("".join(traceback.format_exception(error)).rstrip())

    def _write(self, text: str) -> None:
        if not processes().leads:
            return
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {self.model}  {text}\n"
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise ResultsError(
                f"{self.path} could not be written: {error.strerror or error}. Free some space and go on with "
                "--resume; what was written before is intact."
            ) from None
