"""Kept models + a corpus -> their perplexities, each with its interval and its signature."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

import click

from lmbench.cli.options import corpus_option, line_option, tokens_option
from lmbench.cli.tables import format_option

if TYPE_CHECKING:
    from lmbench.corpus.text import Line
    from lmbench.models.base import Context
    from lmbench.scoring.scorer import Scores


@click.command("eval")
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@corpus_option(required=True)
@click.option("--split", default="test", show_default=True, help="train, valid or test.")
@click.option(
    "--context",
    type=click.Choice(["auto", "sentence", "stream"]),
    default="auto",
    show_default=True,
    help="Where history starts: at each boundary, or never; auto: as each model was made for.",
)
@tokens_option
@line_option
@format_option
def evaluate(
    directories: tuple[str, ...],
    corpus: str,
    split: str,
    context: Context | Literal["auto"],
    tokens: int | None,
    line: Line | None,
    form: str,
) -> None:
    """Perplexity of the models kept in DIR... on one split of a corpus.

    Perplexities stand side by side only where the models predict the same events; the signatures under
    the table say what each number was measured on.

    \b
    lmbench eval results/run --corpus ptb
    lmbench eval models/a models/b --corpus my.txt --split valid --format csv
    """
    from lmbench.cli.kept import load_models, note
    from lmbench.cli.options import open_corpus
    from lmbench.cli.tables import print_rows
    from lmbench.scoring.scorer import score

    text = open_corpus(corpus, tokens, line)
    text.split(split)  # a wrong name is told before the models are loaded
    tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for name, model in load_models(directories).items():
        note(f"{name}: scoring {split} of {text.name}")
        started = time.perf_counter()
        scores = score(model, text, split, context=None if context == "auto" else context)
        row = _row(name, model, scores, time.perf_counter() - started)
        tables.setdefault(scores.signature.comparable, []).append(row)
    for rows in tables.values():
        rows.sort(key=_standing)
    if form == "csv":
        print_rows([row for rows in tables.values() for row in rows], form)
    for rows in tables.values() if form != "csv" else ():
        signatures = [(row["model"], row.pop("signature")) for row in rows]
        print_rows(rows, form)
        for name, signature in signatures:
            click.echo(f"{name}  {signature}")
    if len(tables) > 1:
        note(
            "These models do not predict the same events (see the signatures), so they stand in tables of their own: "
            "perplexities cannot be compared between these; bits per character or byte can, where they are shown."
        )


def _standing(row: dict[str, Any]) -> tuple[int, float]:
    """Sort key: by perplexity; then models that learn from the text itself, then what is no distribution."""
    for place, name in enumerate(("perplexity", "adaptive_perplexity", "pseudo_perplexity")):
        if row[name] is not None:
            return (place, row[name])
    return (3, 0.0)


def _row(name: str, model: Any, scores: Scores, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    from lmbench.scoring import metrics
    from lmbench.scoring.significance import bootstrap_perplexity

    interval = bootstrap_perplexity(scores.nats, scores.events) if scores.normalized else None
    return {
        "model": name,
        "perplexity": metrics.perplexity(scores),
        "low": interval.low if interval and not scores.adapts else None,
        "high": interval.high if interval and not scores.adapts else None,
        "adaptive_perplexity": metrics.adaptive_perplexity(scores),
        "adaptive_low": interval.low if interval and scores.adapts else None,
        "adaptive_high": interval.high if interval and scores.adapts else None,
        "pseudo_perplexity": metrics.pseudo_perplexity(scores),
        "nats_per_event": metrics.nats_per_event(scores),
        "bits_per_character": metrics.bits_per_character(scores),
        "bits_per_byte": metrics.bits_per_byte(scores),
        "events": metrics.total_events(scores),
        "unknown_rate": metrics.unknown_rate(scores),
        "parameters": model.parameters,
        "seconds": seconds,
        "tokens_per_second": metrics.total_events(scores) / seconds,
        "signature": str(scores.signature),
    }
