"""Runs with different tokens -> who predicts the same text better: every pair of models in bits per character.

Models that cut one text into different tokens predict different events, and no perplexity of theirs may be compared.
The probability of the text may, where the tokens give it back and hide nothing: its bits over the same characters.
What is drawn are whole sentences or documents, since the tokens of two models share no other boundaries.
"""

from __future__ import annotations

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
        if len({entry.results[0].comparison for entry in group}) > 1:
            found, reason = _compare(group, resamples, confidence, seed)
            pairs += found
            reasons += [reason] if reason else []
    return pairs, reasons


def _compare(
    group: Sequence[Entry], resamples: int, confidence: float, seed: int
) -> tuple[list[Comparison], str | None]:
    """The pairs of one text whose tokens differ; a sentence where there can be none."""
    try:
        sums = [[entry.folder.read_scores(result) for result in entry.results] for entry in group]
    except ResultsError as error:
        return [], f"Bits per character of {names_of(group)} are not compared: {error}"
    characters = sums[0][0].characters
    if len(characters) < 2 or not all(np.array_equal(s.characters, characters) for seeds in sums for s in seeds):
        why = (
            "the text is a single document" if len(characters) < 2 else "their sentences or documents are not the same"
        )
        return [], f"Bits per character of {names_of(group)} are not compared: {why}."
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
    return corrected(pairs), None


def _unit_nats(sums: SegmentSums) -> np.ndarray:
    """float64 (U,): nats of each sentence or document."""
    return np.bincount(sums.units, sums.nats, minlength=len(sums.characters))


def _text(entry: Entry) -> tuple[str, str]:
    signature = entry.results[0].details["signature"]
    return signature["corpus_sha256"], signature["split"]
