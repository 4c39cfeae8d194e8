"""Model + lines -> the lines that were probably meant, and what each change gains.

Sought is the sentence s that is most probable behind the written one (the noisy channel, Shannon 1948; Mays et al.
1991)::

    ln p(s | written)  =  ln p(s)  +  ln p(written | s)  +  constant
                          the model    edits and confusions (``lmbench.tasks.confusions``)

Left-reading models are searched with a beam: from doubtful place to doubtful place every kept beginning is continued by
every option, all lines together, and the ``beam`` best beginnings of each line stay, of those that a model with a short
context continues alike the best one alone. For models that read both sides,
which have no probability of a beginning, the best single change is made until none is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.scoring.scorer import token_log_probs
from lmbench.tasks.confusions import Candidates, Doubts, Place

TIE = 1e-5
"""Nats below which two lines are equally probable: rounding, not an opinion."""
WINDOW = 64
"""Places that models still read behind those on which all beginnings agree, so that long lines take no longer for each
of their places."""
IMPOSSIBLE = -1e6
"""Nats of what a model rules out: differences of these are numbers."""


class Change(NamedTuple):
    """Characters ``start`` to ``end`` of the line became another word. ``nats``: how much less probable the corrected
    line would be, in natural logarithms, were this change alone undone."""

    start: int
    end: int
    original: str
    replacement: str
    nats: float


class Correction(NamedTuple):
    """A line as it was and as it was probably meant. ``nats``: what all changes together gain."""

    text: str
    corrected: str
    changes: tuple[Change, ...]
    nats: float


class _Beginning(NamedTuple):
    """The options taken at the first places of a line. ``nats``: what they cost in the channel."""

    chosen: tuple[int, ...] = ()
    nats: float = 0.0

    def extended(self, place: Place, option: int) -> _Beginning:
        return _Beginning((*self.chosen, option), self.nats + place.options[option].nats)

    def read(self, doubts: Doubts, first: int = 0) -> str:
        """What models read of it, from place ``first`` on."""
        places = doubts.places[first : len(self.chosen)]
        parts = [place.options[option].read for place, option in zip(places, self.chosen[first:], strict=True)]
        return "".join([*parts, doubts.after if self.ends(doubts) else ""]).lstrip()

    def ends(self, doubts: Doubts) -> bool:
        return len(self.chosen) == len(doubts.places)


def correct(model: LanguageModel, lines: Sequence[str], candidates: Candidates, *, beam: int = 8) -> list[Correction]:
    """Correct each of ``lines``; equal ones alike, spacing and everything that is not changed as it was.

    ``beam``: beginnings of a line that are kept. Raises UsageError for a beam below 1.

    ``correct(model, ["they lost there way"], Candidates(model.tokenizer, {"there": ("their",)}))``
    """
    if beam < 1:
        raise UsageError(f"A beam keeps at least 1 beginning of a line, not {beam}.")
    found = candidates.doubts(lines)
    open_lines = [doubts for doubts in found if doubts.any]
    if model.reads == "left":
        chosen = _beam_search(model, open_lines, beam)
    else:
        chosen = [(0,) * len(doubts.places) for doubts in open_lines]
    settled = iter(_settled(model, open_lines, chosen, both=model.reads == "both"))
    return [next(settled) if doubts.any else Correction(doubts.text, doubts.text, (), 0.0) for doubts in found]


def _beam_search(model: LanguageModel, lines: Sequence[Doubts], beam: int) -> list[tuple[int, ...]]:
    """The options of the best whole line of each."""
    kept = [[_Beginning()] for _ in lines]
    while unfinished := [i for i, doubts in enumerate(lines) if not kept[i][0].ends(doubts)]:
        grown = {i: [new for old in kept[i] for new in _grown(lines[i], old)] for i in unfinished}
        firsts = {i: max(0, _agreed(kept[i]) - WINDOW) for i in unfinished}
        texts = [new.read(lines[i], firsts[i]) for i, news in grown.items() for new in news]
        values = _log_probs(model, texts, [new.ends(lines[i]) for i, news in grown.items() for new in news])
        values += [new.nats for news in grown.values() for new in news]
        for (i, news), of in zip(grown.items(), _parts(values, grown.values()), strict=True):
            kept[i] = _best([news[j] for j in np.argsort(-of, kind="stable").tolist()], beam, model.max_context)
    return [beginnings[0].chosen for beginnings in kept]


def _best(falling: Sequence[_Beginning], beam: int, context: int | None) -> list[_Beginning]:
    """The first ``beam`` of them; of those that a model with so much ``context`` continues alike, only the first."""
    unlike: dict[tuple[int, ...], _Beginning] = {}
    for beginning in falling:
        seen = 0 if context is None else max(0, len(beginning.chosen) - context)  # a place is a token at least
        unlike.setdefault(beginning.chosen[seen:], beginning)
        if len(unlike) == beam:
            break
    return list(unlike.values())


def _parts(values: np.ndarray, groups: Iterable[Sequence[object]]) -> list[np.ndarray]:
    """``values`` cut into parts as long as the groups."""
    return np.split(values, np.cumsum([len(group) for group in groups])[:-1])


def _agreed(beginnings: Sequence[_Beginning]) -> int:
    """At how many first places all took the same: what models say of these decides nothing any more."""
    low, high = min(b.chosen for b in beginnings), max(b.chosen for b in beginnings)
    return next((i for i, (a, b) in enumerate(zip(low, high, strict=True)) if a != b), len(low))


def _grown(doubts: Doubts, old: _Beginning) -> list[_Beginning]:
    """``old`` with each option of its next place, and all after it up to the next place that is in doubt."""
    places = doubts.places[len(old.chosen) :]
    news = [old.extended(places[0], option) for option in range(len(places[0].options))]
    for place in places[1:]:
        if len(place.options) > 1:
            break
        news = [new.extended(place, 0) for new in news]
    return news


def _settled(
    model: LanguageModel, lines: Sequence[Doubts], chosen: Sequence[tuple[int, ...]], *, both: bool
) -> list[Correction]:
    """Undo what does not gain (and, with ``both``, change what gains) until nothing does; then say what is gained."""
    current = list(chosen)
    pending = list(range(len(lines)))
    result: dict[int, Correction] = {}
    while pending:
        trials = {i: [_whole(lines[i], option) for option in _neighbours(lines[i], current[i], both)] for i in pending}
        texts = [trial.read(lines[i]) for i, of in trials.items() for trial in of]
        values = _log_probs(model, texts, [True] * len(texts)) + [trial.nats for of in trials.values() for trial in of]
        for (i, options), of in zip(trials.items(), _parts(values, trials.values()), strict=True):
            best = options[int(np.append(of[0] + TIE, of[1:]).argmax())]
            if best.chosen == current[i]:
                result[i] = _told(lines[i], [option.chosen for option in options], of)
            current[i] = best.chosen
        pending = [i for i in pending if i not in result]
    return [result[i] for i in range(len(lines))]


def _neighbours(doubts: Doubts, chosen: tuple[int, ...], both: bool) -> list[tuple[int, ...]]:
    """The options themselves; the line as it was; and with each change undone, or with ``both`` each place changed."""
    found = [chosen, (0,) * len(chosen)]
    for number, place in enumerate(doubts.places):
        others = range(len(place.options)) if both else ([0] if chosen[number] else [])
        found += [(*chosen[:number], option, *chosen[number + 1 :]) for option in others if option != chosen[number]]
    return found


def _whole(doubts: Doubts, chosen: tuple[int, ...]) -> _Beginning:
    taken = (place.options[option].nats for place, option in zip(doubts.places, chosen, strict=True))
    return _Beginning(chosen, sum(taken))


def _told(doubts: Doubts, options: Sequence[tuple[int, ...]], values: np.ndarray) -> Correction:
    """The changes of the first of ``options``, which is the best, and what each gains over the others."""
    chosen = options[0]
    value = dict(zip(options, values.tolist(), strict=True))
    changes, parts, last = [], [], 0
    for number, (place, option) in enumerate(zip(doubts.places, chosen, strict=True)):
        if option:
            undone = (*chosen[:number], 0, *chosen[number + 1 :])
            original, replacement = place.options[0].written, place.options[option].written
            changes.append(Change(place.start, place.end, original, replacement, value[chosen] - value[undone]))
            parts += [doubts.text[last : place.start], replacement]
            last = place.end
    corrected = "".join([*parts, doubts.text[last:]])
    return Correction(doubts.text, corrected, tuple(changes), value[chosen] - value[options[1]])


def _log_probs(model: LanguageModel, texts: Sequence[str], ends: Sequence[bool]) -> np.ndarray:
    """float64 (texts,), nats: ln p of each, as a sentence where it ``ends``, else as a beginning."""
    distinct = {pair: number for number, pair in enumerate(dict.fromkeys(zip(texts, ends, strict=True)))}
    tokens = model.tokenizer.encode([text for text, _ in distinct])
    values = np.maximum(token_log_probs(model, tokens, "sentence"), IMPOSSIBLE)
    starts = np.concatenate(([0], tokens.ends[:-1]))
    open_ones = np.flatnonzero([not end for _, end in distinct])
    values[tokens.ends[open_ones] - 1] = 0.0
    sums = np.add.reduceat(values, starts)
    return sums[[distinct[pair] for pair in zip(texts, ends, strict=True)]]
