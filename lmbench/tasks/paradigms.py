"""Ranking -> its accuracies as the rows of a table: by paradigm, by phenomenon, and of all together.

The benchmark of linguistic minimal pairs (Warstadt et al. 2020) has 67 paradigms of 1000 pairs, each of one of 12
phenomena. Its result is the mean over the paradigms (macro), each counting alike; all sets alike (micro) have an
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from lmbench.tasks.candidates import CandidateSet
from lmbench.tasks.ranking import Accuracy, Ranking

Level = Literal["paradigm", "phenomenon", "macro", "micro", "known"]


class Row(NamedTuple):
    """A row of the table. ``level``: what it sums up; ``paradigms``: how many it holds. ``share``: accuracy, 0 to 1;
    ``accuracy``: what lies behind it, None for the mean of the paradigms, which has no sets of its own."""

    level: Level
    field: str
    phenomenon: str
    paradigm: str
    paradigms: int
    share: float
    accuracy: Accuracy | None


def accuracy_rows(ranking: Ranking) -> list[Row]:
    """Each phenomenon after its paradigms, in the order of their names, then ``macro``, ``micro``, and ``known``: the
    sets without a word outside the vocabulary.

    Sets that name no phenomenon, or no paradigm, count in ``micro`` only, or in their phenomenon. Without sets that
    have an answer there are no rows. Rankings of the same sets have the same rows whatever the model, but for
    ``known``.
    """
    paradigms, phenomena = ranking.grouped("paradigm"), ranking.by_phenomenon
    first = {s.paradigm: s for s in reversed(ranking.sets)}
    rows: list[Row] = []
    for phenomenon in sorted(filter(None, phenomena)):
        inside = sorted(name for name in paradigms if name and first[name].phenomenon == phenomenon)
        if inside != [phenomenon]:
            rows += [_paradigm(first[name], paradigms[name]) for name in inside]
        rows.append(_of("phenomenon", phenomena[phenomenon], _field(first, inside), phenomenon, held=len(inside)))
    named = sum(map(bool, paradigms))
    if ranking.macro_accuracy is not None:
        rows.append(Row("macro", "", "", "", named, ranking.macro_accuracy, None))
    if ranking.overall:
        rows.append(_of("micro", ranking.overall, held=named))
    if ranking.known:
        rows.append(_of("known", ranking.known))
    return rows


def _paradigm(candidates: CandidateSet, accuracy: Accuracy) -> Row:
    return _of("paradigm", accuracy, candidates.field, candidates.phenomenon, candidates.paradigm, 1)


def _of(
    level: Level,
    accuracy: Accuracy,
    field: str = "",
    phenomenon: str = "",
    paradigm: str = "",
    held: int = 0,
) -> Row:
    return Row(level, field, phenomenon, paradigm, held, accuracy.accuracy, accuracy)


def _field(first: dict[str, CandidateSet], paradigms: Sequence[str]) -> str:
    """The field of the paradigms; empty where they have several."""
    fields = {first[name].field for name in paradigms}
    return fields.pop() if len(fields) == 1 else ""
