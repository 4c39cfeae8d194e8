"""Text as Kaldi, SRILM and sclite write it -> hypotheses and scores by utterance; references by utterance.

Kaldi (``lattice-to-nbest | nbest-to-linear``, in text form) writes words and costs into files of their own, each line
opening with the utterance and the number of the hypothesis; a cost is a negative natural logarithm::

    u1-1 i see          u1-1 310.25
    u1-2 icy            u1-2 311.5

SRILM (its manual, nbest-format(5)) writes a file for each utterance, in one of three forms. Scores are bytelogs, which
are logarithms to base 1.0001 divided by 1024, or in the last form logarithms to base 10::

    NBestList1.0                    NBestList2.0                                              -310.25 -8.1 2 i see
    (-4500) i see                   (-4500) i ( st: 0 et: 9 g: -80 a: -1900 ) see ( ... )     acoustic, LM, words

References are lines of Kaldi (``u1 i see``) or of sclite (``i see (u1)``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lmbench.corpus.reading import read_text
from lmbench.errors import UsageError

NATS_OF_BYTELOG = 1024 * math.log(1.0001)
NATS_OF_LOG10 = math.log(10)
KALDI_KEY = re.compile(r"(\S+)-(\d+)")
STATE = re.compile(r".*-\d")
"""A state of a hidden Markov model, among the words of NBestList2.0."""
TRANSCRIPT = re.compile(r"(.*?)\s*\(([^()\s]+)\)")
NO_WORDS = {"<s>", "</s>", "-pau-"}
"""What SRILM writes among words: sentence ends and pauses."""
FIELDS = 11
"""Of a word in NBestList2.0: ``see ( st: 1 et: 2 g: 3 a: 4 )``."""

Scores = dict[str, tuple[float, ...]]


class Utterance(NamedTuple):
    """One utterance: its name, its hypotheses, and for each of them the scores, greater is better, nats."""

    id: str
    hypotheses: tuple[str, ...]
    scores: Scores


def is_kaldi(text: str) -> bool:
    """Whether the first line that is not blank opens with ``utterance-number``."""
    opening = text.lstrip().split(maxsplit=1)[:1]
    return bool(opening) and KALDI_KEY.fullmatch(opening[0]) is not None and not _is_number(opening[0])


def parse_kaldi(text: str, costs: Mapping[str, Mapping[str, float]], broken: list[str]) -> Iterator[Utterance]:
    """The utterances of ``utterance-number words``, in the order of their first lines, hypotheses by their number.

    ``costs``: name -> cost of each ``utterance-number``. What is wrong goes to ``broken``.
    """
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for number, line in _filled(text):
        key, _, words = line.partition(" ")
        match = KALDI_KEY.fullmatch(key)
        absent = [name for name, values in costs.items() if key not in values]
        if match is None:
            broken.append(f"line {number}: '{key}' is not an utterance and a number, such as u1-1")
        elif absent:
            broken.append(f"line {number}: {key} has no cost in {', '.join(absent)}")
        else:
            found.setdefault(match[1], {})[int(match[2])] = key, words
    for utterance, hypotheses in found.items():
        keys, texts = zip(*(hypotheses[number] for number in sorted(hypotheses)), strict=True)
        yield Utterance(utterance, texts, {name: tuple(-values[key] for key in keys) for name, values in costs.items()})


def parse_srilm(text: str, name: str, broken: list[str]) -> tuple[tuple[str, ...], Scores]:
    """The hypotheses and scores of one utterance. Raises UsageError where the text is in none of SRILM's forms."""
    lines = list(_filled(text))
    header = lines[0][1].strip() if lines else ""
    if header.startswith("NBestList"):
        if header not in ("NBestList1.0", "NBestList2.0"):
            raise UsageError(f"{name} opens with {header}; SRILM writes NBestList1.0 and NBestList2.0.")
        names, read, lines = (
            (("score",), _first, lines[1:]) if header[-3] == "1" else ((ACOUSTIC, OLD), _second, lines[1:])
        )
    elif lines and len(header.split()) >= 3 and all(_is_number(word) for word in header.split()[:3]):
        names, read = (ACOUSTIC, OLD), _third
    else:
        raise UsageError(
            f"{name} holds no n-best list in a form that is known here: it opens with '{header:.40}'. JSON opens with "
            "{ or [, a line of Kaldi with utterance-1, a file of SRILM with NBestList1.0 or three numbers."
        )
    rows = []
    for number, line in lines:
        try:
            rows.append(read(line))
        except ValueError as error:
            broken.append(f"line {number}: {error}")
    texts = tuple(" ".join(word for word in words if word not in NO_WORDS) for words, _ in rows)
    return texts, {name: tuple(scores[i] for _, scores in rows) for i, name in enumerate(names)}


ACOUSTIC, OLD = "acoustic", "recogniser-lm"
"""Names of a recogniser's two scores: of the sound, and of the language model that it listened with."""


def _first(line: str) -> tuple[list[str], tuple[float, ...]]:
    score, *words = line.split()
    return words, (_in_parentheses(score) * NATS_OF_BYTELOG,)


def _second(line: str) -> tuple[list[str], tuple[float, ...]]:
    """Words with times. What lies inside the time of the word before it is one of its phones or states."""
    score, *fields = line.split()
    _in_parentheses(score)
    if len(fields) % FIELDS:
        raise ValueError(f"each word has {FIELDS} fields, as in 'see ( st: 1 et: 2 g: 3 a: 4 )'")
    words, end, language, acoustic = [], -1.0, 0.0, 0.0
    for first in range(0, len(fields), FIELDS):
        word, start, last = fields[first], float(fields[first + 3]), float(fields[first + 5])
        if start > end and not STATE.fullmatch(word):
            words.append(word)
            language += float(fields[first + 7])
            acoustic += float(fields[first + 9])
            end = last
    return words, (acoustic * NATS_OF_BYTELOG, language * NATS_OF_BYTELOG)


def _third(line: str) -> tuple[list[str], tuple[float, ...]]:
    acoustic, language, _, *words = [*line.split(maxsplit=3)[:3], *line.split()[3:]]
    return words, (float(acoustic) * NATS_OF_LOG10, float(language) * NATS_OF_LOG10)


def _in_parentheses(score: str) -> float:
    if not (score.startswith("(") and score.endswith(")") and _is_number(score[1:-1])):
        raise ValueError(f"a score in parentheses comes first, such as (-4500), not '{score}'")
    return float(score[1:-1])


def read_costs(path: str | Path) -> dict[str, float]:
    """``u1-1 310.25`` on each line -> cost by key. Raises UsageError, with the line, for what is no number."""
    costs = {}
    for number, line in _filled(read_text(Path(path))):
        key, _, value = line.partition(" ")
        if not _is_number(value):
            raise UsageError(
                f"{path}, line {number}, is no cost: '{line:.40}'. Kaldi writes 'u1-1 310.25' (ark,t:FILE)."
            )
        costs[key] = float(value)
    return costs


def read_references(path: str | Path) -> dict[str, str]:
    """``u1 i see`` (Kaldi) or ``i see (u1)`` (sclite) on each line -> what was said by utterance."""
    lines = [line for _, line in _filled(read_text(Path(path)))]
    matches = [TRANSCRIPT.fullmatch(line) for line in lines]
    if all(matches):
        return {match[2]: match[1] for match in matches if match}
    return {key: words for key, _, words in (line.partition(" ") for line in lines)}


def _filled(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1, white space reduced to single spaces."""
    for number, line in enumerate(text.split("\n"), 1):
        if words := line.split():
            yield number, " ".join(words)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
