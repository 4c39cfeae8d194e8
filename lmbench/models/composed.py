"""Models -> a model made of them: its parts trained, or lent, and kept beside each other."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from lmbench.corpus.batches import Tokens, checksum
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.base import LanguageModel, Trainable, read_model, write_model
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, write_json

FIT_FILE = "fit.json"
"""What the training of a part cost, beside it while the whole is not finished; no file of the model."""


class Composed(Trainable):
    """A model made of ``parts``, each trained, or lent by whoever trained it already."""

    def __init__(self, parts: Sequence[LanguageModel]) -> None:
        self.parts = tuple(parts)
        self.names = tuple(map(registry.describe, self.parts))  # as they were asked for, before automatic choices
        self.reports: dict[int, FitReport] = {}
        self.lenders: dict[int, Path] = {}

    @property
    def parameters(self) -> int:
        """Of all parts; what the whole adds is not counted."""
        return sum(part.parameters for part in self.parts)

    def take(self, number: int, part: LanguageModel, report: FitReport, folder: Path | None = None) -> None:
        """Put ``part``, trained before at the cost in ``report``, in place of the one that fit would train.

        ``folder``: where it is kept, if it is; ``save`` shares its files then.
        """
        self.parts = (*self.parts[:number], part, *self.parts[number + 1 :])
        self.reports[number] = report
        if folder is not None:
            self.lenders[number] = folder

    def train_parts(
        self, train: Tokens, valid: Tokens, budget: Budget | None, progress: Progress, checkpoints: Checkpoints | None
    ) -> list[FitReport]:
        """Train each part that was not taken with the whole ``budget``; what each cost.

        With ``checkpoints`` a part that is done is kept beside them, and read by a fit that goes on.
        """
        reports, terms = [], {}
        if checkpoints is not None and len(self.reports) < len(self.parts):
            terms = _terms(train, valid, budget)
        for number, part in enumerate(self.parts):
            if number not in self.reports:
                progress.note(f"part {number + 1} of {len(self.parts)}: {self.names[number]}")
                part, report = _fit_part(part, train, valid, budget, progress, checkpoints, number, terms)
                self.parts = (*self.parts[:number], part, *self.parts[number + 1 :])
            reports.append(self.reports.get(number) or report)
        return reports

    def save_parts(self, directory: Path) -> None:
        """Write each part into a folder of its own, ``part-1`` ...; one that was lent shares its files, if it can."""
        for number, part in enumerate(self.parts):
            folder = part_folder(directory, number)
            if number not in self.lenders or not _link(self.lenders[number], folder):
                part.save(folder)


class Wrapper(Composed):
    """A model around one other, its ``base``, ``name(base):key=value``; by default one that adapts to the text it is
    asked about."""

    wraps: ClassVar[bool] = True
    reads = "left"
    context: Literal["sentence", "stream"] = "stream"
    normalized = True
    adapts = True
    max_context: int | None = None

    def __init__(self, config: Any, base: LanguageModel) -> None:
        """``base``: a fitted model, or an unfitted one for ``fit``. Raises UsageError where it cannot be wrapped."""
        super().__init__([base])
        self.config = config or self.Config()
        if not self.takes(type(base)):
            possible = [name for name in registry.MODELS if self.takes(registry.family(name))]
            raise UsageError(
                f"{self.kind} cannot wrap {base.kind}: it needs a network that reads to the left and shows its hidden "
                f"states. Those that do: {', '.join(possible)}."
            )

    @property
    def base(self) -> Any:
        """The model that is wrapped."""
        return self.parts[0]

    @classmethod
    @abstractmethod
    def takes(cls, family: type) -> bool:
        """Whether models of this class can be wrapped."""

    @abstractmethod
    def tune(self, train: Tokens, valid: Tokens, progress: Progress) -> tuple[float | None, str]:
        """Choose the settings that are open; nats per event of the text they were chosen on, and a note."""

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Train the base with the whole ``budget`` unless it was taken, then choose the open settings on ``valid``."""
        progress = progress or Silent()
        (report,) = self.train_parts(train, valid, budget, progress, checkpoints)
        began = time.perf_counter()
        self.tokenizer = train.tokenizer
        valid_loss, note = self.tune(train, valid, progress)
        progress.step("predict", note)
        return total([report], time.perf_counter() - began, valid_loss, (*report.notes, note))

    def save(self, directory: Path) -> None:
        """Write the base into a folder of its own, ``part-1``, then ``model.json`` with the settings."""
        directory = Path(directory)
        self.save_parts(directory)
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where it is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        try:
            model = cls(cls.Config(**state["config"]), *load_parts(directory, 1))
        except (KeyError, TypeError, UsageError) as error:
            raise ModelError(f"The {cls.kind} in {directory} is damaged ({error}). Train it again.") from None
        model.tokenizer = tokenizer
        return model


def load_parts(directory: Path, count: int) -> list[LanguageModel]:
    """What ``save_parts`` wrote."""
    return [registry.load(part_folder(directory, number)) for number in range(count)]


def part_folder(directory: Path, number: int) -> Path:
    """Where the part of this number is kept."""
    return directory / f"part-{number + 1}"


def total(reports: Sequence[FitReport], seconds: float, valid_loss: float | None, notes: tuple[str, ...]) -> FitReport:
    """The costs of all parts together. ``seconds``: what the whole cost beside them."""
    trained = [report for report in reports if report.stopped != "closed-form"]
    slowest = max(trained or reports, key=lambda report: report.train_seconds)
    return dataclasses.replace(
        slowest,
        train_seconds=sum(report.train_seconds for report in reports) + seconds,
        tokens=sum(report.tokens for report in reports),
        steps=sum(report.steps for report in reports),
        valid_loss=valid_loss,
        curve=(),
        notes=notes,
    )


def _fit_part(
    part: LanguageModel,
    train: Tokens,
    valid: Tokens,
    budget: Budget | None,
    progress: Progress,
    checkpoints: Checkpoints | None,
    number: int,
    terms: dict[str, str],
) -> tuple[LanguageModel, FitReport]:
    """The part, trained, or as it was kept beside ``checkpoints`` by a fit on the same ``terms`` that was cut off; and
    its report."""
    fit = getattr(part, "fit", None)  # isinstance would ask an unfitted network for its size
    if fit is None:
        raise ModelError(f"{part.kind} cannot be trained, so it cannot be part of a model that is.")
    if checkpoints is None:
        return part, fit(train, valid, budget, progress)
    folder = part_folder(checkpoints.directory, number)
    kept, asked = folder / FIT_FILE, {"asked": registry.describe(part), **terms}
    if kept.is_file():
        facts = json.loads(kept.read_text(encoding="utf-8"))
        report = FitReport.from_dict(facts["report"])
        other = [name for name, value in asked.items() if facts.get(name, value) != value]
        if report.stopped == "closed-form" and "budget" in other:
            other.remove("budget")
        if not other:
            progress.note("was done before; it is read, not trained again")
            return registry.load(folder), report
        if "asked" not in other:
            raise UsageError(
                f"{folder} holds a part that was trained with another {' and another '.join(other)}. Ask for the same "
                "to go on, or delete the folder to start anew."
            )
    report = fit(train, valid, budget, progress, Checkpoints(folder))
    part.save(folder)
    write_json(kept, {**asked, "report": report.to_dict()})
    Checkpoints(folder).clear()
    return part, report


def _terms(train: Tokens, valid: Tokens, budget: Budget | None) -> dict[str, str]:
    """What decides, beside its specification, what a part learns."""
    return {
        "budget": str(Budget.of(budget)),
        "text": checksum(train, valid),
        "vocabulary": train.tokenizer.vocabulary.sha256,
    }


def _link(source: Path, target: Path) -> bool:
    """Let ``target`` hold the files of the model in ``source`` without a copy; False where the disk cannot do that.

    A model's files are only ever replaced, never written into, so one of the two folders may change without the other.
    """
    try:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(FIT_FILE))
    except OSError:  # also shutil.Error: another file system, or one without hard links
        return False
    return True
