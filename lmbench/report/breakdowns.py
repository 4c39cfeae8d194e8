"""The nats of each test token -> where a model loses them: by frequency of the type, length of the sentence, position.

A perplexity is one number for a whole text. Here the same sum is divided: every event stands in exactly one bin of
each breakdown, so the events, the nats and the shares of a breakdown add up to those of the text. Bits per event of a
bin are a ratio of sums, and its interval is the bootstrap over segments of the whole text, the same draws for all bins
and models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lmbench.benchmark.results import Heldout, Result, RunFolder
from lmbench.errors import ResultsError, unknown_name
from lmbench.scoring.metrics import LN2, exp
from lmbench.scoring.significance import resampled_sums

LENGTHS = (5, 10, 15, 20, 30, 40, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000)
POSITIONS = (1, 2, 3, 4, 5, 10, 20, 30, 50, 100, 200, 500, 1000, 2000, 5000)
"""Last value of each bin; there is one more for what lies beyond."""
SMALLEST = 0.01
"""Share of the events below which an outer bin of lengths or positions is joined to its neighbour."""
FEWEST_UNITS = 20
"""Sentences or documents below which nothing is said of their length and positions."""
FEWEST_SEGMENTS = 5
"""Segments with events of a bin below which it has no interval."""
RESAMPLES = 1000
MOST_SEGMENTS = 4000
"""Segments that are resampled; in a longer text neighbours are drawn together."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST_EVENTS = 4
"""Events of a sentence whose difference is shown: one word that a model does not know makes any short one extreme."""


@dataclass(frozen=True)
class Bin:
    """Some of the events. ``name``: which, such as ``10-99``. ``bits``: per event, ``low`` and ``high`` the ends of its
    95 % interval, None where it stands in too few segments. ``share_of_events``, ``share_of_nats``: of the whole text,
    in [0, 1]; the last is None where a model rules some token out."""

    name: str
    events: int
    share_of_events: float
    share_of_nats: float | None
    bits: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Breakdown:
    """The test text under one model. ``frequency``: by how often a type stands in the training split; ``length``: of
    the sentence, or document, in events; ``position`` in it, counted from 1; empty where there are too few of them.
    ``quantiles``: share of the passages -> the perplexity that so many do not exceed."""

    label: str
    frequency: tuple[Bin, ...]
    length: tuple[Bin, ...]
    position: tuple[Bin, ...]
    quantiles: dict[float, float]


@dataclass(frozen=True)
class Difference:
    """A passage under two models: events ``begin`` to ``end``. ``bits``: per event, of the first minus those of the
    second, which are ``first`` and ``second``: negative where the first found it more likely."""

    passage: int
    begin: int
    end: int
    text: str
    bits: float
    first: float
    second: float


@dataclass(frozen=True)
class TokenScores:
    """M models over the same N test tokens. ``nats``: float64 (M, N), -ln p."""

    heldout: Heldout
    results: tuple[Result, ...]
    nats: np.ndarray

    @property
    def labels(self) -> list[str]:
        return [result.label for result in self.results]

    @cached_property
    def passage_nats(self) -> np.ndarray:
        """float64 (M, P): nats per event of each passage."""
        return _sums(self.nats, self.heldout.passages) / np.diff(self.heldout.passages, prepend=0)


def read_token_scores(path: str | Path | RunFolder) -> TokenScores | None:
    """What the run in the folder ``path`` kept token by token, of the models that were asked for its own tokens.

    None where it kept nothing, as runs of earlier versions. Raises ResultsError where a file is damaged.
    """
    folder = path if isinstance(path, RunFolder) else RunFolder(path)
    heldout = folder.read_heldout()
    if heldout is None:
        return None
    known: list[tuple[Result, np.ndarray]] = []
    for result in folder.read_results():
        nats = folder.read_token_nats(result)
        if nats is None or not heldout.predicted_by(result):
            continue
        if len(nats) < len(heldout.ids):
            raise ResultsError(
                f"{folder.token_nats(result.folder)} holds {len(nats):,} tokens, the test split {len(heldout.ids):,}. "
                "Delete it; lmbench run --resume writes it anew."
            )
        known.append((result, nats[: len(heldout.ids)]))
    if not known:
        return None
    return TokenScores(heldout, tuple(result for result, _ in known), np.array([n for _, n in known], np.float64))


def breakdowns(scores: TokenScores) -> list[Breakdown]:
    """The breakdowns of each model, in the order of ``scores``."""
    heldout = scores.heldout
    numbered = [_frequencies(heldout), *_lengths_and_positions(heldout)]
    divided = _divide(scores, [numbers for numbers, _ in numbered], [len(names) for _, names in numbered])
    result = []
    for row, label in enumerate(scores.labels):
        frequency, length, position = (
            tuple(_bin(name, row, column, sums) for column, name in enumerate(names))
            for (_, names), sums in zip(numbered, divided, strict=True)
        )
        quantiles = np.quantile(scores.passage_nats[row], QUANTILES, method="inverted_cdf")
        perplexities = dict(zip(QUANTILES, map(exp, quantiles.tolist()), strict=True))
        result.append(Breakdown(label, frequency, length, position, perplexities))
    return result


def most_different(
    scores: TokenScores, first: str, second: str, n: int = 5
) -> tuple[list[Difference], list[Difference]]:
    """The passages that the model labelled ``first`` finds likelier than ``second`` by the most bits per event, and
    those where it is the other way round; at most ``n`` each, the most different first.

    Passages of fewer than 4 events, and those that either model rules out, do not count. Raises UsageError for a label
    that the run does not have.
    """
    rows = [_row(scores, label) for label in (first, second)]
    ends = scores.heldout.passages
    events = np.diff(ends, prepend=0)
    bits = scores.passage_nats[rows] / LN2
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        difference = bits[0] - bits[1]
    kept = np.flatnonzero(np.isfinite(bits).all(0) & (events >= LEAST_EVENTS))
    order = kept[np.argsort(difference[kept], kind="stable")]

    def shown(passage: int) -> Difference:
        begin, end = scores.heldout.passage(passage)
        text = scores.heldout.text(begin, end)
        figures = (float(values[passage]) for values in (difference, *bits))
        return Difference(passage, begin, end, text, *figures)

    below, above = order[difference[order] < 0], order[difference[order] > 0][::-1]
    return [shown(passage) for passage in below[:n].tolist()], [shown(passage) for passage in above[:n].tolist()]


@dataclass(frozen=True)
class _Sums:
    """A breakdown in sums: ``events`` (K,), ``nats``, ``low`` and ``high`` (M, K), the last two in nats per event."""

    events: np.ndarray
    nats: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _bin(name: str, row: int, column: int, sums: _Sums) -> Bin:
    nats, events, total = float(sums.nats[row, column]), int(sums.events[column]), float(sums.nats[row].sum())
    low, high = (
        None if math.isnan(end) else end / LN2 for end in (float(s[row, column]) for s in (sums.low, sums.high))
    )
    share = nats / total if 0 < total < math.inf else None
    return Bin(name, events, events / int(sums.events.sum()), share, nats / events / LN2, low, high)


def _frequencies(heldout: Heldout) -> tuple[np.ndarray, list[str]]:
    """The bin of each event by the training count of its type, and the names of the bins: powers of ten, what was never
    seen, ``<unk>`` and the boundary, which are no words, apart."""
    digits = np.array([len(str(count)) if count else 0 for count in heldout.counts.tolist()])
    names = ["unseen", *(_span(10**k, 10 ** (k + 1) - 1) for k in range(digits.max()))]
    if heldout.unknown is not None:
        digits[heldout.unknown] = len(names)
    digits[0] = len(names) + 1
    end = "end of sentence" if heldout.line == "sentence" else "end of document"
    return _present(digits[heldout.ids], [*names, "<unk>", end])


def _lengths_and_positions(heldout: Heldout) -> list[tuple[np.ndarray, list[str]]]:
    """The same by the events of the unit and by the place in it, both from 1."""
    lengths = np.diff(heldout.ends, prepend=0)
    if len(lengths) < FEWEST_UNITS:
        return [(np.zeros(len(heldout.ids), np.int64), [])] * 2
    places = np.arange(1, len(heldout.ids) + 1) - np.repeat(heldout.ends - lengths, lengths)
    return [_rounded(np.repeat(lengths, lengths), LENGTHS), _rounded(places, POSITIONS)]


def _rounded(values: np.ndarray, last: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """The bin of each of ``values``, >= 1, and the names of the bins, small ones at either end joined to the next."""
    edges = [*last, max(int(values.max()), last[-1] + 1)]
    counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges)).tolist()
    least = SMALLEST * len(values)
    while len(counts) > 1 and counts[0] < least:
        counts[:2] = [counts[0] + counts[1]]
        edges.pop(0)
    while len(counts) > 1 and counts[-1] < least:
        counts[-2:] = [counts[-2] + counts[-1]]
        edges.pop(-2)
    firsts = [1, *(edge + 1 for edge in edges[:-1])]
    names = [*map(_span, firsts[:-1], edges[:-1]), f"{firsts[-1]:,} or more"]
    return _present(np.searchsorted(edges, values), names)


def _span(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,}-{last:,}"


def _present(numbers: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The bins without those that are empty."""
    there = np.bincount(numbers, minlength=len(names)) > 0
    return (np.cumsum(there) - 1)[numbers], [name for name, kept in zip(names, there.tolist(), strict=True) if kept]


def _divide(scores: TokenScores, numbers: Sequence[np.ndarray], sizes: Sequence[int]) -> list[_Sums]:
    """The sums of each breakdown. ``numbers``: the bin of each event, int (N,), in each; ``sizes``: their bins."""
    ends = scores.heldout.segments
    step = -(-len(ends) // MOST_SEGMENTS)
    ends = np.unique(np.append(ends[step - 1 :: step], ends[-1]))
    segment = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    events, nats = [], []
    for bins, size in zip(numbers, sizes, strict=True):
        cells = segment * size + bins
        shape = (len(ends), size)
        events.append(np.bincount(cells, minlength=len(ends) * size)[: len(ends) * size].reshape(shape))
        nats.append(
            [np.bincount(cells, row, len(ends) * size)[: len(ends) * size].reshape(shape) for row in scores.nats]
        )
    low, high = _intervals(np.hstack(events), np.stack([np.hstack(row) for row in zip(*nats, strict=True)]))
    cuts = np.cumsum(sizes)[:-1]
    parts = zip(events, nats, np.split(low, cuts, 1), np.split(high, cuts, 1), strict=True)
    return [_Sums(e.sum(0), np.array([row.sum(0) for row in n]), a, b) for e, n, a, b in parts]


def _intervals(events: np.ndarray, nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile intervals of nats per event, (M, K), NaN where there is none. ``events``: (S, K);
    ``nats``: (M, S, K), the sums of each segment."""
    models, _, bins = nats.shape
    finite = np.isfinite(nats).all(1)  # (M, K)
    columns = np.where(finite[:, None, :], nats, 0.0).transpose(1, 0, 2).reshape(len(events), -1)
    drawn = resampled_sums(np.hstack([events, columns]), RESAMPLES, seed=1)  # (R, K + M K)
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw without any event of a bin
        ratios = drawn[:, bins:].reshape(RESAMPLES, models, bins) / drawn[:, None, :bins]
    quantile = np.nanquantile if np.isnan(ratios).any() else np.quantile  # the latter is faster
    low, high = quantile(ratios, [0.025, 0.975], axis=0)
    known = finite & ((events > 0).sum(0) >= FEWEST_SEGMENTS)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _sums(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(M, S): sums of (M, N) over what ends before each of ``ends``."""
    return np.add.reduceat(values, np.concatenate(([0], ends[:-1])), axis=1)


def _row(scores: TokenScores, label: str) -> int:
    if label not in scores.labels:
        raise unknown_name("model", label, scores.labels)
    return scores.labels.index(label)
