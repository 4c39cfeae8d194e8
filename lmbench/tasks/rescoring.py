"""Models + n-best lists -> the hypothesis to believe in each, and what that is worth.

The score of a hypothesis h is log-linear in what is known of it (Och and Ney 2002); the largest is chosen::

    sum over models of  w ln p(h)  +  sum over the recogniser's scores of  w score(h)  +  w length  +  w unknown

``length``: its words, or its characters in text without spaces; ``unknown``: its tokens that the first model does not
know. Where the recogniser gives no scores its order is one, ``order`` = -ln place. The weights are given, or tuned on
lists that are not the tested ones (``lmbench.tasks.minimum_error``): answers never choose weights for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from lmbench.errors import UsageError, unknown_name
from lmbench.models.base import LanguageModel
from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.scorer import score
from lmbench.scoring.significance import Interval
from lmbench.tasks.error_rates import Errors, Unit, count_errors, units, usual_unit
from lmbench.tasks.minimum_error import Features, errors_at, tune
from lmbench.tasks.nbest import NBestList

LENGTH, UNKNOWN, ORDER = "length", "unknown", "order"
Normalisation = Literal["lower", "punctuation"]
System = Literal["first", "chosen", "oracle"]
IMPOSSIBLE = 100.0
"""Nats by which a hypothesis that a model rules out lies below the least that is possible."""
OTHER: dict[Unit, Unit] = {"word": "character", "character": "word"}


class Tuning(NamedTuple):
    """Weights by feature, where they were tuned, and what that saved there: edits of the starting weights (the
    recogniser's scores alone) and of the tuned ones. Given weights were tuned on no utterance."""

    weights: dict[str, float]
    utterances: int = 0
    edits_before: int = 0
    edits: int = 0


class Difference(NamedTuple):
    """``rate``: that of the chosen hypotheses less that of the first ones; ``interval``, 95 %, and ``p``: by paired
    bootstrap and permutation over utterances (``lmbench.scoring.comparison``), None for a single one; ``better``,
    ``worse``: utterances with fewer and with more edits."""

    rate: float
    interval: Interval | None
    p: float | None
    better: int
    worse: int


@dataclass(frozen=True)
class Rescoring:
    """The hypotheses that were chosen.

    ``chosen``: int64 (U,), index in each list. ``tunings``: one, or one for each part of a cross-validation.
    ``unit``: what errors are counted in first. ``edits``: by unit, errors of all hypotheses, arrays (R, N) over the
    R lists with a reference, whose indices are ``answered``, int64 (R,).
    """

    lists: tuple[NBestList, ...]
    chosen: np.ndarray
    tunings: tuple[Tuning, ...]
    unit: Unit
    answered: np.ndarray
    edits: Mapping[Unit, Errors]

    @property
    def texts(self) -> list[str]:
        """The chosen hypothesis of each list, as it was written."""
        return [entry.hypotheses[i] for entry, i in zip(self.lists, self.chosen.tolist(), strict=True)]

    def errors(self, system: System, unit: Unit | None = None) -> Errors:
        """Errors (R,) of the recogniser's first hypotheses, of the chosen, or of the best that are there."""
        found = self.edits[unit or self.unit]
        if system == "first":
            index = np.zeros(len(self.answered), np.int64)
        elif system == "chosen":
            index = self.chosen[self.answered]
        else:
            index = found.edits.argmin(1)
        return found.picked(index)

    @cached_property
    def difference(self) -> Difference | None:
        """The chosen against the first hypotheses; None where no reference is given, or none holds a word."""
        before, after = self.errors("first"), self.errors("chosen")
        if not before.lengths.any():
            return None
        changes = after.edits - before.edits
        interval, p = None, None
        if len(changes) > 1:
            found = paired_differences(np.stack([after.edits, before.edits]), before.lengths)
            interval, p = Interval(float(found.low[0, 1]), float(found.high[0, 1])), float(found.p[0, 1])
        return Difference(after.rate - before.rate, interval, p, int((changes < 0).sum()), int((changes > 0).sum()))


def rescore(
    models: Mapping[str, LanguageModel],
    lists: Sequence[NBestList],
    *,
    weights: Mapping[str, float] | None = None,
    development: Sequence[NBestList] | None = None,
    folds: int | None = None,
    unit: Unit | None = None,
    normalise: Sequence[Normalisation] = (),
    seed: int = 1,
) -> Rescoring:
    """Choose a hypothesis of each list.

    ``weights``: by feature, 0 for those left out; or ``development``: other lists, with references, on which they are
    tuned; or ``folds``: the lists themselves, cut into so many parts in their order, each with weights tuned on the
    others. ``unit``: what errors are counted in, by default words, in Chinese without spaces characters. ``normalise``:
    what is done to texts before models read them and errors are counted. ``seed``: of the tuning.
    Raises UsageError where none or several of the three are given, and for what cannot be tuned.
    """
    if sum(way is not None for way in (weights, development, folds)) != 1:
        raise UsageError(
            "Weights come from one of three places: from lists with references that are not the tested ones "
            "(development), given as numbers (weights), or from the other parts of the tested lists (folds). They are "
            "never tuned on the lists that they choose from, as the result would say nothing about other lists."
        )
    if development is not None:
        _check_development(development, lists)
    chosen_unit = unit or usual_unit([text for entry in lists for text in entry.hypotheses[:1]])
    known = features(models, lists, unit=chosen_unit, normalise=normalise)
    answered = np.flatnonzero([entry.reference is not None for entry in lists])
    with_reference = [lists[i] for i in answered.tolist()]
    edits = {unit: hypothesis_errors(with_reference, unit, normalise) for unit in OTHER}
    if weights is not None:
        tunings = [Tuning(_checked(weights, known.names))]
        chosen = known.chosen(_vector(weights, known.names))
    elif development is not None:
        told = [entry for entry in development if entry.reference is not None]
        tuned = features(models, told, unit=chosen_unit, normalise=normalise)
        if told and set(tuned.names) != set(known.names):
            here, there = (", ".join(one.names[len(models) : -2]) or "none" for one in (known, tuned))
            raise UsageError(
                f"The recogniser's scores of the lists to choose from are {here}, those of the development lists "
                f"{there}: weights tuned on the one do not fit the other. Give both the same scores."
            )
        tunings = [tune_weights(tuned, hypothesis_errors(told, chosen_unit, normalise), len(models), seed)]
        chosen = known.chosen(_vector(tunings[0].weights, known.names))
    else:
        tunings, chosen = _cross_validated(known, edits[chosen_unit], answered, folds or 0, len(models), seed)
    return Rescoring(tuple(lists), chosen, tuple(tunings), chosen_unit, answered, edits)


def _check_development(development: Sequence[NBestList], lists: Sequence[NBestList]) -> None:
    """Raise UsageError where the development lists are those to choose from. A few may be: people say yes."""
    chosen_from = {entry.hypotheses for entry in lists}
    common = sum(entry.hypotheses in chosen_from for entry in development)
    if common > max(1.0, min(len(development), len(lists)) / 2):
        raise UsageError(
            f"{common} of the {len(development)} development lists are among those to choose from: weights tuned on "
            "the lists that they choose from say nothing about other lists. Give other lists, or let folds of these "
            "decide for one another."
        )


def features(
    models: Mapping[str, LanguageModel],
    lists: Sequence[NBestList],
    *,
    unit: Unit = "word",
    normalise: Sequence[Normalisation] = (),
) -> Features:
    """What is known of all hypotheses: see the module docstring. Equal texts are scored once."""
    shape = (len(lists), max((len(entry.hypotheses) for entry in lists), default=0))
    present = np.arange(shape[1]) < np.array([len(entry.hypotheses) for entry in lists], np.int64).reshape(-1, 1)
    texts = [normalised(text, normalise) for entry in lists for text in entry.hypotheses]
    distinct = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    numbers = np.array([distinct[text] for text in texts], np.int64)
    columns: dict[str, np.ndarray] = {}
    unknowns = None
    for name, model in models.items():
        scored = score(model, list(distinct)) if distinct else None
        log_probs = np.zeros(0) if scored is None else -scored.nats
        least = log_probs[np.isfinite(log_probs)].min(initial=0.0)
        columns[name] = np.where(np.isfinite(log_probs), log_probs, least - IMPOSSIBLE)[numbers]
        if unknowns is None:
            unknowns = np.zeros(0) if scored is None else scored.unknowns[numbers]
    names = list(lists[0].scores) if lists else []
    recognised = {name: [value for entry in lists for value in entry.scores[name]] for name in names}
    if not names:
        recognised = {ORDER: [-np.log1p(place) for entry in lists for place in range(len(entry.hypotheses))]}
    if clash := sorted({*columns} & {*recognised, LENGTH, UNKNOWN}):
        raise UsageError(f"'{clash[0]}' is the name of a model and of another feature. Rename the model's folder.")
    columns |= {name: np.asarray(values, np.float64) for name, values in recognised.items()}
    columns[LENGTH] = np.array([len(units(text, unit)) for text in texts], np.float64)
    columns[UNKNOWN] = np.zeros(len(texts)) if unknowns is None else unknowns.astype(np.float64)
    values = np.zeros((*shape, len(columns)))
    values[present] = np.stack(list(columns.values()), 1) if len(texts) else 0.0
    return Features(tuple(columns), values, present)


def hypothesis_errors(lists: Sequence[NBestList], unit: Unit, normalise: Sequence[Normalisation] = ()) -> Errors:
    """Errors of every hypothesis, arrays (U, N); where a list is shorter, as bad as the worst of it."""
    width = max((len(entry.hypotheses) for entry in lists), default=0)
    filled = [(*entry.hypotheses, *entry.hypotheses[-1:] * (width - len(entry.hypotheses))) for entry in lists]
    hypotheses = [normalised(text, normalise) for texts in filled for text in texts]
    references = [normalised(entry.reference or "", normalise) for entry in lists for _ in range(width)]
    counted = count_errors(hypotheses, references, unit)
    return counted.reshaped((len(lists), width))


def tune_weights(known: Features, edits: Errors, models: int, seed: int = 1) -> Tuning:
    """Weights with the fewest edits on lists with references, scaled so that the recogniser's first score weighs 1.

    ``edits``: arrays (U, N). ``models``: how many features are models. The search begins with the recogniser alone.
    Raises UsageError where there is no list.
    """
    if not len(known):
        raise UsageError("There is nothing to tune weights on: no list has a reference. Give lists with references.")
    start = np.zeros(len(known.names))
    recogniser = slice(models, len(known.names) - 2)  # between models and the two counts
    start[recogniser] = 1.0
    best, least = tune(known, edits.edits, start, seed=seed)
    scale = best[models] if best[models] > 0 else np.abs(best).max(initial=0.0) or 1.0
    weights = dict(zip(known.names, (best / scale).tolist(), strict=True))
    return Tuning(weights, len(known), errors_at(known, edits.edits, start), least)


def _cross_validated(
    known: Features, edits: Errors, answered: np.ndarray, folds: int, models: int, seed: int
) -> tuple[list[Tuning], np.ndarray]:
    """Weights for each part of the lists from the other parts, and what they choose in it."""
    if not 2 <= folds <= len(known):
        raise UsageError(f"{len(known)} lists can be cut into 2 to {len(known)} parts, not {folds}.")
    tunings, chosen = [], np.zeros(len(known), np.int64)
    for part in np.array_split(np.arange(len(known)), folds):
        others = np.flatnonzero(~np.isin(answered, part))
        tunings.append(tune_weights(known.of(answered[others]), edits.of(others), models, seed))
        chosen[part] = known.of(part).chosen(_vector(tunings[-1].weights, known.names))
    return tunings, chosen


def normalised(text: str, kinds: Sequence[Normalisation]) -> str:
    """``text`` in lower case, and without punctuation but apostrophes inside words.

    >>> normalised("Don't - he said, 'go'!", ["lower", "punctuation"])
    "don't he said go"
    """
    if "lower" in kinds:
        text = text.lower()
    if "punctuation" in kinds:
        text = re.sub(r"[^\w\s']|_|(?<!\w)'|'(?!\w)", " ", text.replace("’", "'"))
        text = " ".join(text.split())
    return text


def _checked(weights: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """All weights by feature. Raises UsageError for a name that is no feature."""
    for name in weights:
        if name not in names:
            raise unknown_name("feature", name, names)
    return {name: float(weights.get(name, 0.0)) for name in names}


def _vector(weights: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    return np.array([*_checked(weights, names).values()])
