"""Model + prompts -> the most probable texts, as far as a beam finds them.

Of all texts that are being written the ``width`` most probable go on at each step, each by every token. A complete
text has the score ``ln p(new tokens) / tokens^exponent``: with 0 the probability itself, which falls with each token,
so that short texts win; with 1, as a rule, the mean of a token (Wu et al. 2016 divide by a like power). A beam of 1
without normalisation takes the likeliest token at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.reading import open_reading
from lmbench.tasks.generation import CELLS, Ends, Generated, check_writes, side_by_side, text_of
from lmbench.tasks.prediction import largest


@dataclass(frozen=True)
class Beam(Ends):
    """How the most probable texts are searched for."""

    width: int = 5
    """Texts that go on at each step."""
    exponent: float = 1.0
    """Power of the length by which a log probability is divided; 0 leaves it as it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 1:
            raise UsageError(f"A beam is at least 1 text wide, not {self.width}.")
        if not 0 <= self.exponent < float("inf"):
            raise UsageError(f"The length exponent must be 0 (no normalisation) or more, not {self.exponent}.")

    def score(self, log_prob: float, tokens: int) -> float:
        """By which complete texts are compared, nats."""
        return log_prob / tokens**self.exponent


@dataclass
class _Search:
    """The texts after one prompt: ``rows`` that go on, their log probabilities ``totals``, float64, and what is
    ``complete``, the best first."""

    place: int
    prompt: str
    rows: list[np.ndarray]
    totals: np.ndarray
    complete: list[Generated]


def beam_search(
    model: LanguageModel, prompts: Sequence[str], n: int = 1, settings: Beam | None = None
) -> list[Generated]:
    """The ``n`` best texts that were found after each of ``prompts``, the best first; fewer where there are no more.

    Raises UsageError where ``n`` is below 1 or above the width, ModelError for a model that reads both sides.
    """
    check_writes(model, n)
    settings = settings or Beam()
    if n > settings.width:
        raise UsageError(f"A beam of {settings.width} does not hold {n} texts. Widen it, or ask for fewer.")
    found: list[list[Generated]] = [[] for _ in prompts]
    for places, rows in side_by_side(model, prompts, CELLS // settings.width):
        searches = [_Search(p, prompts[p], [row], np.zeros(1), []) for p, row in zip(places, rows, strict=True)]
        for search in _searched(model, searches, n, settings):
            found[search.place] = search.complete
    return [text for texts in found for text in texts]


def _searched(model: LanguageModel, searches: list[_Search], n: int, settings: Beam) -> list[_Search]:
    """The searches, when none of them can find anything better."""
    begin, going = len(searches[0].rows[0]), searches
    reading = open_reading(model, [search.rows[0] for search in searches])
    while going:
        ends = np.cumsum([len(search.rows) for search in going])
        parents: list[np.ndarray] = []
        for search, last in zip(going, ends.tolist(), strict=True):
            first = last - len(search.rows)
            parents.append(first + _step(model, search, reading.log_probs[first:last], begin, n, settings))
        going = [search for search in going if search.rows]
        if going:
            reading.keep(np.concatenate(parents))
            reading.append(np.array([row[-1] for search in going for row in search.rows]))
    return searches


def _step(
    model: LanguageModel, search: _Search, log_probs: np.ndarray, begin: int, n: int, settings: Beam
) -> np.ndarray:
    """Write every text of ``search`` on by one token and leave the best; int64, from which row each of them came.

    ``log_probs``: (rows, V), nats. Twice the width is looked at, since a boundary ends one text of each row at most.
    """
    values = (search.totals[:, None] + log_probs).ravel()  # (rows V,)
    parents, rows, totals = [], [], []
    best = largest(values, 2 * settings.width)
    for place, number in enumerate(best[values[best] > -np.inf].tolist()):
        parent, token = divmod(number, log_probs.shape[1])
        row, total = np.append(search.rows[parent], token), float(values[number])
        ended = settings.reached(model, row, begin)
        if ended is None:
            parents.append(parent)
            rows.append(row)
            totals.append(total)
        elif place < settings.width:
            new = ended[1][len(text_of(model, row[:begin])) :]
            search.complete.append(Generated(search.prompt, 0, ended[1], total, len(row) - begin, ended[0], new))
        if len(rows) == settings.width:
            break
    search.complete.sort(key=lambda text: -settings.score(text.log_prob, text.tokens))
    search.complete = [text._replace(number=number) for number, text in enumerate(search.complete[:n], start=1)]
    if len(search.complete) == n and totals:
        worst = search.complete[-1]
        if settings.score(worst.log_prob, worst.tokens) >= settings.score(max(totals), settings.max_tokens):
            parents, rows, totals = [], [], []  # whatever they become, it is no better
    search.rows, search.totals = rows, np.array(totals)
    return np.array(parents, np.int64)
