"""A file or folder -> ``NBestList``: what a recogniser heard in each utterance, with its scores and the reference.

Forms of a file, told apart by what it opens with; gz, bz2 and xz are read as they are::

    {"id": "u1", "hypotheses": ["i see", "icy"], "scores": [-3.1, -3.4], "reference": "i see"}     JSON lines
    [{"input": ["i see", "icy"], "output": "i see", "am_score": [-0.3, -0.4]}, ...]                HyPoradise
    u1-1 i see                                                                                     Kaldi
    NBestList1.0, NBestList2.0, or lines such as: -310.2 -8.1 2 i see                              SRILM

Only the hypotheses must be there. ``scores`` may also be an object of several lists, {"acoustic": [...], "lm": [...]}.
A greater score is a better one; those of SRILM and Kaldi become natural logarithms (``lmbench.tasks.nbest_text``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lmbench.corpus.reading import COMPRESSED, missing, read_text
from lmbench.errors import CorpusError, UsageError
from lmbench.tasks import nbest_text

HYPOTHESES, REFERENCE, SCORES = ("hypotheses", "input"), ("reference", "output"), ("scores", "score", "am_score")
"""Names of a list's parts in JSON: our own first, then those of HyPoradise (Chen et al. 2023)."""


@dataclass(frozen=True)
class NBestList:
    """The hypotheses for one utterance, in the recogniser's order.

    ``id``: its name, unique in a file. ``scores``: name -> one number for each hypothesis, greater is better.
    ``reference``: what was said, None where nobody says. White space in texts is reduced to single spaces.
    """

    id: str
    hypotheses: tuple[str, ...]
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    reference: str | None = None

    def __post_init__(self) -> None:
        if not self.hypotheses:
            raise UsageError("a list needs at least one hypothesis, here is none")
        for number, hypothesis in enumerate(self.hypotheses, 1):
            if not isinstance(hypothesis, str):
                raise UsageError(f"hypothesis {number} is {hypothesis!r}, not a text")
        for name, values in self.scores.items():
            if len(values) != len(self.hypotheses):
                raise UsageError(f"there are {len(self.hypotheses)} hypotheses, but {len(values)} of {name}")
            for value in values:
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise UsageError(f"{name} must hold finite numbers, not {value!r}")
        if self.reference is not None and not isinstance(self.reference, str):
            raise UsageError(f"the reference is {self.reference!r}, not a text")
        object.__setattr__(self, "hypotheses", tuple(" ".join(text.split()) for text in self.hypotheses))
        if self.reference is not None:
            object.__setattr__(self, "reference", " ".join(self.reference.split()))


def read_nbest(
    path: str | Path,
    *,
    references: Mapping[str, str] | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[list[NBestList], list[str]]:
    """The lists of the file at ``path``, or of a folder of SRILM files, one utterance each; and what was left out.

    ``references``: utterance -> what was said, where the lists do not say (``nbest_text.read_references``).
    ``costs``: of a Kaldi list, name -> costs by ``utterance-number`` (``nbest_text.read_costs``). What is broken is
    left out and told with its line. Raises CorpusError for what cannot be read, UsageError where no list is whole.
    """
    path = Path(path)
    if path.is_dir():
        lists, broken = _folder(path)
    elif path.exists():
        return parse_nbest(read_text(path), str(path), references=references, costs=costs)
    else:
        raise missing(path)
    return _completed(lists, broken, str(path), references)


def parse_nbest(
    text: str,
    name: str = "the lists",
    *,
    references: Mapping[str, str] | None = None,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[list[NBestList], list[str]]:
    """``read_nbest`` of the content of a file; ``name`` stands for it in messages.

    >>> lists, broken = parse_nbest('{"hypotheses": ["i see", "icy"], "reference": "i see"}\\n{"hypotheses": []}')
    >>> lists[0].hypotheses, broken
    (('i see', 'icy'), ['line 2: a list needs at least one hypothesis, here is none'])
    """
    broken: list[str] = []
    opening = text.lstrip()[:1]
    is_kaldi = opening not in ("{", "[") and nbest_text.is_kaldi(text)
    if costs and not is_kaldi:
        raise UsageError(
            f"Costs in files of their own belong to Kaldi's lists (utterance-1 words), and {name} is none."
        )
    if opening == "[":
        records = _array(text, name)
        lists = list(_read_all(records, broken))
    elif opening == "{":
        lists = list(_read_all(_json_lines(text, broken), broken))
    elif is_kaldi:
        lists = [NBestList(*entry) for entry in nbest_text.parse_kaldi(text, costs or {}, broken)]
    else:
        hypotheses, scores = nbest_text.parse_srilm(text, name, broken)
        lists = [NBestList(_utterance(name), hypotheses, scores)] if hypotheses else []
    return _completed(lists, broken, name, references)


def _folder(path: Path) -> tuple[list[NBestList], list[str]]:
    """Each file of a folder as one utterance in SRILM's form, named after it."""
    lists: list[NBestList] = []
    broken: list[str] = []
    for file in sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith(".")):
        told: list[str] = []
        try:
            hypotheses, scores = nbest_text.parse_srilm(read_text(file), file.name, told)
            lists.append(NBestList(_utterance(file.name), hypotheses, scores))
        except (UsageError, CorpusError) as error:
            told.append(str(error))
        broken += [f"{file.name}, {text}" for text in told]
    return lists, broken


def _utterance(name: str) -> str:
    """The name of an utterance that has a file of its own.

    >>> _utterance("nbest/fcaa-7.nbest.gz")
    'fcaa-7'
    """
    path = Path(name)
    if path.suffix in COMPRESSED:
        path = path.with_suffix("")
    return path.stem


def _completed(
    lists: list[NBestList], broken: list[str], name: str, references: Mapping[str, str] | None
) -> tuple[list[NBestList], list[str]]:
    """Lists of one kind, each utterance once, with their references. Raises UsageError where none is left."""
    if references is not None:
        lists = [replace(entry, reference=references.get(entry.id, entry.reference)) for entry in lists]
    kept: dict[str, NBestList] = {}
    for entry in lists:
        first = next(iter(kept.values()), entry)
        if entry.id in kept:
            broken.append(f"utterance {entry.id} stands there twice: the first is kept")
        elif set(entry.scores) != set(first.scores):
            broken.append(f"utterance {entry.id} has {_named(entry)}, but {first.id} has {_named(first)}")
        else:
            kept[entry.id] = entry
    if not kept:
        why = f" The first that is broken: {broken[0]}." if broken else ""
        raise UsageError(
            f'{name} holds no list of hypotheses.{why} Write each utterance as {{"id": "u1", "hypotheses": ["...", '
            '"..."], "scores": [-3.1, -3.4], "reference": "..."}, or name lists as Kaldi, SRILM or '
            "HyPoradise write them."
        )
    return list(kept.values()), broken


def _named(entry: NBestList) -> str:
    return f"the scores {', '.join(entry.scores)}" if entry.scores else "no scores"


def _array(text: str, name: str) -> Iterator[tuple[str, Any]]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{name}, line {error.lineno}, column {error.colno}, is not JSON ({error.msg}): an array is read as a "
            "whole. Mend it there, or write one object a line."
        ) from None
    return ((f"list {number}", record) for number, record in enumerate(content, 1))


def _json_lines(text: str, broken: list[str]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                broken.append(f"line {number}, column {error.colno}: not JSON ({error.msg.lower()})")


def _read_all(records: Iterator[tuple[str, Any]], broken: list[str]) -> Iterator[NBestList]:
    """The lists that JSON values describe; an utterance without a name is called by its place."""
    for number, (where, record) in enumerate(records, 1):
        try:
            yield _from_json(record, str(number))
        except UsageError as error:
            broken.append(f"{where}: {error}")


def _from_json(record: Any, place: str) -> NBestList:
    if not isinstance(record, dict):
        raise UsageError(f'an object with "hypotheses" is expected, not {record!r:.40}')
    hypotheses, scores = _part(record, HYPOTHESES), _part(record, SCORES)
    if not isinstance(hypotheses, list):
        keys = ", ".join(record) or "nothing"
        raise UsageError(f'"hypotheses" must be a list of texts, and the object holds {keys}')
    if scores is None:
        scores = {}
    elif not isinstance(scores, dict):
        scores = {"score": scores}
    for name, values in scores.items():
        if not isinstance(values, list):
            raise UsageError(f"{name} must be a list of numbers, not {values!r:.40}")
    columns = {name: tuple(values) for name, values in scores.items()}
    return NBestList(str(record.get("id", place)), tuple(hypotheses), columns, _part(record, REFERENCE))


def _part(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if name in record), None)
