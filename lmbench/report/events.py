"""Two results -> why their perplexities may not be compared: which part of what they predict differs.

Two perplexities stand in one ranking only where the same events are predicted: the same text and split, cut into the
same tokens of the same vocabulary, sentence ends counted alike; and where both are the same kind of number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmbench.benchmark.results import Result


def differing_parts(one: Result, other: Result, lines: Sequence[str] = ("", "")) -> list[str]:
    """The parts of two signatures that differ, each with both values; empty where the events are the same.

    ``lines``: what a line is in each corpus, ``sentence`` or ``text``, where that is known: it decides whether the ends
    of lines are events of their own.
    """
    if one.comparison == other.comparison:
        return []
    first, second = (_signature(result) for result in (one, other))
    parts = [
        ("text", "corpus_sha256", lambda s: f"{s['corpus']}@{s['corpus_sha256'][:7]}"),
        ("split", "split", lambda s: s["split"]),
        ("tokenizer", "unit", lambda s: s["unit"]),
        ("vocabulary", "vocabulary_sha256", lambda s: f"{s['vocabulary']:,} types@{s['vocabulary_sha256'][:4]}"),
    ]
    told = [
        f"{name} ({write(first)} and {write(second)})"
        for name, key, write in parts
        if key in first and key in second and first[key] != second[key]
    ]
    if all(lines) and lines[0] != lines[1]:
        words = {"sentence": "an event", "text": "no event, text runs on"}
        told.append(f"end of sentence ({words.get(lines[0], lines[0])}; {words.get(lines[1], lines[1])})")
    if not told and first.get("events_sha256") != second.get("events_sha256"):
        told.append(f"tokens ({first.get('events', 0):,} and {second.get('events', 0):,} events, or others)")
    return told or [f"signature ({one.signature} and {other.signature})"]


def describe_events(result: Result) -> str:
    """What a result predicts, in words."""
    signature = _signature(result)
    if not signature:
        return result.signature
    return (
        f"{signature['corpus']}, {signature['split']} split, {signature['unit']} tokens: "
        f"{signature['events']:,} events, {signature['unknown_rate']:.1%} <unk>, "
        f"vocabulary of {signature['vocabulary']:,}"
    )


def kind_of_number(result: Result) -> str | None:
    """``perplexity``, ``adaptive perplexity`` or ``pseudo-perplexity``; None for scores that are like nothing else.

    Only numbers of a kind are compared. A model that reads both sides is like others that do; a score that is no
    distribution though it reads the left alone, as stupid backoff is, has no scale.
    """
    if result.perplexity is not None:
        return "perplexity"
    if result.adaptive_perplexity is not None:
        return "adaptive perplexity"
    return "pseudo-perplexity" if _signature(result).get("reads") == "both" else None


def _signature(result: Result) -> dict[str, Any]:
    return result.details.get("signature") or {}
