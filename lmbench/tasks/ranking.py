"""Model + candidate sentences -> ``Ranking``: the more plausible ones first, and how often the right one leads.

A candidate stands alone: it is scored from one boundary to the next, all candidates of all sets together, once,
through the same scorer as every other text. What is compared is the log probability of the sentence, ``total``, or
one of its normalisations, ``token``, ``character`` and ``slor`` (``normalisation.py``): arithmetic on the same sums.

Ties are counted honestly. Where the right candidate shares its score with m others and b are better, it
could stand anywhere from b + 1 to b + 1 + m: its rank is the middle of these, its reciprocal rank their mean
reciprocal, and where b = 0 it wins 1 / (m + 1) of the set. A uniform model is right half the time on pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from lmbench.corpus.text import Line, Split
from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.scoring.scorer import score
from lmbench.scoring.significance import Interval, wilson_interval
from lmbench.tasks.candidates import CandidateSet, candidate_sets, parse_candidates, read_candidates
from lmbench.tasks.normalisation import ORDERS, Order, check_order, normalised, unigram_log_probs

__all__ = [
    "ORDERS", "Accuracy", "CandidateSet", "Order", "Placed", "Ranking",
    "candidate_sets", "parse_candidates", "rank", "read_candidates",
]  # fmt: skip

Group = Literal["field", "phenomenon", "paradigm"]
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
    ``tied``: sets whose right candidate shares its score with another, as words outside the vocabulary do;
    ``unknown``: sets with such words in a candidate, None where that is not known."""

    sets: int
    correct: float
    mean_reciprocal_rank: float
    interval: Interval
    tied: int
    unknown: int | None = None

    @property
    def accuracy(self) -> float:
        return self.correct / self.sets


@dataclass(frozen=True)
class Ranking:
    """Candidates with their log probabilities, and what follows from them.

    ``sets``: S candidate sets. ``log_probs``: float64 (C,), nats, of all candidates in the order of the sets.
    ``events``: int64 (C,), tokens of each. ``by``: what decides. ``unigram``: float64 (C,), nats, what the frequency of
    its words alone says of each; ``unknowns``: int64 (C,), its tokens outside the vocabulary; None where not known.
    """

    sets: tuple[CandidateSet, ...]
    log_probs: np.ndarray
    events: np.ndarray
    by: Order = "total"
    unigram: np.ndarray | None = None
    unknowns: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sets)

    @cached_property
    def ends(self) -> np.ndarray:
        """int64 (S,): index after the last candidate of each set."""
        return np.cumsum([len(s.candidates) for s in self.sets])

    @cached_property
    def characters(self) -> np.ndarray:
        """int64 (C,): code points of each candidate, and one for its end."""
        return np.array([len(_line(candidate)) + 1 for s in self.sets for candidate in s.candidates])

    def ordered(self, number: int) -> list[Placed]:
        """The candidates of one set, best first; equal ones in the order in which they were given."""
        chosen, last = self.sets[number], int(self.ends[number])
        part = slice(last - len(chosen.candidates), last)
        log_probs, per_token = self.log_probs[part], self.log_probs[part] / self.events[part]
        values = self._values[part]
        each = np.arange(len(values))
        better, ties = _standings(np.tile(values, len(each)), each + len(values) * each, each * len(values))
        places = (1 + better + ties / 2).tolist()
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
    def credits(self) -> np.ndarray:
        """float64 (A,), of each set with an answer: 1 where it leads, a part of 1 where it ties for that, else 0."""
        better, ties = (part[self._answered] for part in self._better_and_tied)
        return np.where(better == 0, 1 / (ties + 1), 0.0)

    @cached_property
    def overall(self) -> Accuracy | None:
        """All sets with an answer together; None where there is none."""
        return self._accuracy(np.arange(len(self)))

    @cached_property
    def known(self) -> Accuracy | None:
        """The sets with an answer of which every word is in the vocabulary; None where there is none, or not known."""
        return None if self._has_unknown is None else self._accuracy(np.flatnonzero(~self._has_unknown))

    @cached_property
    def by_phenomenon(self) -> dict[str, Accuracy]:
        """Sets with an answer, apart by phenomenon, in the order in which these first appear."""
        return self.grouped("phenomenon")

    def grouped(self, group: Group) -> dict[str, Accuracy]:
        """Sets with an answer, apart by ``group``, in the order in which its names first appear."""
        numbers: dict[str, list[int]] = {}
        for number, candidate_set in enumerate(self.sets):
            numbers.setdefault(getattr(candidate_set, group), []).append(number)
        found = {name: self._accuracy(np.array(chosen)) for name, chosen in numbers.items()}
        return {name: accuracy for name, accuracy in found.items() if accuracy}

    @cached_property
    def macro_accuracy(self) -> float | None:
        """Mean of the accuracies of the paradigms, each counting alike however many sets it has, as BLiMP has it; None
        where no set with an answer names a paradigm."""
        found = [accuracy.accuracy for name, accuracy in self.grouped("paradigm").items() if name]
        return sum(found) / len(found) if found else None

    @property
    def orders(self) -> tuple[Order, ...]:
        """What may decide: all but ``slor`` where the frequency of words is not known."""
        return tuple(order for order in ORDERS if order != "slor" or self.unigram is not None)

    def ordered_by(self, by: Order) -> Ranking:
        """The same log probabilities, decided another way."""
        return replace(self, by=by)

    def best_order(self) -> Order:
        """What decides best here, the plainest of equals: for development sets, to rank others by.

        Raises UsageError where no set has an answer.
        """
        found = {by: self.ordered_by(by).accuracy for by in self.orders}
        if found["total"] is None:
            raise UsageError("What decides cannot be chosen on sets without an answer. Give each its right candidate.")
        return max(found, key=lambda by: found[by] or 0.0)

    def summary(self) -> dict[str, Any]:
        """Accuracies as JSON values: overall, by phenomenon and paradigm, and as other normalisations would have it."""
        others = {f"by_{by}": _to_dict(self.ordered_by(by).overall) for by in self.orders if by != self.by}
        paradigms = {name: _to_dict(accuracy) for name, accuracy in self.grouped("paradigm").items() if name}
        return {
            "by": self.by,
            "sets": len(self),
            "overall": _to_dict(self.overall),
            "macro_accuracy": self.macro_accuracy,
            **others,
            "phenomena": {name: _to_dict(accuracy) for name, accuracy in self.by_phenomenon.items()},
            "paradigms": paradigms,
        }

    @cached_property
    def _values(self) -> np.ndarray:
        return normalised(self.by, self.log_probs, self.events, self.characters, self.unigram)

    @cached_property
    def _answered(self) -> np.ndarray:
        """bool (S,): which sets have an answer."""
        return np.array([s.answer is not None for s in self.sets])

    @cached_property
    def _better_and_tied(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 (S,) each: how many candidates are better than the answer, and how many tie with it; of a set without
        an answer, what would be if it were the first."""
        starts = np.concatenate(([0], self.ends[:-1]))
        return _standings(self._values, starts + [s.answer or 0 for s in self.sets], starts)

    @cached_property
    def _has_unknown(self) -> np.ndarray | None:
        """bool (S,): whether a candidate has a word outside the vocabulary."""
        if self.unknowns is None:
            return None
        return np.add.reduceat(self.unknowns, np.concatenate(([0], self.ends[:-1]))) > 0

    def _accuracy(self, numbers: np.ndarray) -> Accuracy | None:
        numbers = numbers[self._answered[numbers]]
        if not len(numbers):
            return None
        better, ties = (part[numbers] for part in self._better_and_tied)
        correct = float((1 / (ties + 1))[better == 0].sum())
        harmonic = np.concatenate(([0], np.cumsum(1 / np.arange(1, (better + ties).max() + 2))))
        reciprocals = (harmonic[better + ties + 1] - harmonic[better]) / (ties + 1)
        interval = wilson_interval(correct, len(numbers)) or Interval(0.0, 1.0)
        unknown = None if self._has_unknown is None else int(self._has_unknown[numbers].sum())
        return Accuracy(len(numbers), correct, float(reciprocals.mean()), interval, int((ties > 0).sum()), unknown)


def rank(
    model: LanguageModel,
    sets: Sequence[CandidateSet] | Sequence[str],
    *,
    by: Order = "total",
    line: Line = "sentence",
    batch_size: int | None = None,
    unigram: LanguageModel | None = None,
) -> Ranking:
    """Score every candidate and put each set in order.

    ``sets``: candidate sets, or simply the sentences of one set. ``by``: what decides, ``total``, ``token``,
    ``character`` or ``slor``. ``line``: what a line was to the model in training; where it was mere text, a
    candidate is given the newlines that stood around it there, and its boundary is not counted. ``unigram``: a model
    that knows how frequent words are, for ``slor``; by default the counts of the vocabulary. Raises UsageError where
    there is nothing to rank, or ``slor`` is asked for and nothing knows the frequencies.

    ``rank(model, ["the dogs bark", "the dogs barks"]).ordered(0)[0].text``
    """
    check_order(by)
    if isinstance(sets, str) or not len(sets):
        raise UsageError("There is nothing to rank: give a list of sentences, or a list of candidate sets.")
    chosen = tuple(s for s in sets if isinstance(s, CandidateSet))
    if len(chosen) != len(sets):
        chosen = (CandidateSet(tuple(sets)),)  # type: ignore[arg-type]
    texts = [_line(candidate) for s in chosen for candidate in s.candidates]
    documents = tuple(texts if line == "sentence" else [f"\n{text}\n" for text in texts])
    scores = score(model, Split("candidates", documents, line), context="sentence", batch_size=batch_size)
    tokens, ends = scores.tokens, scores.tokens.ends
    starts = np.concatenate(([0], ends[:-1]))
    by_token = {"log_probs": -scores.token_nats, "unigram": unigram_log_probs(tokens, unigram)}
    events = ends - starts
    if line == "text":  # a document's end was seen a few times in training: its probability here is noise
        for values in by_token.values():
            if values is not None:
                values[ends - 1] = 0.0
        events = events - 1
    # a long candidate may be several segments
    sums = {key: None if v is None else np.add.reduceat(v, starts) for key, v in by_token.items()}
    unknowns = np.add.reduceat(tokens.hidden.astype(np.int64), starts)
    ranking = Ranking(chosen, sums["log_probs"], events, by, sums["unigram"], unknowns)  # type: ignore[arg-type]
    _ = ranking._values  # what cannot decide is refused now
    return ranking


def _line(candidate: str) -> str:
    """The candidate on one line."""
    return " ".join(candidate.split())


def _standings(values: np.ndarray, answers: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of each set's values are better than that of its answer, and how many others are equal to it.

    ``values``: float64 (C,); ``answers``, ``starts``: int64 (S,), where the answer of each set stands, and its first.
    """
    answer = np.repeat(values[answers], np.diff(np.append(starts, len(values))))  # (C,)
    margin = TIE * np.maximum(1.0, np.abs(answer))
    with np.errstate(invalid="ignore"):  # of two that are ruled out the difference is no number; they tie
        differences = values - answer
        ruled_out = answer == -np.inf
        better = np.where(ruled_out, values > -np.inf, differences > margin)
        equal = np.where(ruled_out, values == -np.inf, np.abs(differences) <= margin)
    return np.add.reduceat(better.astype(np.int64), starts), np.add.reduceat(equal.astype(np.int64), starts) - 1


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
        "unknown": accuracy.unknown,
    }
