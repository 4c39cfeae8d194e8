"""Kept models + lines of text -> the log probability of every line, as the lines come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.tables import json_line

if TYPE_CHECKING:
    import numpy as np

    from lmbench.corpus.batches import Tokens
    from lmbench.models.base import LanguageModel

FORMATS = ("table", "tsv", "jsonl")


@dataclass(frozen=True)
class Row:
    """One line under one model. ``tokens``: written form and ln p of each, the boundary included. ``orders``: how many
    words the n-gram had that gave each its probability, 0 for an unknown word; None where a model has no such thing."""

    line: int
    model: str
    text: str
    unknowns: int
    tokens: tuple[tuple[str, float], ...]
    orders: tuple[int, ...] | None = None

    @property
    def log_prob(self) -> float:
        return sum(value for _, value in self.tokens)


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... [FILE|-]")
@click.option("--per-token", is_flag=True, help="One row for each token.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are written."
)
def score(arguments: tuple[str, ...], per_token: bool, form: str) -> None:
    """Log probability (natural logarithm) of every line of FILE, or of standard input, as it comes in.

    Each line is a sentence: its end is an event that counts. A line that no model can read (not UTF-8, </s> as
    a word) is reported on standard error with its number; the others go on, and the exit status is 2.

    With --per-token, n-gram models also say how long the n-gram was that they found: 3-gram, 2-gram, 1-gram, or OOV for
    an unknown word (tsv and jsonl: 3, 2, 1, 0).

    \b
    echo "the cat sat" | lmbench score results/run
    lmbench score results/run/models/gpt text.txt --per-token --format tsv
    """
    from lmbench.cli.kept import load_models, models_and_file, note, open_text
    from lmbench.cli.lines import arriving_lines, decode
    from lmbench.errors import CorpusError

    folders, name = models_and_file(arguments)
    models = load_models(folders)
    tokenizers = [model.tokenizer for model in models.values()]
    totals = dict.fromkeys(models, (0.0, 0))
    bad, lines, width = 0, 0, max(map(len, models))
    with open_text(name) as file:
        if form != "jsonl":
            click.echo(_heading(form, per_token, width))
        for group in arriving_lines(file):
            good = []
            for number, content in group:
                try:
                    text = " ".join(decode(content).split())
                    for tokenizer in tokenizers:
                        tokenizer.encode([text])
                    good.append((number, text))
                except (ValueError, CorpusError) as error:
                    bad += 1
                    note(f"line {number} of {'standard input' if name == '-' else name} is left out: {error}")
            lines += len(good)
            written: list[str] = []
            for row in _score(models, good, per_token):
                nats, events = totals[row.model]
                totals[row.model] = nats - row.log_prob, events + len(row.tokens)
                written += _written(row, form, per_token, width)
            if written:
                click.echo("\n".join(written))
    _summarise(models, totals, lines, bad)
    if bad:
        raise click.exceptions.Exit(2)


def _score(models: dict[str, LanguageModel], lines: list[tuple[int, str]], with_orders: bool) -> Iterator[Row]:
    """The rows of these lines, line by line, under each model."""
    from lmbench.scoring.scorer import score as score_text

    if not lines:
        return
    scored = {name: score_text(model, [text for _, text in lines]) for name, model in models.items()}
    ends = {name: scores.events.cumsum() for name, scores in scored.items()}
    orders = {name: _orders(models[name], scores.tokens) for name, scores in scored.items()} if with_orders else {}
    for index, (number, text) in enumerate(lines):
        for name, scores in scored.items():
            last = int(ends[name][index])
            first = last - int(scores.events[index])
            written = models[name].tokenizer.tokens(scores.tokens.ids[first + 1 : last + 1])
            values = (-scores.token_nats[first:last]).tolist()
            found = orders.get(name)
            lengths = None if found is None else tuple(found[first:last].tolist())
            tokens = tuple(zip(written, values, strict=True))
            yield Row(number, name, text, int(scores.unknowns[index]), tokens, lengths)


def _orders(model: LanguageModel, tokens: Tokens) -> np.ndarray | None:
    """int (events,): the length of the n-gram that each token was found in, 0 if unknown; None for other models."""
    if not hasattr(model, "orders"):
        return None
    from lmbench.corpus.batches import Batch

    batch = Batch.of(tokens.rows())
    found = model.orders(batch)[batch.targets]
    found[tokens.ids[1:] == model.tokenizer.vocabulary.unknown] = 0
    return found


def _heading(form: str, per_token: bool, width: int) -> str:
    names = ("position", "token", "log_prob", "order") if per_token else ("log_prob", "tokens", "unknowns", "text")
    if form == "tsv":
        return "\t".join(("line", "model", *names))
    if per_token:
        return f"{'line':>6}  {'model':<{width}}  {'position':>8}  {'log_prob':>10}  {'found':>7}  token"
    return f"{'line':>6}  {'model':<{width}}  {'log_prob':>10}  {'tokens':>6}  {'unknowns':>8}  text"


def _written(row: Row, form: str, per_token: bool, width: int) -> Iterator[str]:
    """The row in its form: one line, or one for each token."""
    if form == "jsonl":
        content: dict[str, Any] = {
            "line": row.line,
            "model": row.model,
            "log_prob": row.log_prob,
            "tokens": len(row.tokens),
            "unknowns": row.unknowns,
            "text": row.text,
        }
        if per_token:
            content["token_log_probs"] = row.tokens
            content["token_orders"] = row.orders
        yield json_line(content)
    elif per_token:
        orders = row.orders or (None,) * len(row.tokens)
        for position, ((token, value), order) in enumerate(zip(row.tokens, orders, strict=True), 1):
            if form == "tsv":
                number = "" if order is None else order
                yield f"{row.line}\t{row.model}\t{position}\t{plain(token)}\t{value:.6f}\t{number}"
            else:
                found = "" if order is None else f"{order}-gram" if order else "OOV"
                yield (
                    f"{row.line:>6}  {row.model:<{width}}  {position:>8}  {value:>10.4f}  {found:>7}  {plain(token)}"
                )
    elif form == "tsv":
        yield f"{row.line}\t{row.model}\t{row.log_prob:.6f}\t{len(row.tokens)}\t{row.unknowns}\t{row.text}"
    else:
        yield (
            f"{row.line:>6}  {row.model:<{width}}  {row.log_prob:>10.4f}  {len(row.tokens):>6}  "
            f"{row.unknowns:>8}  {row.text}"
        )


def plain(token: str) -> str:
    """A token that is itself white space, written so that it shows and breaks no column."""
    return token if token.strip() == token and token else repr(token)


def _summarise(models: dict[str, LanguageModel], totals: dict[str, tuple[float, int]], lines: int, bad: int) -> None:
    """What it comes to, on standard error. ``totals``: nats and events under each model."""
    from lmbench.cli.kept import note
    from lmbench.cli.tables import written
    from lmbench.scoring.metrics import exp

    if not lines:
        note("There was no line to score." if not bad else "No line could be scored.")
        return
    figures = "".join(
        f"; {_measure(models[name])} of {name}: {written(exp(nats / events))}"
        for name, (nats, events) in totals.items()
    )
    note(f"{lines} line{'s' * (lines != 1)} scored" + (f", {bad} left out" if bad else "") + figures)


def _measure(model: LanguageModel) -> str:
    """What exp(nats / events) is called."""
    return "perplexity" if model.normalized and model.reads == "left" else "pseudo-perplexity"
