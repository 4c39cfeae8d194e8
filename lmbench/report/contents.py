"""The files of a run -> what the page says in tables and lists: accuracies, samples, published figures, settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.benchmark.results import Result
from lmbench.report.comparison import Compared, Comparison
from lmbench.report.plots import accuracies
from lmbench.report.tables import measured_alike, stated_in

STEPS = 9
"""Shades of the heat tables, those of ``style.css``."""
DIVERSITY = {
    "distinct_1": "distinct words",
    "distinct_2": "distinct pairs",
    "distinct_3": "distinct triples",
    "repetition_4": "repeated 4-grams",
    "self_bleu": "self-BLEU",
}
TESTS = {
    "permutation": "a paired permutation test",
    "McNemar": "McNemar’s exact test",
    "seeds": "a t-test over seeds and segments",
}
"""First word of ``Comparison.test`` -> the test in words."""
Facts = list[tuple[str, str]]


def phenomena(results: Sequence[Result]) -> dict[str, Any] | None:
    """Accuracy of each model in each phenomenon, as a table whose cells are shaded; None where nothing was ranked."""
    found = accuracies(results)
    if not found:
        return None
    labels = [result.label for result in results if any(result.label in row for row in found.values())]
    sets = [row["sets"] for marks in found.values() for row in marks.values() if row.get("sets")]
    each = f"{min(sets):,}" if min(sets) == max(sets) else f"{min(sets):,} to {max(sets):,}"
    return {
        "about": f"Right sentence first, in percent of {each} candidate sets a row, with the 95 % interval.",
        "headings": ["phenomenon", *labels],
        "align": ["left", *["right"] * len(labels)],
        "rows": [(name, [_accuracy(row.get(label)) for label in labels]) for name, row in found.items()],
    }


def _accuracy(row: Mapping[str, float] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    share = row["accuracy"]
    return {
        "text": f"{100 * share:.1f}",
        "interval": f"{100 * row['low']:.0f}–{100 * row['high']:.0f}",
        "step": min(STEPS - 1, max(0, int((share - 0.5) * 2 * STEPS))),
    }


def samples(kept: Mapping[str, Any] | None, results: Sequence[Result]) -> list[dict[str, Any]]:
    """What each model wrote, with how and how varied it is. ``kept``: the content of samples.json."""
    found = []
    for label in (result.label for result in results):
        sample = (kept or {}).get(label)
        if sample and sample.get("texts"):
            settings = ", ".join(f"{name.replace('_', ' ')} {_value(v)}" for name, v in sample["settings"].items())
            known = sample.get("diversity") or {}
            diversity = [
                (words, _value(known[name])) for name, words in DIVERSITY.items() if known.get(name) is not None
            ]
            found.append({"label": label, "settings": settings, "texts": sample["texts"], "diversity": diversity})
    return found


def published(results: Sequence[Result]) -> dict[str, Any] | None:
    """What papers state beside what was measured alike; None where the recipe repeats no paper."""
    rows = []
    for result in results:
        given = result.details.get("published")
        if result.published is not None and given:
            figures = f"{result.published:g}", measured_alike(result)
            rows.append((result.label, *figures, *stated_in(given), given["source"].rstrip(".")))
    if not rows:
        return None
    headings = ("model", "published", "here", "unit", "split", "source")
    align = ("left", "right", "right", "left", "left", "left wrap")
    return {"title": "Published figures", "headings": headings, "align": align, "rows": rows}


def comparisons(marks: Compared, rankings: Sequence[Comparison], others: Sequence[str]) -> dict[str, Any] | None:
    """Every pair of models in bits per event, and in how often they found the right sentence (``rankings``; ``others``:
    what is not told of that, and why); None where no two can be compared."""
    tables = [
        _pairs(pairs, *words, scale)
        for pairs, words, scale in (
            (marks.pairs, ("Perplexity", "bits per event", "segments"), -1.0),
            (rankings, ("Ranking accuracy", "percentage points", "candidate sets"), 100.0),
        )
        if pairs
    ]
    return {"tables": tables, "reasons": [*marks.reasons, *others]} if tables else None


def _pairs(pairs: Sequence[Comparison], title: str, unit: str, drawn: str, scale: float) -> dict[str, Any]:
    """A table of pairs, the better model first. ``scale``: makes a difference in its favour positive, in ``unit``;
    ``drawn``: what the bootstrap draws."""
    decimals = 1 if scale > 1 else 4
    rows = []
    for pair in pairs:
        low, high = sorted((scale * pair.low, scale * pair.high))
        figures = f"{scale * pair.difference:.{decimals}f}", f"{low:.{decimals}f} to {high:.{decimals}f}"
        verdict = "yes" if pair.differ else "no"
        rows.append((pair.first, pair.second, *figures, _p(pair.p), _p(pair.adjusted), verdict))
    segments = {pair.segments for pair in pairs}
    drawn = f"{segments.pop():,} {drawn}" if len(segments) == 1 else f"the {drawn} of the text"
    tests = dict.fromkeys(pair.test.partition(" ")[0] for pair in pairs)
    about = (
        f"By how many {unit} the better model leads, with its {100 * pairs[0].confidence:.0f} % interval (paired "
        f"bootstrap over {drawn}"
        f"{', Student’s where a model has several seeds' if 'seeds' in tests else ''}), and p by "
        f"{' or '.join(TESTS[test] for test in tests)}, alone and corrected for all pairs (Holm)."
    )
    headings = ("better", "worse", unit, "interval", "p", "corrected p", "distinguishable")
    align = ("left", "left", "right", "right", "right", "right", "left")
    return {"title": title, "about": about, "headings": headings, "align": align, "rows": rows}


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def environment(kept: Mapping[str, Any]) -> Facts:
    """Where the run was made. ``kept``: the content of environment.json."""
    found = [
        (name.replace("_", " "), kept.get(name))
        for name in ("lmbench", "git_commit", "python", "platform", "processor")
    ]
    found += [
        ("cores", kept.get("cores")),
        ("vector extensions", ", ".join(kept.get("vector_extensions") or ()) or None),
        ("memory", kept.get("memory_mib") and f"{kept['memory_mib']:,} MiB"),
    ]
    found += [("accelerators", ", ".join(map(str, kept.get("accelerators") or ())) or "none" if kept else None)]
    found += list((kept.get("libraries") or {}).items())
    command = kept.get("command")
    found += [
        ("command", " ".join(["lmbench", *map(str, command[1:])]) if command else None),
        ("begun", kept.get("date")),
    ]
    return [(name, str(value)) for name, value in found if value is not None]


def text(facts: Mapping[str, Any]) -> Facts:
    """What was predicted. ``facts``: metrics.json without the results."""
    corpus, tokenizer = facts.get("corpus") or {}, facts.get("tokenizer") or {}
    candidates = facts.get("candidates") or {}
    found: list[tuple[str, Any]] = [
        ("corpus", corpus.get("name")), ("origin", corpus.get("origin")), ("language", corpus.get("language")),
        ("a line is", corpus.get("line")), ("sha256", corpus.get("sha256")), ("tokenizer", tokenizer.get("spec")),
        ("vocabulary", tokenizer.get("vocabulary")),
    ]  # fmt: skip
    for split, size in (corpus.get("splits") or {}).items():
        found.append((split, f"{size['units']:,} units, {size['events']:,} events, {size['unknowns']:,} unknown"))
    if candidates.get("sets"):
        found.append(("candidates", f"{candidates['sets']:,} sets: {candidates.get('origin', '')}"))
    return [(name, _value(value)) for name, value in found if value not in (None, "")]


def _value(value: Any) -> str:
    """A setting or a figure as a text.

    >>> _value(1.0), _value(0.866667), _value(12000), _value(True)
    ('1', '0.867', '12,000', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else str(value)
    return str(value)
