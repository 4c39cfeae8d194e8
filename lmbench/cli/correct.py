"""A kept model + lines of text -> the lines that were probably meant, and what was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lmbench.cli.tables import json_line
from lmbench.errors import counted

if TYPE_CHECKING:
    from lmbench.models.base import LanguageModel
    from lmbench.tasks.confusions import Candidates
    from lmbench.tasks.correction import Correction

FORMATS = ("text", "tsv", "jsonl")
COLUMNS = ("line", "start", "end", "original", "replacement", "nats")
USUAL_ERROR_RATE, CAUTIOUS_ERROR_RATE = 0.01, 0.001


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("name", metavar="[FILE|-]", default="-")
@click.option(
    "--confusions",
    multiple=True,
    metavar="FILE",
    help="Words that are taken for each other, a set a line; may be repeated. [default: those that come with lmbench]",
)
@click.option(
    "--distance",
    type=click.IntRange(0, 2),
    help="Edits by which words of the vocabulary may differ from a word. [default: 1 for models of words, else 0]",
)
@click.option("--all-words", is_flag=True, help="Look for such words beside known words too, not only unknown ones.")
@click.option(
    "--error-rate",
    type=float,
    metavar="P",
    help=f"How probable an edit or a confusion is. [default: {USUAL_ERROR_RATE}; "
    f"with --all-words {CAUTIOUS_ERROR_RATE}]",
)
@click.option("--beam", type=int, default=8, show_default=True, help="Beginnings of a line that are kept.")
@click.option("--strict", is_flag=True, help="Stop at the first line that cannot be read.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="How it is written."
)
def correct(
    directory: str,
    name: str,
    confusions: tuple[str, ...],
    distance: int | None,
    all_words: bool,
    error_rate: float | None,
    beam: int,
    strict: bool,
    form: str,
) -> None:
    """Correct the lines of FILE, or of standard input, as they come in: each is the sentence that was probably meant.

    Tried are the words of confusion sets (their, there, they're; 在, 再) and, for words that the model does not know,
    those of its vocabulary that are an edit away. A change is made where the model gains more by it than the error
    rate charges. All else stays as it was: capitals, punctuation, spaces, unknown words.

    text: the corrected lines, and each change with what it gains (nats) on standard error. tsv: a row a change. jsonl:
    an object a line. A line that cannot be read is reported with its number and left out.

    \b
    echo "they lost there way" | lmbench correct models/kn5
    lmbench correct models/zh text.txt --confusions 形近字.txt --format jsonl
    """
    from lmbench.cli.kept import load_one, note, open_text
    from lmbench.cli.lines import Reader
    from lmbench.tasks.correction import correct as correct_lines

    model = load_one(directory)
    candidates = _candidates(model, confusions, distance, all_words, error_rate)
    correct_lines(model, [], candidates, beam=beam)  # refuses what cannot be before anything is read
    lines, changed, changes = 0, 0, 0
    reader = Reader(name, "text", strict=strict, check=model.tokenizer.encode, verbatim=True)
    if form == "tsv":
        click.echo("\t".join(COLUMNS))
    with open_text(name) as file:
        for items in reader.groups(file):
            done = correct_lines(model, [item.text.removesuffix("\r") for item in items], candidates, beam=beam)
            for item, correction in zip(items, done, strict=True):
                _write(item.number, correction, form, ending="\r" if item.text.endswith("\r") else "")
                changed += bool(correction.changes)
                changes += len(correction.changes)
            lines += len(items)
    left_out = f", {reader.bad} left out" if reader.bad else ""
    note(f"{counted(changes, 'change')} in {changed} of {counted(lines, 'line')}{left_out}")
    if reader.bad:
        raise click.exceptions.Exit(2)


def _candidates(
    model: LanguageModel,
    confusions: tuple[str, ...],
    distance: int | None,
    all_words: bool,
    error_rate: float | None,
) -> Candidates:
    """What is tried. Raises UsageError where that is nothing."""
    from lmbench.errors import UsageError
    from lmbench.tasks.confusions import Candidates, read_confusions, reads_words, shipped_confusions

    sets = read_confusions(confusions or [shipped_confusions()])
    edits = int(reads_words(model.tokenizer)) if distance is None else distance
    if not sets and not edits:
        raise UsageError(
            "There is nothing to try: the confusion sets are empty, and no words are looked for (distance 0)."
        )
    if all_words and not edits:
        raise UsageError("--all-words says where words are looked for, and with distance 0 none are. Add --distance 1.")
    rate = error_rate if error_rate is not None else CAUTIOUS_ERROR_RATE if all_words else USUAL_ERROR_RATE
    return Candidates(model.tokenizer, sets, distance=edits, error_rate=rate, all_words=all_words)


def _write(number: int, correction: Correction, form: str, ending: str) -> None:
    """One line, in one of the forms; ``ending``: what stood before the line feed."""
    from lmbench.cli.kept import note

    if form == "jsonl":
        changes = [change._asdict() for change in correction.changes]
        content = {"line": number, "text": correction.text, "corrected": correction.corrected}
        click.echo(json_line({**content, "nats": correction.nats, "changes": changes}))
        return
    if form == "text":
        click.echo(correction.corrected + ending)
    for start, end, original, replacement, nats in correction.changes:
        if form == "tsv":
            click.echo(f"{number}\t{start}\t{end}\t{original}\t{replacement}\t{nats:.4f}")
        else:
            note(f"line {number}: {original} -> {replacement} ({nats:+.2f} nats)")
