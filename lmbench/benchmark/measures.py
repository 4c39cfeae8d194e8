"""``Scores`` and ``Ranking`` -> the numbers of one ``Result``, and the rows of its files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from lmbench.benchmark.results import Result
from lmbench.scoring import metrics
from lmbench.scoring.scorer import Scores
from lmbench.scoring.significance import Interval, bootstrap_perplexity
from lmbench.tasks.ranking import Ranking


def with_scores(result: Result, test: Scores, valid: Scores, seconds: float, source: Result | None) -> Result:
    """``result`` and what the scores say. ``seconds``: what scoring the test split took; ``source``: the result
    of the corpus' own source, where it has one."""
    summary = metrics.summary(test)
    interval = bootstrap_perplexity(test.nats, test.events) if test.normalized else None
    signature = replace(test.signature, train=result.train_tokens)
    result = replace(
        result,
        perplexity=summary["perplexity"],
        **_ends("adaptive_perplexity" if test.adapts else "perplexity", interval),
        bits_per_character=summary["bits_per_character"],
        bits_per_byte=summary["bits_per_byte"],
        events=summary["events"],
        unknown_rate=summary["unknown_rate"],
        score_tokens_per_second=summary["events"] / seconds if seconds else None,
        signature=str(signature),
        nats_per_event=summary["nats_per_event"],
        adaptive_perplexity=summary["adaptive_perplexity"],
        pseudo_perplexity=summary["pseudo_perplexity"],
        valid_perplexity=metrics.perplexity(valid),
        measured=_alike(result, {"test": test, "valid": valid}),
        comparison=hashlib.sha256(repr(test.signature.comparable).encode()).hexdigest()[:8],
        details={
            **result.details,
            "signature": dataclasses.asdict(signature),
            "test": {**summary, "perplexity_without_unknowns": metrics.perplexity_without_unknowns(test)},
            "valid": metrics.summary(valid),
        },
    )
    return replace(result, excess_over_source=_excess(result, result if result.kind == "source" else source))


def with_ranking(result: Result, ranking: Ranking) -> Result:
    """``result`` and what the ranking says; accuracies only where answers are given."""
    result = replace(result, ranking_by=ranking.by, details={**result.details, "ranking": ranking.summary()})
    overall = ranking.overall
    if overall is None:
        return result
    return replace(
        result,
        ranking_accuracy=overall.accuracy,
        mean_reciprocal_rank=overall.mean_reciprocal_rank,
        ranking_sets=overall.sets,
        ranking_low=overall.interval.low,
        ranking_high=overall.interval.high,
    )


def candidate_rows(ranking: Ranking) -> Iterator[tuple[Any, ...]]:
    """Rows of ``candidates.csv`` after model and seed: set by set, the best candidate first."""
    for number, candidate_set in enumerate(ranking.sets):
        for placed in ranking.ordered(number):
            answer = None if placed.answer is None else int(placed.answer)
            yield (
                number, candidate_set.phenomenon, placed.number, answer, placed.place,
                placed.log_prob, placed.per_token, placed.events, placed.text,
            )  # fmt: skip


def headline(result: Result) -> str:
    """One line for the log: what the model reached on the test split.

    >>> headline(Result("uniform", None, perplexity=100.0, events=1000))
    'test perplexity 100.00 over 1,000 events'
    """
    if result.pseudo_perplexity is not None:
        return f"test pseudo-perplexity {result.pseudo_perplexity:,.2f} (no distribution) over {result.events:,} events"
    name = "perplexity" if result.adaptive_perplexity is None else "adaptive_perplexity"
    value, low, high = (getattr(result, name + end) for end in ("", "_low", "_high"))
    interval = f" ({low:,.2f} to {high:,.2f})" if low is not None and high is not None else ""
    return f"test {name.replace('_', ' ')} {value:,.2f}{interval} over {result.events:,} events"


def _alike(result: Result, splits: Mapping[str, Scores]) -> float | None:
    """What was measured in the unit and on the split of the published figure; None where there is none, or no
    distribution."""
    published = result.details.get("published")
    if published is None or not all(scores.normalized for scores in splits.values()):
        return None
    asked = [splits[name] for name in published["split"].split("+")]
    nats = sum(map(metrics.total_nats, asked)) / sum(map(metrics.total_events, asked))
    return nats if published["unit"] == "nats" else metrics.exp(nats)


def _ends(name: str, interval: Interval | None) -> dict[str, Any]:
    """The fields that hold the ends of the interval of the number called ``name``."""
    return {} if interval is None else {f"{name}_low": interval.low, f"{name}_high": interval.high}


def _excess(result: Result, source: Result | None) -> float | None:
    """Nats per event above the source, where both are distributions over the same events."""
    if source is None or source.comparison != result.comparison:
        return None
    mine, best = (r.nats_per_event if r.perplexity is not None else None for r in (result, source))
    return None if mine is None or best is None else mine - best
