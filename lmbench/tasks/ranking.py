"""Model + candidate sentences -> ``Ranking``: the more plausible ones first, and how often the right one leads.

A candidate stands alone: it is scored from one boundary to the next, all candidates of all sets together,
through the same scorer as every other text. Two orders are possible::

    total   ln p(sentence)              the probability itself; right for candidates of like length
    token   ln p(sentence) / events     for candidates of unlike length: a missing word is no merit

Ties are counted honestly. Where the right candidate shares its score with m others and b are better, it
could stand anywhere from b + 1 to b + 1 + m: its rank is the middle of these, its reciprocal rank their mean
reciprocal, and where b = 0 it wins 1 / (m + 1) of the set. A uniform model is right half the time on pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from lmbench.corpus.text import Line, Split
from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.scoring.scorer import score
from lmbench.scoring.significance import Interval, wilson_interval
from lmbench.tasks.candidates import CandidateSet, candidate_sets, parse_candidates, read_candidates

__all__ = [
    "Accuracy", "CandidateSet", "Order", "Placed", "Ranking",
    "candidate_sets", "parse_candidates", "rank", "read_candidates",
]  # fmt: skip

Order = Literal["total", "token"]
TIE = 1e-6
"""Relative difference below which two log probabilities are equal: rounding, not an opinion."""


class Placed(NamedTuple):
    """A candidate in its place. ``place``: 1 for the best, a half where it ties; ``number``: its index in the
    set; ``log_prob``: nats of the whole sentence, its end included; ``per_token``: nats per event;
    ``events``: its tokens; ``answer``: whether it is the right one, None where nobody says."""

    place: float
    number: int
    text: str
    log_prob: float
    per_token: float
    events: int
    answer: bool | None


class Accuracy(NamedTuple):
    """Sets with an answer, and how they went. ``correct`` counts ties in part; ``interval``: Wilson, 95 %;
    ``tied``: sets whose right candidate shares its score with another, as words outside the vocabulary do."""

    sets: int
    correct: float
    mean_reciprocal_rank: float
    interval: Interval
    tied: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.sets


@dataclass(frozen=True)
class Ranking:
    """Candidates with their log probabilities, and what follows from them.

    ``sets``: S candidate sets. ``log_probs``: float64 (C,), nats, of all candidates in the order of the sets.
    ``events``: int64 (C,), tokens of each. ``by``: what decides, ``total`` or ``token``.
    """

    sets: tuple[CandidateSet, ...]
    log_probs: np.ndarray
    events: np.ndarray
    by: Order = "total"

    def __len__(self) -> int:
        return len(self.sets)

    @cached_property
    def ends(self) -> np.ndarray:
        """int64 (S,): index after the last candidate of each set."""
        return np.cumsum([len(s.candidates) for s in self.sets])

    def ordered(self, number: int) -> list[Placed]:
        """The candidates of one set, best first; equal ones in the order in which they were given."""
        chosen, last = self.sets[number], int(self.ends[number])
        part = slice(last - len(chosen.candidates), last)
        log_probs, per_token = self.log_probs[part], self.log_probs[part] / self.events[part]
        values = self._values[part]
        places = [1 + better + ties / 2 for better, ties in (_standing(values, i) for i in range(len(values)))]
        return [
            Placed(
                places[i],
                i,
                chosen.candidates[i],
                float(log_probs[i]),
                float(per_token[i]),
                int(self.events[part][i]),
                None if chosen.answer is None else i == chosen.answer,
            )
            for i in sorted(range(len(values)), key=lambda i: places[i])
        ]

    @property
    def accuracy(self) -> float | None:
        """Share of the sets whose right candidate leads; None where no set has an answer."""
        return self.overall.accuracy if self.overall else None

    @property
    def mean_reciprocal_rank(self) -> float | None:
        """Mean of 1 / rank of the right candidate; None where no set has an answer."""
        return self.overall.mean_reciprocal_rank if self.overall else None

    @cached_property
    def overall(self) -> Accuracy | None:
        """All sets with an answer together; None where there is none."""
        return self._accuracy(range(len(self)))

    @cached_property
    def by_phenomenon(self) -> dict[str, Accuracy]:
        """Sets with an answer, apart by phenomenon, in the order in which these first appear."""
        numbers: dict[str, list[int]] = {}
        for number, candidate_set in enumerate(self.sets):
            numbers.setdefault(candidate_set.phenomenon, []).append(number)
        found = {name: self._accuracy(chosen) for name, chosen in numbers.items()}
        return {name: accuracy for name, accuracy in found.items() if accuracy}

    def ordered_by(self, by: Order) -> Ranking:
        """The same log probabilities, decided the other way."""
        return Ranking(self.sets, self.log_probs, self.events, by)

    def summary(self) -> dict[str, Any]:
        """Accuracies as JSON values: overall, by phenomenon, and as they would be in the other order."""
        other: Order = "token" if self.by == "total" else "total"
        return {
            "by": self.by,
            "sets": len(self),
            "overall": _to_dict(self.overall),
            f"by_{other}": _to_dict(self.ordered_by(other).overall),
            "phenomena": {name: _to_dict(accuracy) for name, accuracy in self.by_phenomenon.items()},
        }

    @cached_property
    def _values(self) -> np.ndarray:
        return self.log_probs if self.by == "total" else self.log_probs / self.events

    @cached_property
    def _standings(self) -> list[tuple[int, int] | None]:
        """For each set with an answer: how many candidates are better than it, and how many tie with it."""
        parts = np.split(self._values, self.ends[:-1])
        return [
            None if s.answer is None else _standing(values, s.answer)
            for s, values in zip(self.sets, parts, strict=True)
        ]

    def _accuracy(self, numbers: Sequence[int]) -> Accuracy | None:
        standings = [standing for number in numbers if (standing := self._standings[number]) is not None]
        if not standings:
            return None
        correct = sum(1 / (ties + 1) for better, ties in standings if better == 0)
        reciprocals = sum(
            sum(1 / place for place in range(better + 1, better + ties + 2)) / (ties + 1) for better, ties in standings
        )
        interval = wilson_interval(correct, len(standings)) or Interval(0.0, 1.0)
        tied = sum(ties > 0 for _, ties in standings)
        return Accuracy(len(standings), correct, reciprocals / len(standings), interval, tied)


def rank(
    model: LanguageModel,
    sets: Sequence[CandidateSet] | Sequence[str],
    *,
    by: Order = "total",
    line: Line = "sentence",
    batch_size: int | None = None,
) -> Ranking:
    """Score every candidate and put each set in order.

    ``sets``: candidate sets, or simply the sentences of one set. ``by``: ``total`` or ``token`` log probability
    (see the module docstring). ``line``: what a line was to the model in training; where it was mere text, a
    candidate is given the newlines that stood around it there, and its boundary is not counted. Raises UsageError
    where there is nothing to rank.

    ``rank(model, ["the dogs bark", "the dogs barks"]).ordered(0)[0].text``
    """
    if by not in ("total", "token"):
        raise UsageError(f"Candidates are ranked by 'total' or by 'token' log probability, not by '{by}'.")
    if isinstance(sets, str) or not len(sets):
        raise UsageError("There is nothing to rank: give a list of sentences, or a list of candidate sets.")
    chosen = tuple(s for s in sets if isinstance(s, CandidateSet))
    if len(chosen) != len(sets):
        chosen = (CandidateSet(tuple(sets)),)  # type: ignore[arg-type]
    texts = [" ".join(candidate.split()) for s in chosen for candidate in s.candidates]
    documents = tuple(texts if line == "sentence" else [f"\n{text}\n" for text in texts])
    scores = score(model, Split("candidates", documents, line), context="sentence", batch_size=batch_size)
    ends = scores.tokens.ends
    starts = np.concatenate(([0], ends[:-1]))
    token_nats, events = scores.token_nats.copy(), ends - starts
    if line == "text":  # a document's end was seen a few times in training: its probability here is noise
        token_nats[ends - 1], events = 0.0, events - 1
    log_probs = -np.add.reduceat(token_nats, starts)  # a long candidate may be several segments
    return Ranking(chosen, log_probs, events, by)


def _standing(values: np.ndarray, answer: int) -> tuple[int, int]:
    """How many of ``values`` are better than ``values[answer]``, and how many others are equal to it."""
    if values[answer] == -np.inf:  # ruled out, as others may be
        return int((values > -np.inf).sum()), int((values == -np.inf).sum()) - 1
    differences = values - values[answer]
    margin = TIE * max(1.0, abs(float(values[answer])))
    return int((differences > margin).sum()), int((np.abs(differences) <= margin).sum()) - 1


def _to_dict(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    return {
        "sets": accuracy.sets,
        "correct": accuracy.correct,
        "accuracy": accuracy.accuracy,
        "low": accuracy.interval.low,
        "high": accuracy.interval.high,
        "mean_reciprocal_rank": accuracy.mean_reciprocal_rank,
        "tied": accuracy.tied,
    }
