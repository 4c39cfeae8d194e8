"""The folders of runs -> who is better than whom: every pair of models that predict the same events, and letters.

A pair has the difference of bits per event with its interval, p, and p adjusted for all pairs of its group; see
``lmbench.scoring.comparison`` for the statistics. Rows whose events differ, or whose numbers are of another kind (of a
model that adapts, or reads both sides), are never compared, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lmbench.benchmark.results import Result, RunFolder, SegmentSums
from lmbench.errors import ResultsError
from lmbench.report.events import describe_events, differing_parts, kind_of_number
from lmbench.scoring.comparison import PairedDifferences, paired_differences
from lmbench.scoring.letters import compact_letters
from lmbench.scoring.metrics import LN2
from lmbench.scoring.significance import holm

Item = TypeVar("Item")
RESAMPLES = 10_000
"""Draws of segments and of signs, unless more are asked for."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """Two models, the better one ``first``; numbers are those of the first minus those of the second.

    ``about``: what both predict. ``measure``: ``bits per event``, ``bits per character`` or ``ranking accuracy``, the
    unit of ``difference``, of ``low`` and ``high`` (its interval) and of the two values. ``p``: two-sided;
    ``adjusted``: by Holm, for all pairs of the group. ``test``: how p came about. ``segments``: what was drawn.
    ``seeds``: trainings of each. ``events_per_character``: what bits per event are multiplied with to be bits per
    character; None where these would hide text.
    """

    about: str
    measure: str
    first: str
    second: str
    first_value: float
    second_value: float
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    confidence: float
    test: str
    segments: int
    seeds: tuple[int, int] = (1, 1)
    events_per_character: float | None = None

    @property
    def differ(self) -> bool:
        """Whether chance alone is no good explanation: adjusted p at most 1 - confidence."""
        return self.adjusted <= 1 - self.confidence + 1e-12

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        return f"{self.first} is better" if self.differ else "not distinguishable"


@dataclass(frozen=True)
class Compared:
    """What a comparison came to. ``letters``: label of a row -> its letters; rows of one kind that share one are not
    distinguishable. ``legend``: what the letters mean; ``cautions``: how far to trust it all; ``reasons``: what was not
    compared, and why."""

    pairs: tuple[Comparison, ...] = ()
    letters: Mapping[str, str] = field(default_factory=dict)
    legend: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A model of a run: ``name``, unique among all that are compared; its ``results``, one a seed; their labels,
    what a line is in its corpus, and the ``model`` that it is at several training sizes, its name without one.
    ``size``: tokens that it was trained on, where these are not the whole training split: models compare at one size
    only."""

    folder: RunFolder
    name: str
    results: tuple[Result, ...]
    labels: tuple[str, ...]
    line: str = ""
    model: str = ""
    size: int | None = None


def comparisons(folder: RunFolder | str | Path) -> list[Comparison]:
    """Every pair of models of one run that predict the same events, in bits per event, the best models first.

    Raises ResultsError where the folder is not that of a run.
    """
    return list(compared(folder).pairs)


def letters(folder: RunFolder | str | Path) -> dict[str, str]:
    """Label of each row of the table of a run -> its letters; rows that are compared with nothing are left out."""
    return dict(compared(folder).letters)


def compared(folder: RunFolder | str | Path) -> Compared:
    """The comparison of one run at the usual settings, computed once as long as its metrics.json stays as it is."""
    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    try:
        state = run.metrics.stat()
    except OSError:
        run.read_facts()  # says what is wrong
        raise
    return _of_one(run.path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _of_one(path: Path, modified: int, size: int) -> Compared:
    return compare_runs([RunFolder(path)])


def compare_runs(
    folders: Sequence[RunFolder], *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 1
) -> Compared:
    """Every pair of models of ``folders``, of whichever runs, that predict the same events.

    For ``resamples``, ``confidence`` and ``seed`` see ``paired_differences``. Models of several runs are named
    ``run/model``. Raises ResultsError where a folder is not that of a run, UsageError for settings that cannot be.
    """
    found: list[Comparison] = []
    marks: dict[str, str] = {}
    legend: list[str] = []
    cautions: list[str] = []
    scored = [entry for entry in entries(folders) if entry.results[0].comparison]
    reasons = _apart(scored)
    for group in by_key(scored, lambda one: (one.results[0].comparison, kind_of_number(one.results[0]), one.size)):
        usable, sums = _usable(group, reasons)
        if len(usable) < 2:
            continue
        result = paired_differences(
            np.stack([one.nats for parts in sums for one in parts]),
            sums[0][0].events,
            models=np.repeat(np.arange(len(usable)), [len(parts) for parts in sums]),
            resamples=resamples,
            confidence=confidence,
            seed=seed,
        )
        order = sorted(range(len(usable)), key=lambda model: result.values[model])
        found += _pairs(usable, sums, result, order)
        given = compact_letters(result.differ, order, skip=len(set("".join(marks.values()))))
        marks.update((label, given[number]) for number, entry in enumerate(usable) for label in entry.labels)
        legend.append(_legend(usable, result))
        cautions += _cautions(usable, result)
    return Compared(tuple(found), marks, tuple(dict.fromkeys(legend)), tuple(dict.fromkeys(cautions)), tuple(reasons))


def entries(folders: Sequence[RunFolder]) -> list[Entry]:
    """The models of the runs, seeds together; with several runs each name says of which."""
    runs = [folder.path.resolve().name or str(folder.path) for folder in folders]
    if len(set(runs)) < len(runs):
        runs = [str(folder.path) for folder in folders]
    found = []
    for run, folder in zip(runs, folders, strict=True):
        prefix = f"{run}/" if len(folders) > 1 else ""
        corpus = folder.read_facts().get("corpus") or {}
        line = str(corpus.get("line", ""))
        whole = ((corpus.get("splits") or {}).get("train") or {}).get("events")
        for group in by_key(folder.read_results(), lambda one: (one.model, one.comparison, one.train_tokens)):
            labels = tuple(prefix + result.label for result in group)
            sized, model = prefix + group[0].sized, prefix + group[0].model
            size = group[0].train_tokens if group[0].train_tokens != whole else None
            found.append(Entry(folder, sized, tuple(group), labels, line, model, size))
    return found


def by_key(items: Iterable[Item], key: Callable[[Item], Any]) -> list[list[Item]]:
    """The items, apart by ``key``, in the order in which they come."""
    apart: dict[Any, list[Item]] = {}
    for item in items:
        apart.setdefault(key(item), []).append(item)
    return list(apart.values())


def _apart(scored: Sequence[Entry]) -> list[str]:
    """Why some models are compared with some others only: one sentence for each group after the first."""
    groups = by_key(scored, lambda entry: entry.results[0].comparison)
    told = []
    for group in groups[1:]:
        one, other = groups[0][0], group[0]
        parts = differing_parts(one.results[0], other.results[0], (one.line, other.line))
        told.append(
            f"{names_of(group)} cannot be compared with {names_of(groups[0])}: the events differ in {'; '.join(parts)}."
        )
    sizes = by_key(scored, lambda entry: (entry.results[0].comparison, entry.size))
    if len(folders := {entry.folder.path for entry in scored}) > 1 and len(sizes) > len(groups):
        told.append(f"Models of these {len(folders)} runs are compared where they were trained on as much text.")
    return told


def _usable(group: Sequence[Entry], reasons: list[str]) -> tuple[list[Entry], list[list[SegmentSums]]]:
    """The models of the group that can be compared, with their sums; for the others a sentence more in ``reasons``."""
    kind = kind_of_number(group[0].results[0])
    if kind is None:
        reasons.append(f"{names_of(group)} gives scores that are no distribution: their loss is compared with nothing.")
        return [], []
    usable: list[Entry] = []
    sums: list[list[SegmentSums]] = []
    for entry in group:
        try:
            read = [entry.folder.read_scores(result) for result in entry.results]
        except ResultsError as error:
            reasons.append(f"{entry.name} is not compared: {error}")
            continue
        if not all(np.isfinite(one.nats).all() for one in read):
            reasons.append(impossible(entry))
        elif len(read[0].events) < 2:
            reasons.append(f"{entry.name} is not compared: the text is a single segment, which tells no variance.")
        elif sums and not all(np.array_equal(sums[0][0].events, one.events) for one in read):
            reasons.append(f"{entry.name} is not compared with {usable[0].name}: the text is cut into other segments.")
        else:
            usable.append(entry)
            sums.append(read)
    if kind != "perplexity" and usable:
        words = (
            "learns from the text it is asked about" if kind.startswith("adaptive") else "reads both sides of a word"
        )
        reasons.append(f"Compared with their like only, as what {words}: {names_of(usable)}.")
    return usable, sums


def _pairs(
    usable: Sequence[Entry], sums: Sequence[Sequence[SegmentSums]], result: PairedDifferences, order: Sequence[int]
) -> Iterator[Comparison]:
    """The pairs of one group in bits per event, the best models first."""
    lossless = [entry.results[0].bits_per_character is not None for entry in usable]
    events, characters = int(sums[0][0].events.sum()), int(sums[0][0].characters.sum())
    about = describe_events(usable[0].results[0])
    for one, other in combinations(order, 2):
        pair = pair_of(result, usable, (one, other), about, "bits per event", 1 / LN2)
        both = lossless[one] and lossless[other] and characters
        yield replace(pair, events_per_character=events / characters if both else None)


def pair_of(
    result: PairedDifferences, models: Sequence[Entry], pair: tuple[int, int], about: str, measure: str, unit: float = 1
) -> Comparison:
    """The pair of models with these two numbers in ``result``, whose ratios are multiplied with ``unit``."""
    one, other = pair
    return Comparison(
        about=about,
        measure=measure,
        first=models[one].name,
        second=models[other].name,
        first_value=float(result.values[one]) * unit,
        second_value=float(result.values[other]) * unit,
        difference=float(result.difference[one, other]) * unit,
        low=float(result.low[one, other]) * unit,
        high=float(result.high[one, other]) * unit,
        p=float(result.p[one, other]),
        adjusted=float(result.adjusted[one, other]),
        confidence=result.confidence,
        test="seeds and segments" if result.seeds[one] > 1 or result.seeds[other] > 1 else "permutation",
        segments=result.segments,
        seeds=(int(result.seeds[one]), int(result.seeds[other])),
    )


def corrected(pairs: Sequence[Comparison]) -> list[Comparison]:
    """The pairs with their p adjusted by Holm for being these and no others."""
    adjusted = holm([pair.p for pair in pairs])
    return [replace(pair, adjusted=float(p)) for pair, p in zip(pairs, adjusted, strict=True)]


def _legend(usable: Sequence[Entry], result: PairedDifferences) -> str:
    """What the letters of a group mean."""
    kind, pairs = kind_of_number(usable[0].results[0]), len(usable) * (len(usable) - 1) // 2
    return (
        f"alike: models with the same letter are not distinguishable by {kind} on this text ({result.segments:,} "
        f"segments, {_tests(result)}, {pairs} {'pairs' if pairs > 1 else 'pair'} corrected by Holm, "
        f"{100 * (1 - result.confidence):.3g} % level). lmbench compare tells by how much they differ."
    )


def _tests(result: PairedDifferences) -> str:
    """Where the p-values of a group come from."""
    single = int((result.seeds == 1).sum())
    tests = ["paired permutation test"] if single > 1 else []
    tests += ["Student's t over seeds and segments for models of several seeds"] if single < len(result.seeds) else []
    return " or ".join(tests)


def _cautions(usable: Sequence[Entry], result: PairedDifferences) -> list[str]:
    """How far the comparison of a group may be trusted, and what it is about."""
    told = []
    if result.few:
        told.append(
            f"The text has few segments, or some much larger than others ({result.effective:.0f} effective ones): "
            "intervals of differences may be too narrow."
        )
    single = [entry.model for entry in usable if len(entry.results) == 1 and entry.results[0].seed is not None]
    if single:
        told.append(
            f"One training stands for {', '.join(single)}: other seeds would give other numbers (--seeds 3 tells)."
        )
    several = [entry.model for entry in usable if len(entry.results) > 1]
    if several:
        told.append(
            f"Compared by their mean over seeds, with the variance between seeds beside that of the text: "
            f"{', '.join(several)}."
        )
    return told


def impossible(entry: Entry) -> str:
    """Why a model is compared with nothing although it was scored."""
    return f"{entry.name} gives a token of the text probability 0: every other model is better."


def names_of(group: Sequence[Entry]) -> str:
    """The models of a group, all of them while they are few."""
    names = [entry.name for entry in group]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"
