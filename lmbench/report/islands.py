"""What a run kept of its held-out text -> the JSON in the page, from which its script shows sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from markupsafe import Markup

from lmbench.report.breakdowns import TokenScores, most_different

CHARACTERS = 90
"""Of a sentence in the list of sentences."""
SHOWN = 4
"""Most different sentences of a pair, each way ..."""
MOST_MODELS = 16
"""... of these, the best models: there are as many pairs as the square of it, and each has its own sentences."""


def island(content: Any) -> Markup:
    """``content`` as JSON that may stand in a ``<script>``: nothing in it can end the element or begin a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def reader(kept: Mapping[str, Any] | None, labels: Sequence[str], separator: str) -> dict[str, Any] | None:
    """``reader.json`` in half the bytes: alternatives are numbers of ``types``, and numbers have few digits.

    ``labels``: the models that have a place in the report, in its order. ``separator``: what stands between tokens in a
    text. ``pieces``: whether tokens of some model are pieces of words. Infinite nats are null. None where nothing is
    kept.
    """
    if not kept or not kept.get("sentences"):
        return None
    known = [label for label in labels if kept["models"].get(label)]
    if not known:
        return None
    types: dict[str, int] = {}
    models = [[_entry(entry, types) for entry in kept["models"][label]] for label in known]
    sentences = [{**_pieces(one), "text": excerpt(one["tokens"], separator)} for one in kept["sentences"]]
    pieces = any("words" in one for row in (sentences, *models) for one in row)
    return {"labels": known, "sentences": sentences, "models": models, "types": list(types), "pieces": pieces}


def different(scores: TokenScores | None, labels: Sequence[str]) -> dict[str, Any] | None:
    """The sentences on which any two of ``labels``, best first, differ most, with the nats per token of all of them.

    Each pair finds its own among them; ``left_out``: who has no part in it. None unless two
    models were scored token by token.
    """
    known = [label for label in labels if scores and label in scores.labels][:MOST_MODELS]
    left_out = [label for label in labels if label not in known]
    if scores is None or len(known) < 2:
        return None
    rows = [scores.labels.index(label) for label in known]
    chosen: dict[int, str] = {}
    for one, other in combinations(known, 2):
        for found in most_different(scores, one, other, n=SHOWN):
            chosen.update((difference.passage, difference.text) for difference in found)
    sentences = [
        {"text": text, "nats": _rounded(scores.passage_nats[rows, passage].tolist())}
        for passage, text in sorted(chosen.items())
    ]
    return {"labels": known, "sentences": sentences, "shown": SHOWN, "left_out": left_out} if sentences else None


def _entry(entry: Mapping[str, Any], types: dict[str, int]) -> dict[str, Any]:
    """One sentence under one model; ``types`` grows by what is new."""
    found: dict[str, Any] = {"nats": _rounded(entry["nats"])}
    if entry.get("tokens"):
        found |= _pieces(entry)
    if entry.get("rank"):
        found["rank"] = entry["rank"]
    if entry.get("entropy"):
        found["entropy"] = _rounded(entry["entropy"])
    if entry.get("top"):
        found["top"] = [
            [[types.setdefault(written, len(types)), float(f"{share:.3g}")] for written, share in alternatives]
            for alternatives in entry["top"]
        ]
    return found


def _pieces(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Its tokens, and the words that they are pieces of, if they are."""
    return {name: entry[name] for name in ("tokens", "words", "starts") if entry.get(name)}


def _rounded(numbers: Sequence[float]) -> list[float | None]:
    return [round(number, 3) if math.isfinite(number) else None for number in numbers]


def excerpt(tokens: Sequence[str], separator: str) -> str:
    """The beginning of a sentence on one line.

    >>> excerpt(["the", "cat", "</s>"], " ")
    'the cat'
    """
    line = " ".join(separator.join(token for token in tokens if token != "</s>").split())
    return line if len(line) <= CHARACTERS else line[: CHARACTERS - 1].rstrip() + "…"
