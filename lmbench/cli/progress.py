"""What a training reports -> a bar on a terminal, short lines anywhere else; always on standard error."""

from __future__ import annotations

import math
import shlex
import sys
import time
from types import TracebackType
from typing import Any, Self

import click

QUIET_SECONDS = 10.0
"""Between two lines of figures where there is no terminal to draw on."""


class Display:
    """The ``Progress`` of one model after another.

    On a terminal one bar shows step, loss, tokens per second and the time left; the five steps and notes are
    printed above it. Anywhere else each of them is a line, and figures follow every ten seconds. ``name`` is
    what the lines begin with.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._bar: Any = None
        self._task: Any = None
        self._spoke = time.monotonic()
        self._figures: dict[str, float] = {}

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str) -> None:
        """The model called ``name`` comes next."""
        self.name = name
        self._figures = {}
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def step(self, name: str, detail: str) -> None:
        self._say(f"{self.name}  {name:<9}  {detail}")

    def update(self, fraction: float, **figures: float) -> None:
        self._figures |= figures  # the last validation stays in view
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task(self.name, total=1.0, figures="")
            self._bar.update(self._task, completed=fraction, description=self.name, figures=written(self._figures))
        elif time.monotonic() - self._spoke >= QUIET_SECONDS:
            self._say(f"{self.name}  {fraction:>9.0%}  {written(self._figures)}")

    def note(self, text: str) -> None:
        self._say(f"{self.name}  {text}" if self.name else text)

    def _say(self, line: str) -> None:
        self._spoke = time.monotonic()
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)


def written(figures: dict[str, float]) -> str:
    """Figures of a training as one short line; those that are not known yet are left out.

    >>> written({"step": 200, "loss": 4.321, "tokens_per_second": 12345.6, "seconds_left": 75})
    'step 200  loss 4.321  12,346 tokens/s  1:15 left'
    """
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    parts = []
    if "step" in known:
        parts.append(f"step {known['step']:.0f}")
    if "loss" in known:
        parts.append(f"loss {known['loss']:.3f}")
    if "valid_loss" in known:
        parts.append(f"valid {known['valid_loss']:.3f}")
    if "tokens_per_second" in known:
        parts.append(f"{known['tokens_per_second']:,.0f} tokens/s")
    if "seconds_left" in known:
        minutes, seconds = divmod(int(known["seconds_left"]), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    return "  ".join(parts)


def command_again(context: click.Context, *more: str) -> str:
    """The command that was typed, with ``more`` at its end where it does not say so yet.

    >>> command_again(click.Context(click.Command("run"), obj=["run", "--seeds", "2"]), "--resume")
    'lmbench run --seeds 2 --resume'
    """
    typed = list(context.find_root().obj or [])
    added = [] if more[0] in typed else more
    return shlex.join(["lmbench", *typed, *added])


def _bar() -> Any:
    """A bar of the rich library on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[figures]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
