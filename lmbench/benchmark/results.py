"""A run <-> its folder: every file of a run is read and written here, and only here.

::

    recipe.toml              what was asked                  environment.json   where it ran
    metrics.json             everything that was measured    table.csv          one row a model and seed
    scores/MODEL.tsv         sums of each segment            candidates.csv     every candidate of every model
    models/MODEL/            the model, and fit.json         log.txt            what happened when
    heldout.*, scores/MODEL.safetensors, reader.json, samples.json: see ``lmbench.benchmark.evidence``

Nothing here loads torch: a report is rebuilt from these files on a machine without it. Each file is written
under a temporary name and renamed, so that a reader, or a run that was killed, never finds half of one.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.benchmark.evidence import Evidence, Heldout
from lmbench.benchmark.result import COLUMNS, Key, Result, Status
from lmbench.errors import ResultsError
from lmbench.training.checkpoints import atomic, write_json, write_text

__all__ = ["COLUMNS", "Heldout", "Key", "Result", "RunFolder", "SegmentSums", "Status", "to_csv"]

FORMAT = 1
"""Version of metrics.json; raised when a reader of the old one would misread the new."""


CANDIDATE_COLUMNS = (
    "model", "seed", "set", "phenomenon", "candidate", "answer", "place",
    "log_prob", "log_prob_per_token", "tokens", "text", "train_tokens",
)  # fmt: skip
SCORE_COLUMNS = ("unit", "nats", "events", "unknowns", "words", "characters", "bytes")


@dataclass(frozen=True)
class SegmentSums:
    """``scores/MODEL.tsv`` in memory: what ``lmbench.scoring.metrics`` needs to redo any statistic.

    ``units``: int64 (S,), the unit that each segment is, or is a part of.
    """

    units: np.ndarray
    nats: np.ndarray
    events: np.ndarray
    unknowns: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    bytes: np.ndarray
    lossless: bool
    normalized: bool
    adapts: bool = False


class RunFolder(Evidence):
    """The folder of one run. ``path`` need not exist before something is written."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def table(self) -> Path:
        return self.path / "table.csv"

    @property
    def candidates(self) -> Path:
        return self.path / "candidates.csv"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def model(self, folder: str) -> Path:
        """Where the model called ``folder`` is kept."""
        return self.path / "models" / folder

    def fit(self, folder: str) -> Path:
        return self.model(folder) / "fit.json"

    def scores(self, folder: str) -> Path:
        return self.path / "scores" / f"{folder}.tsv"

    def create(self) -> None:
        """Make the folders and try a file in them. Raises ResultsError where they cannot be written."""
        try:
            for name in ("models", "scores"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultsError(
                f"The output folder {self.path} cannot be made: {error.strerror or error}. Name another with --out."
            ) from None
        trial = self.path / ".trial"
        write_text(trial, "")
        trial.unlink(missing_ok=True)

    def is_run(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe.is_file()

    def write_environment(self, environment: dict[str, Any]) -> None:
        """``environment.json``; where a run goes on, those of before are kept under ``earlier``."""
        path = self.path / "environment.json"
        earlier: list[Any] = []
        if path.is_file():
            with contextlib.suppress(ValueError, AttributeError):  # a damaged one tells nothing worth stopping for
                before = json.loads(path.read_text(encoding="utf-8"))
                earlier = [*before.pop("earlier", []), before]
        write_json(path, {**environment, "earlier": earlier})

    def read_environment(self) -> dict[str, Any]:
        """``environment.json``; empty where it is missing or damaged, as no number depends on it."""
        with contextlib.suppress(OSError, ValueError):
            content = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
            return content if isinstance(content, dict) else {}
        return {}

    def write_results(self, facts: dict[str, Any], results: Sequence[Result]) -> None:
        """``metrics.json`` and ``table.csv``. ``facts``: what belongs to the run as a whole (JSON values)."""
        rows = [result.to_dict() for result in results]
        write_json(self.metrics, {"format": FORMAT, **facts, "results": rows})
        write_text(self.table, to_csv(COLUMNS, ([getattr(result, name) for name in COLUMNS] for result in results)))

    def write_text(self, name: str, text: str) -> None:
        """A further file, such as a table in another form or ``plots/x.svg``, atomically."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """The same of what is no text, such as ``plots/x.png``."""
        path = self.path / name
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise ResultsError(f"The folder {path.parent} cannot be made: {error.strerror or error}.") from None
        with atomic(path) as temporary:
            temporary.write_bytes(content)

    def read_facts(self) -> dict[str, Any]:
        """``metrics.json`` without the results. Raises ResultsError where it is missing or damaged."""
        return {key: value for key, value in self._read_metrics().items() if key != "results"}

    def read_results(self) -> list[Result]:
        """The results in ``metrics.json``, in their order. Raises ResultsError where it is missing or damaged."""
        content = self._read_metrics()
        try:
            return [Result.from_dict(row) for row in content["results"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._damaged(error) from None

    def _read_metrics(self) -> dict[str, Any]:
        try:
            content = json.loads(self.metrics.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ResultsError(
                f"{self.path} is not the folder of a run: it holds no metrics.json. "
                "Name a folder that lmbench run wrote."
            ) from None
        except (OSError, ValueError) as error:
            raise self._damaged(error) from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._damaged(f"its format is not {FORMAT}, which this version reads")
        return content

    def _damaged(self, reason: object) -> ResultsError:
        return ResultsError(
            f"{self.metrics} cannot be read: {reason}. Restore it, or delete it and go on with --resume: "
            "models that were trained are kept in models/."
        )

    def write_scores(self, folder: str, sums: Any, unit_ends: np.ndarray) -> None:
        """``scores/FOLDER.tsv``: a row a segment; words, characters and bytes on the last segment of their unit.

        ``sums``: a ``Scores`` (see ``lmbench.scoring.metrics.Sums``). ``unit_ends``: int64 (U,), index after the
        last event of each unit. ``nats`` are written so that reading gives the same float64.
        """
        ends = np.cumsum(sums.events)
        units = np.searchsorted(unit_ends, ends, "left")
        last = ends == unit_ends[units]
        lines = ["\t".join(SCORE_COLUMNS)]
        rows = zip(units, sums.nats, sums.events, sums.unknowns, last, strict=True)
        for unit, nats, events, unknowns, ends_unit in rows:
            amounts = (sums.words[unit], sums.characters[unit], sums.bytes[unit]) if ends_unit else ("", "", "")
            lines.append("\t".join(map(str, (unit, repr(float(nats)), events, unknowns, *amounts))))
        write_text(self.scores(folder), "\n".join(lines) + "\n")

    def read_curve(self, result: Result) -> list[dict[str, Any]]:
        """The validations of one model (the fields of ``CurvePoint``); empty where it had none."""
        kept = result.details.get("fit", {}).get("curve")
        if isinstance(kept, list):
            return kept
        try:  # version 0.1 kept curves beside the models only
            report = json.loads(self.fit(result.folder).read_text(encoding="utf-8"))["report"]
            return list(report.get("curve", ()))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ResultsError(f"{self.fit(result.folder)} cannot be read: {error}.") from None

    def read_scores(self, result: Result) -> SegmentSums:
        """The sums of one model. Raises ResultsError where they are missing or damaged."""
        path = self.scores(result.folder)
        try:
            rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
            whole = [row for row in rows if row[4]]
            units, events, unknowns = (np.array([int(row[i]) for row in rows], np.int64) for i in (0, 2, 3))
            words, characters, size = (np.array([int(row[column]) for row in whole], np.int64) for column in (4, 5, 6))
            nats = np.array([float(row[1]) for row in rows])
            test = result.details["test"]
            flags = [bool(test["lossless"]), bool(test["normalized"]), bool(test.get("adapts", False))]
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise ResultsError(f"{path} cannot be read: {error}. Run the model again with --resume.") from None
        return SegmentSums(units, nats, events, unknowns, words, characters, size, *flags)

    def write_candidates(self, result: Result, rows: Iterable[Sequence[Any]]) -> None:
        """Put ``rows`` (``CANDIDATE_COLUMNS`` from set to text) in place of those of ``result`` before."""
        mine = list(map(_cell, result.key))
        with atomic(self.candidates) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CANDIDATE_COLUMNS)
            writer.writerows(row for row in self.read_candidates() if [*row[:2], *(row[11:] or [""])] != mine)
            writer.writerows([*mine[:2], *map(_cell, row), mine[2]] for row in rows)

    def read_candidates(self) -> Iterable[list[str]]:
        """The rows of ``candidates.csv`` as text, without the heading; nothing where there is no such file."""
        if self.candidates.is_file():
            with self.candidates.open(encoding="utf-8", newline="") as file:
                reader = csv.reader(file)
                next(reader, None)
                yield from reader


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Comma-separated text with a heading; None is an empty cell, floats are written in full."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)
