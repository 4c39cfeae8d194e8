"""Kept models + lines of text -> the log probability of each line, of its tokens or words, as the lines come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from lmbench.cli.layouts import LOG_PROB, Layout, kinds
from lmbench.cli.lines import Item, Reader, input_options
from lmbench.cli.options import trained_line_option

if TYPE_CHECKING:
    from lmbench.corpus.text import Line

FORMATS = ("table", "tsv", "jsonl")


@click.command()
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... [FILE|-]")
@click.option("--per-token", is_flag=True, help="A row for each token: surprisal, rank, entropy.")
@click.option("--per-word", "--words", is_flag=True, help="A row for each word, its tokens gathered.")
@click.option(
    "--base", type=click.Choice(list(LOG_PROB)), default="e", show_default=True, help="Of the logarithms: e, 2 or 10."
)
@click.option("--prefix", metavar="TEXT", help="Read before every line, not scored: ln p(line | TEXT).")
@click.option("--prefix-field", metavar="NAME", help="Column or key that holds such a text for each line.")
@click.option("--wide", is_flag=True, help="Models side by side, in one row.")
@trained_line_option
@input_options
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are written."
)
def score(
    arguments: tuple[str, ...],
    per_token: bool,
    per_word: bool,
    base: str,
    prefix: str | None,
    prefix_field: str | None,
    wide: bool,
    line: Line,
    input_form: str,
    field: str | None,
    strict: bool,
    form: str,
) -> None:
    """Log probability of every line of FILE, or of standard input, as it comes in.

    Each line is a sentence: its end is an event that counts. FILE holds plain text, TSV or JSON lines; their other
    columns and keys are carried along in tsv and jsonl. A line that cannot be read (not UTF-8, </s> as a word) is
    reported on standard error with its number; the others go on, and the exit status is 2.

    per_token and perplexity count the end as a token, per_word as a word, so that models of different tokens can be
    compared. jsonl also names the words a model does not know. With --per-token, n-gram models say how long the n-gram
    was that they found: 3-gram, 2-gram, 1-gram, or OOV for an unknown word (tsv and jsonl: 3, 2, 1, 0).

    --prefix and the line are encoded together, with a space between them unless a Chinese character stands there; the
    space is scored with the line. Where one token reaches across, it is scored as a whole.

    \b
    echo "the cat sat" | lmbench score results/run --wide
    lmbench score results/run/models/gpt text.txt --per-token --format tsv
    lmbench score models/gpt items.tsv --field sentence --prefix-field context --base 2
    """
    from lmbench.cli.answers import NAMED, Answers
    from lmbench.cli.kept import load_models, models_and_file, note, open_text
    from lmbench.errors import UsageError

    if per_token and per_word:
        raise UsageError("--per-token and --per-word do not go together: leave one out.")
    if prefix is not None and prefix_field is not None:
        raise UsageError("--prefix and --prefix-field do not go together: leave one out.")
    folders, name = models_and_file(arguments)
    models = load_models(folders)
    tokenizers = [model.tokenizer for model in models.values()]
    reader = Reader(
        name,
        input_form,
        field,
        prefix_field=prefix_field,
        strict=strict,
        check=lambda texts: [tokenizer.encode(texts) for tokenizer in tokenizers],
    )
    part = "token" if per_token else "word" if per_word else "text"
    answers = Answers(models, part, base, line)
    layout = Layout(kinds(base)[part], form, list(models), wide)
    rows: list[str] = []
    elsewhere: set[str] = set()
    written = False
    apart: list[tuple[int, UsageError]] = []
    with open_text(name) as file:
        begun = reader.form == "text"  # nothing is carried along, so that the heading is known before the first line
        if begun:
            _print(layout.heading())
        for items in reader.groups(file):
            if not items:
                continue
            if not begun:
                layout.rest, begun = list(items[0].rest), True
                _print(layout.heading())
            elsewhere |= _without_column(items, layout, elsewhere)
            for found in answers.lines(items, prefix):
                try:
                    rows += layout.written(found)
                except UsageError as error:
                    if strict:
                        _print(rows)
                        raise
                    apart.append((found.number, error))
                else:
                    written = True
            _print(rows)
            rows = []
    if apart and not written:
        raise apart[0][1]  # not one line fits
    if apart:
        numbers = ", ".join(str(number) for number, _ in apart[:NAMED])
        more = f" and {len(apart) - NAMED} more" if len(apart) > NAMED else ""
        note(f"Scored, and left out of the table: lines {numbers}{more}. {apart[0][1]}")
    answers.summarise(reader.bad)
    if reader.bad or apart:
        raise click.exceptions.Exit(2)


def _without_column(items: Sequence[Item], layout: Layout, told: set[str]) -> set[str]:
    """Keys of JSON that have no column in TSV, since the first line has none of that name; each is told once."""
    from lmbench.cli.kept import note

    if layout.form != "tsv":
        return set()
    found = {name: item.number for item in reversed(items) for name in item.rest if name not in layout.rest}
    for name, number in found.items():
        if name not in told:
            note(
                f"The key '{name}' of line {number} has no column, as the first line lacks it; jsonl carries it along."
            )
    return set(found)


def _print(rows: Iterable[str]) -> None:
    """All at once: each call to the terminal costs as much as many rows."""
    if text := "\n".join(rows):
        click.echo(text)
