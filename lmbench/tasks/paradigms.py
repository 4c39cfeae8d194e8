"""Rankings -> their accuracies as the rows of a table, by paradigm, by phenomenon and of all together; who differs.

The benchmark of linguistic minimal pairs (Warstadt et al. 2020) has 67 paradigms of 1000 pairs, each of one of 12
phenomena. Its result is the mean over the paradigms (macro), each counting alike; all sets alike (micro) have an
interval.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from lmbench import __version__
from lmbench.corpus.text import Line
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.scoring.letters import compact_letters
from lmbench.scoring.significance import holm, mcnemar
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


def letters(rankings: Sequence[Ranking], level: float = 0.05) -> list[str]:
    """Of each ranking of the same sets, such as ``ab``: two share a letter where their accuracies do not differ.

    Every pair by the exact test of McNemar over the sets with an answer, adjusted for all pairs by Holm (1979), at this
    ``level``; ``a`` stands at the most accurate.
    """
    pairs = list(combinations(range(len(rankings)), 2))
    adjusted = holm([mcnemar(rankings[one].credits, rankings[other].credits).p for one, other in pairs])
    differ = np.zeros((len(rankings), len(rankings)), bool)
    for (one, other), p in zip(pairs, adjusted.tolist(), strict=True):
        differ[one, other] = differ[other, one] = p < level
    return compact_letters(differ, sorted(range(len(rankings)), key=lambda i: -(rankings[i].accuracy or 0.0)))


def signature(ranking: Ranking, tokenizer: Tokenizer, spelling: str = "given", line: Line = "sentence") -> str:
    """The settings without which an accuracy means nothing, on one line. ``spelling``, ``line``: of the candidates."""
    content = json.dumps([[s.candidates, s.answer] for s in ranking.sets], ensure_ascii=False)
    vocabulary, unknowns = tokenizer.vocabulary, ranking.unknowns
    unknown = "" if unknowns is None else f"|unk:{100 * unknowns.sum() / ranking.events.sum():.1f}%"
    return (
        f"rank|sets:{len(ranking)}@{hashlib.sha256(content.encode()).hexdigest()[:7]}|by:{ranking.by}"
        f"|spelling:{spelling}|line:{line}|unit:{tokenizer.kind}|vocab:{len(vocabulary)}@{vocabulary.sha256[:4]}{unknown}"
        f"|v:{__version__}"
    )


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
