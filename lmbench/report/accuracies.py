"""The candidates of runs -> which models choose the right one more often: every pair, by McNemar's test.

Models are compared where they ranked the same candidate sets in the same way (by total or by token log probability),
in whichever run. Several seeds of a model are compared by their mean, with the variance between them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from lmbench.benchmark.results import RunFolder
from lmbench.errors import ResultsError
from lmbench.report.comparison import (
    CONFIDENCE,
    RESAMPLES,
    Comparison,
    Entry,
    by_key,
    corrected,
    entries,
    names_of,
    pair_of,
)
from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.significance import mcnemar

Credits = dict[tuple[str, ...], tuple[str, np.ndarray]]
"""(model, seed, training size) as written in candidates.csv -> what it ranked, as a checksum, and its credit for each
set, (S,)."""


def compare_accuracies(
    folders: Sequence[RunFolder], *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 1
) -> tuple[list[Comparison], list[str]]:
    """Pairs of models that ranked the same candidates, the better first, and what was not compared, and why.

    The difference is that of the shares of sets whose right candidate leads, ties counting in part as in the table;
    its interval is from a paired bootstrap over sets. p is McNemar's, exact, where both models have one seed. Raises
    ResultsError where a folder is not that of a run.
    """
    credits = {folder.path: read_credits(folder) for folder in folders}
    ranked: list[tuple[Entry, str, list[np.ndarray]]] = []
    missing: dict[Path, list[str]] = {}
    for entry in entries(folders):
        keys = [tuple("" if part is None else str(part) for part in result.key) for result in entry.results]
        known = [found for key in keys if (found := credits[entry.folder.path].get(key)) is not None]
        if len(known) == len(keys) and len({kind for kind, _ in known}) == 1 and len(known[0][1]) > 1:
            ranked.append((entry, known[0][0] + entry.results[0].ranking_by, [values for _, values in known]))
        elif entry.results[0].ranking_accuracy is not None:
            missing.setdefault(entry.folder.candidates, []).append(entry.name)
    reasons = [
        f"Rankings of {', '.join(names)} are not compared: they are not in {path}." for path, names in missing.items()
    ]
    groups = by_key(ranked, lambda one: one[1])
    reasons += [
        f"The rankings of {names_of([one[0] for one in group])} cannot be compared with those of "
        f"{names_of([one[0] for one in groups[0]])}: other candidates, or another order (total, token)."
        for group in groups[1:]
    ]
    groups = by_key(ranked, lambda one: (one[1], one[0].size))
    pairs = [pair for group in groups if len(group) > 1 for pair in _pairs(group, resamples, confidence, seed)]
    return pairs, reasons


def read_credits(folder: RunFolder) -> Credits:
    """What each model of a run is credited with for each candidate set that has an answer, in the order of the sets.

    1 where the right candidate leads alone, 1 / (m + 1) where it leads with m others, 0 else. Raises ResultsError where
    the file is damaged.
    """
    ranked: dict[tuple[str, ...], list[tuple[int, int, str, float, str]]] = {}
    try:
        for model, seed, number, _, candidate, answer, place, _, _, _, text, *size in folder.read_candidates():
            key = (model, seed, *(size or [""]))
            ranked.setdefault(key, []).append((int(number), int(candidate), answer, float(place), text))
    except ValueError as error:
        raise ResultsError(
            f"{folder.candidates} cannot be read: {error}. Restore it, or delete it to compare without the rankings."
        ) from None
    return {key: _credits(sorted(rows)) for key, rows in ranked.items()}


def _credits(rows: Sequence[tuple[int, int, str, float, str]]) -> tuple[str, np.ndarray]:
    """The checksum of (set, candidate, answer, place, text) without the places, and the credit for each set."""
    checksum = hashlib.sha256()
    places: dict[int, list[float]] = {}
    right: dict[int, float] = {}
    for number, candidate, answer, place, text in rows:
        checksum.update(f"{number}\t{candidate}\t{answer}\t{text}\n".encode())
        places.setdefault(number, []).append(place)
        if answer == "1":
            right[number] = place
    credits = [float(place == min(places[n])) / places[n].count(place) for n, place in right.items()]
    return checksum.hexdigest(), np.array(credits)


def _pairs(
    group: Sequence[tuple[Entry, str, list[np.ndarray]]], resamples: int, confidence: float, seed: int
) -> list[Comparison]:
    """Every pair of models that ranked the same, the better first."""
    credits = [values for _, _, values in group]
    rows = np.stack([one for values in credits for one in values])
    owners = np.repeat(np.arange(len(group)), [len(values) for values in credits])
    result = paired_differences(
        rows, np.ones(rows.shape[1]), models=owners, resamples=resamples, confidence=confidence, seed=seed
    )
    order = sorted(range(len(group)), key=lambda model: -result.values[model])
    per = {"token": " per token", "total": ""}.get(by := group[0][0].results[0].ranking_by, f" ({by})")
    about = f"{rows.shape[1]:,} candidate sets, ranked by log probability{per}"
    models = [entry for entry, _, _ in group]
    pairs = []
    for one, other in combinations(order, 2):
        pair = pair_of(result, models, (one, other), about, "ranking accuracy")
        if max(pair.seeds) == 1:
            exact = mcnemar(credits[one][0], credits[other][0])
            pair = replace(pair, p=exact.p, test=f"McNemar ({exact.ahead} against {exact.behind})")
        pairs.append(pair)
    return corrected(pairs)
