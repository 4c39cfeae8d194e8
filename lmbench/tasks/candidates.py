"""A file, a corpus or held-out text -> ``CandidateSet``: sentences of which one is the more plausible.

Two ways to write a file::

    {"candidates": ["the dogs bark", "the dogs barks"], "answer": 0}    JSON lines; "answer" (an index from 0)
    {"candidates": [...], "answer": 1, "phenomenon": "agreement"}       and "phenomenon" may be left out, as may
                                                                        "paradigm" and "field"

    the dogs bark                                                       plain text: one candidate a line,
    the dogs barks                                                      a blank line between two lists

    the cat sleeps
    ...

The benchmark of linguistic minimal pairs (BLiMP, Warstadt et al. 2020) is read as it is: ``sentence_good`` and
``sentence_bad``, ``UID`` for the paradigm, ``linguistics_term`` for the phenomenon that several paradigms test, and its
``field``. A folder of such files holds a paradigm in each.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from lmbench.corpus.reading import read_text
from lmbench.corpus.text import Corpus
from lmbench.errors import UsageError, counted
from lmbench.tasks.corruption import corrupted

SHOWN = 5
"""Bad lines named in one error message."""


@dataclass(frozen=True)
class CandidateSet:
    """Sentences to put in order.

    ``answer``: index of the one that is right, None where nobody says. ``phenomenon``: what the set is
    about, for accuracies by phenomenon. ``line``: where it stood in its file, from 1. ``paradigm``: the kind of set
    within the phenomenon, and ``field``: what the phenomenon belongs to, such as syntax; empty where nobody says.
    """

    candidates: tuple[str, ...]
    answer: int | None = None
    phenomenon: str = ""
    line: int | None = None
    paradigm: str = ""
    field: str = ""

    def __post_init__(self) -> None:
        if len(self.candidates) < 2:
            raise UsageError(f"a list needs at least 2 candidates to choose from, here is {len(self.candidates)}")
        for number, candidate in enumerate(self.candidates):
            if not isinstance(candidate, str) or not candidate.strip():
                raise UsageError(f"candidate {number} is {candidate!r}, not a sentence")
        if self.answer is not None and not 0 <= self.answer < len(self.candidates):
            last = len(self.candidates) - 1
            raise UsageError(f"the answer is {self.answer}, but the candidates are numbered 0 to {last}")


def read_candidates(path: str | Path) -> list[CandidateSet]:
    """All sets of the file at ``path``; gz, bz2 and xz are read as they are. In a folder, every ``*.jsonl`` is a
    paradigm, named after its file unless its lines say otherwise.

    Raises UsageError that names every broken line (line, column, what is wrong) or a folder without such files,
    CorpusError for a file that is missing, empty or no UTF-8 text.
    """
    path = Path(path)
    if not path.is_dir():
        return parse_candidates(read_text(path), str(path))
    files = paradigm_files(path)
    if not files:
        raise UsageError(f"The folder {path} holds no candidates: there is no file in it whose name ends in .jsonl.")
    return [_in_paradigm(s, file.stem) for file in files for s in parse_candidates(read_text(file), str(file))]


def paradigm_files(folder: Path) -> list[Path]:
    """The paradigms in ``folder``, in the order of their names."""
    return sorted(path for path in folder.glob("*.jsonl") if path.is_file())


def respelled(sets: Iterable[CandidateSet], respell: Callable[[str], str]) -> list[CandidateSet]:
    """``sets`` with every candidate as ``respell`` writes it (``lmbench.corpus.spelling``).

    Raises UsageError, with the line, where nothing is left of one.
    """

    def one(candidates: CandidateSet) -> CandidateSet:
        try:
            return replace(candidates, candidates=tuple(map(respell, candidates.candidates)))
        except UsageError as error:
            raise UsageError(f"Line {candidates.line} of the candidates cannot be respelled: {error}.") from None

    return list(map(one, sets))


def _in_paradigm(candidates: CandidateSet, name: str) -> CandidateSet:
    """The set with the paradigm, and the phenomenon, that its file is named after, unless it has its own."""
    paradigm = candidates.paradigm or name
    return replace(candidates, paradigm=paradigm, phenomenon=candidates.phenomenon or paradigm)


def parse_candidates(text: str, name: str = "candidates") -> list[CandidateSet]:
    """The sets written in ``text``, in either form; ``name`` stands for it in messages.

    >>> parse_candidates("the dogs bark\\nthe dogs barks\\n")[0].candidates
    ('the dogs bark', 'the dogs barks')
    """
    first = text.lstrip()[:1]
    sets: list[CandidateSet] = []
    broken: list[str] = []
    for number, read in _json_lines(text) if first in ("{", "[") else _blank_line_lists(text):
        try:
            sets.append(read())
        except json.JSONDecodeError as error:
            broken.append(f"line {number}, column {error.colno}: not JSON ({error.msg.lower()})")
        except UsageError as error:
            broken.append(f"line {number}, column 1: {error}")
    if broken:
        more = f"; and {len(broken) - SHOWN} more lines" if len(broken) > SHOWN else ""
        raise UsageError(
            f"{name} has {counted(len(broken), 'broken line')}: {'; '.join(broken[:SHOWN])}{more}. Write each line "
            'as {"candidates": ["...", "..."], "answer": 0}, or plain sentences with a blank line between two lists.'
        )
    if not sets:
        raise UsageError(f"{name} holds no candidates: it is empty. Write at least one list of two sentences.")
    return sets


def candidate_sets(corpus: Corpus, seed: int = 1) -> list[CandidateSet]:
    """What to rank on ``corpus`` where no file is given: never nothing, on any text in any language.

    The minimal pairs of the corpus, where it brings some; else held-out sentences against corrupted copies
    of themselves (``lmbench.tasks.corruption``). The right answer is always candidate 0: models see no order.
    """
    if corpus.pairs:
        return [CandidateSet((pair.good, pair.bad), 0, pair.phenomenon) for pair in corpus.pairs]
    pairs = corrupted(corpus.test, seed, replacements=corpus.train)
    return [CandidateSet((pair.sentence, pair.corrupted), 0, pair.phenomenon) for pair in pairs]


def _json_lines(text: str) -> Iterator[tuple[int, Callable[[], CandidateSet]]]:
    """Line numbers, and what reads the set written there."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, lambda line=line, number=number: _from_json(json.loads(line), number)  # type: ignore[misc]


def _blank_line_lists(text: str) -> Iterator[tuple[int, Callable[[], CandidateSet]]]:
    """Number of the first line of each list, and what makes a set of it."""
    lines = enumerate((line.strip() for line in text.split("\n")), start=1)
    for filled, group in groupby(lines, key=lambda pair: bool(pair[1])):
        if filled:
            numbered = list(group)
            number, candidates = numbered[0][0], tuple(line for _, line in numbered)
            yield number, lambda c=candidates, n=number: CandidateSet(c, line=n)  # type: ignore[misc]


def _from_json(content: Any, line: int) -> CandidateSet:
    """The set that one JSON value describes. Raises UsageError with what is wrong about it."""
    if not isinstance(content, dict):
        raise UsageError(f'an object with "candidates" is expected, not {_kind(content)}')
    if "candidates" not in content and {"sentence_good", "sentence_bad"} <= content.keys():
        paradigm, field = (str(content.get(key) or "") for key in ("UID", "field"))
        phenomenon = str(content.get("linguistics_term") or content.get("phenomenon") or paradigm)
        return CandidateSet((content["sentence_good"], content["sentence_bad"]), 0, phenomenon, line, paradigm, field)
    candidates, answer = content.get("candidates"), content.get("answer")
    if not isinstance(candidates, list):
        found = _kind(candidates) if "candidates" in content else "nothing of that name"
        raise UsageError(f'"candidates" must be a list of sentences, here is {found}')
    if "answer" not in content:  # other keys may stand there, but a misspelt answer must not vanish
        for key in difflib.get_close_matches("answer", content, n=1, cutoff=0.75):
            raise UsageError(f'"{key}" is no key. Did you mean "answer"?')
    if answer is not None and (isinstance(answer, bool) or not isinstance(answer, int)):
        raise UsageError(f'"answer" must be the index of the right candidate (from 0), not {answer!r}')
    about = {key: content.get(key, "") for key in ("phenomenon", "paradigm", "field")}
    for key, value in about.items():
        if not isinstance(value, str):
            raise UsageError(f'"{key}" must be a text, not {_kind(value)}')
    return CandidateSet(tuple(candidates), answer, line=line, **about)


def _kind(content: Any) -> str:
    kinds: Iterable[tuple[Any, str]] = (
        (dict, "an object"),
        (list, "a list"),
        (str, "a text"),
        ((int, float), "a number"),
    )
    return next((word for kind, word in kinds if isinstance(content, kind)), repr(content))
