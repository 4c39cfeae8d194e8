"""Folders of runs -> who is better than whom: every pair of models, with interval, p and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.kept import note
from lmbench.cli.tables import json_line, print_rows

if TYPE_CHECKING:
    from lmbench.report.comparison import Comparison

FORMS = ("auto", "text", "csv", "md", "jsonl")
HEADINGS = {"bits per event": "bits/event", "bits per character": "bits/char", "ranking accuracy": "ranking %"}
"""Measure -> what stands above the differences."""


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="auto",
    show_default=True,
    help="How the pairs are written; auto: drawn on a terminal, plain text in a pipe.",
)
@click.option(
    "--confidence", type=float, default=0.95, show_default=True, help="Of the intervals, and of the verdicts."
)
@click.option(
    "--resamples", type=int, default=10_000, show_default=True, metavar="N", help="Draws of segments, and of signs."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the draws.")
def compare(runs: tuple[str, ...], form: str, confidence: float, resamples: int, seed: int) -> None:
    """Which models of RUN... differ, by how much, and how sure that is.

    Every pair of models that predict the same events is compared, of one run or of several: the difference of bits per
    event, first minus second, with its interval (paired bootstrap over sentences, or blocks where text runs on), the
    p-value of a paired permutation test, and that corrected for all pairs (Holm), which decides. Models with other
    tokens of the same text are compared by bits per character, those that ranked the same candidates by how often they
    were right (McNemar). What cannot be compared is told, and why.

    \b
    lmbench compare results/my-run
    lmbench compare results/ptb results/ptb-counts --format csv
    """
    from lmbench.benchmark.results import RunFolder
    from lmbench.errors import ResultsError
    from lmbench.report.accuracies import compare_accuracies
    from lmbench.report.characters import compare_characters
    from lmbench.report.comparison import compare_runs

    folders = [RunFolder(run) for run in dict.fromkeys(runs)]
    settings: dict[str, Any] = {"resamples": resamples, "confidence": confidence, "seed": seed}
    losses = compare_runs(folders, **settings)
    others = [compare(folders, **settings) for compare in (compare_characters, compare_accuracies)]
    pairs = [*losses.pairs, *(pair for found, _ in others for pair in found)]
    told = list(dict.fromkeys([*losses.reasons, *(reason for _, reasons in others for reason in reasons)]))
    if not pairs:
        why = " ".join(told) or "There are fewer than two scored models."
        raise ResultsError(f"Nothing in {', '.join(runs)} can be compared. {why}")
    _print(pairs, form)
    for text in [*losses.cautions, *told]:
        note(text)


def _print(pairs: Sequence[Comparison], form: str) -> None:
    """The pairs: all numbers in one list for programs, a table for each text and measure for the eye."""
    if form == "jsonl":
        for pair in pairs:
            click.echo(json_line(_full(pair)))
        return
    if form == "csv":
        print_rows([_full(pair) for pair in pairs], form)
        return
    tables: dict[tuple[str, str], list[Comparison]] = {}
    for pair in pairs:
        tables.setdefault((pair.about, pair.measure), []).append(pair)
    for number, ((about, measure), mine) in enumerate(tables.items()):
        click.echo(f"{chr(10) if number else ''}{about}; {measure}, first minus second\n")
        print_rows(list(_rows(mine)), form)


def _rows(pairs: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    """One table for the eye."""
    for pair in pairs:
        scale, decimals = (100, 1) if pair.measure == "ranking accuracy" else (1, 4)
        low, high = (f"{scale * end:.{decimals}f}" for end in (pair.low, pair.high))
        yield {
            "first": pair.first,
            "second": pair.second,
            HEADINGS[pair.measure]: f"{scale * pair.difference:+.{decimals}f}",
            f"{100 * pair.confidence:g} % interval": f"{low} to {high}",
            "p": _small(pair.p),
            "adjusted p": _small(pair.adjusted),
            "test": pair.test if pair.test != "permutation" else None,
            "seeds": f"{pair.seeds[0]} and {pair.seeds[1]}" if max(pair.seeds) > 1 else None,
            "verdict": pair.verdict,
        }


def _small(p: float) -> str:
    """A p-value for the eye.

    >>> _small(0.04321), _small(3e-20)
    ('0.0432', '< 0.0001')
    """
    return f"{p:.4f}" if p >= 0.00005 else "< 0.0001"


def _full(pair: Comparison) -> dict[str, Any]:
    """Every number of a pair, by name; bits per character where they are lawful."""
    factor = 1.0 if pair.measure == "bits per character" else pair.events_per_character
    per_character = [None if factor is None else factor * value for value in (pair.difference, pair.low, pair.high)]
    names = ("difference_per_character", "low_per_character", "high_per_character")
    return {
        "about": pair.about,
        "measure": pair.measure,
        "first": pair.first,
        "second": pair.second,
        "first_value": pair.first_value,
        "second_value": pair.second_value,
        "difference": pair.difference,
        "low": pair.low,
        "high": pair.high,
        **dict(zip(names, per_character, strict=True)),
        "p": pair.p,
        "adjusted_p": pair.adjusted,
        "confidence": pair.confidence,
        "test": pair.test,
        "segments": pair.segments,
        "first_seeds": pair.seeds[0],
        "second_seeds": pair.seeds[1],
        "verdict": pair.verdict,
    }
