"""Kept models + lists of candidates -> each list with the most plausible first, and how often the right one leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.tables import json_line

if TYPE_CHECKING:
    from lmbench.corpus.text import Line
    from lmbench.tasks.ranking import Accuracy, CandidateSet, Order, Ranking

FORMATS = ("table", "tsv", "jsonl")
COLUMNS = ("model", "set", "place", "log_prob", "log_prob_per_token", "tokens", "answer", "text")


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... [FILE|-]")
@click.option(
    "--by",
    type=click.Choice(["total", "token"]),
    default="total",
    show_default=True,
    help="What decides: the log probability of the whole sentence, or that per token.",
)
@click.option(
    "--line",
    type=click.Choice(["sentence", "text"]),
    default="sentence",
    show_default=True,
    help="What a line was to the models in training.",
)
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How it is written."
)
def rank(arguments: tuple[str, ...], by: Order, line: Line, form: str) -> None:
    """Put the candidates of FILE, or of standard input, in order: the most plausible first.

    FILE holds JSON lines such as {"candidates": ["the dogs bark", "the dogs barks"], "answer": 0}, where the
    answer may be left out, or plain sentences with a blank line between two lists.

    \b
    printf 'the dogs bark\\nthe dogs barks\\n' | lmbench rank results/run
    lmbench rank models/a models/b pairs.jsonl --format tsv
    """
    from lmbench.cli.kept import load_models, models_and_file
    from lmbench.tasks.ranking import rank as put_in_order

    folders, name = models_and_file(arguments)
    sets = _sets(name)
    accuracies = []
    if form == "tsv":
        click.echo("\t".join(COLUMNS))
    for model_name, model in load_models(folders).items():
        ranking = put_in_order(model, sets, by=by, line=line)
        if form == "table":
            click.echo(model_name)
        for row in _rows(model_name, ranking):
            click.echo(_written(row, form))
        if ranking.overall:
            accuracies.append(f"{model_name}: {_accuracy(ranking.overall)}")
    for text in accuracies:
        click.echo(text, err=form != "table")


def _sets(name: str) -> list[CandidateSet]:
    """The candidate sets of the file called ``name``, or of standard input."""
    from lmbench.cli.kept import open_text
    from lmbench.errors import UsageError
    from lmbench.tasks.candidates import parse_candidates, read_candidates

    if name != "-":
        return read_candidates(name)
    with open_text(name) as file:
        content = file.read()
    try:
        return parse_candidates(content.decode("utf-8-sig"), "standard input")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"Standard input is not UTF-8 text: line {line}, byte 0x{content[error.start]:02x}.") from None


def _rows(model: str, ranking: Ranking) -> Iterator[dict[str, Any]]:
    for number in range(len(ranking)):
        for placed in ranking.ordered(number):
            values = (placed.place, placed.log_prob, placed.per_token, placed.events, placed.answer, placed.text)
            yield dict(zip(COLUMNS, (model, number + 1, *values), strict=True))


def _written(row: dict[str, Any], form: str) -> str:
    if form == "jsonl":
        return json_line(row)
    row = {**row, "text": " ".join(row["text"].split())}  # white space in a candidate must break no row
    mark = {None: "", True: "right", False: "wrong"}[row["answer"]]
    if form == "tsv":
        shown = {**row, "answer": mark, "place": f"{row['place']:g}"}
        shown |= {key: f"{row[key]:.6f}" for key in ("log_prob", "log_prob_per_token")}
        return "\t".join(str(value) for value in shown.values())
    opening = f"{row['set']:>6}" if row["place"] < 2 else " " * 6
    per_token = row["log_prob_per_token"]
    return f"{opening}  {row['place']:>4g}  {row['log_prob']:>10.4f}  {per_token:>8.4f}  {mark:<5}  {row['text']}"


def _accuracy(overall: Accuracy) -> str:
    """How often the right one leads, in words."""
    low, high = overall.interval
    return (
        f"the right candidate leads in {overall.correct:g} of {overall.sets} "
        f"({overall.accuracy:.1%}, 95 % interval {low:.1%} to {high:.1%}), "
        f"mean reciprocal rank {overall.mean_reciprocal_rank:.3f}"
    )
