"""Runs with different tokens -> who predicts the same text better: every pair of models in bits per character.

Models that cut one text into different tokens predict different events, and no perplexity of theirs may be compared.
The probability of the text may, where the tokens give it back and hide nothing: its bits over the same characters.
What is drawn are whole sentences or documents, since the tokens of two models share no other boundaries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from lmbench.benchmark.results import RunFolder, SegmentSums
from lmbench.errors import ResultsError
from lmbench.report.comparison import (
    CONFIDENCE,
    RESAMPLES,
    Comparison,
    Entry,
    by_key,
    corrected,
    entries,
    impossible,
    names_of,
    pair_of,
)
from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.metrics import LN2


def compare_characters(
    folders: Sequence[RunFolder], *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE, seed: int = 1
) -> tuple[list[Comparison], list[str]]:
    """Pairs of models of the same text and split whose tokens differ, the better first; and why some are left out.

    Pairs with the same tokens are those of ``compare_runs``. Raises ResultsError where a folder is not that of a run.
    """
    lawful = [e for e in entries(folders) if all(r.bits_per_character is not None for r in e.results)]
    pairs: list[Comparison] = []
    reasons: list[str] = []
    for group in by_key(lawful, _text):
        if _kinds_of_events(group) > 1:
            pairs += _compare(group, reasons, resamples, confidence, seed)
    return pairs, reasons


def _compare(
    models: Sequence[Entry], reasons: list[str], resamples: int, confidence: float, seed: int
) -> list[Comparison]:
    """The pairs of one text whose tokens differ; where there can be none, a sentence more in ``reasons``."""
    group: list[Entry] = []
    sums: list[list[SegmentSums]] = []
    for entry in models:
        if not all(math.isfinite(result.bits_per_character or 0.0) for result in entry.results):
            reasons.append(impossible(entry))
            continue
        try:
            read = [entry.folder.read_scores(result) for result in entry.results]
        except ResultsError as error:
            reasons.append(f"{entry.name} is not compared: {error}")
            continue
        group.append(entry)
        sums.append(read)
    if _kinds_of_events(group) < 2:
        return []
    characters = sums[0][0].characters
    if len(characters) < 2 or not all(np.array_equal(s.characters, characters) for seeds in sums for s in seeds):
        why = (
            "the text is a single document" if len(characters) < 2 else "their sentences or documents are not the same"
        )
        reasons.append(f"Bits per character of {names_of(group)} are not compared: {why}.")
        return []
    result = paired_differences(
        np.stack([_unit_nats(s) for seeds in sums for s in seeds]),
        characters,
        models=np.repeat(np.arange(len(group)), [len(seeds) for seeds in sums]),
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    signature = group[0].results[0].details["signature"]
    about = f"{signature['corpus']}, {signature['split']} split, whatever the tokens: {characters.sum():,} characters"
    order = sorted(range(len(group)), key=lambda model: result.values[model])
    pairs = [
        pair_of(result, group, pair, about, "bits per character", 1 / LN2)
        for pair in combinations(order, 2)
        if len({group[model].results[0].comparison for model in pair}) > 1
    ]
    return corrected(pairs)


def _kinds_of_events(group: Sequence[Entry]) -> int:
    """How many different lists of events the models predict."""
    return len({entry.results[0].comparison for entry in group})


def _unit_nats(sums: SegmentSums) -> np.ndarray:
    """float64 (U,): nats of each sentence or document."""
    return np.bincount(sums.units, sums.nats, minlength=len(sums.characters))


def _text(entry: Entry) -> tuple[str, str, int | None]:
    """What both must have been asked, and how much both must have read before."""
    signature = entry.results[0].details["signature"]
    return signature["corpus_sha256"], signature["split"], entry.size
