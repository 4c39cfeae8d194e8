"""Kept models + prompts -> the likeliest next tokens after each, models side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from lmbench.cli.score import FORMATS

if TYPE_CHECKING:
    from lmbench.tasks.prediction import NextWords

Answers = dict[str, "NextWords"]
"""One prompt: model -> what it says comes next."""


@click.command(name="next")
@click.argument("arguments", nargs=-1, required=True, metavar="DIR... [FILE|-]")
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="What stands before; may be given repeatedly.")
@click.option("-k", type=int, default=10, show_default=True, help="How many next words.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How words are written."
)
def next_words(arguments: tuple[str, ...], prompts: tuple[str, ...], k: int, form: str) -> None:
    """The k likeliest next words after each prompt: --prompt, or else the lines of FILE or standard input.

    Each has its probability, and the sum of this and all likelier ones; the entropy of the whole distribution (in nats)
    says how undecided the model is. An empty prompt asks how a text begins.

    \b
    lmbench next results/run --prompt "the old"
    lmbench next models/kn5 prompts.txt -k 3 --format tsv
    """
    from lmbench.cli.generate import check_text
    from lmbench.cli.kept import load_models, models_and_file, open_text
    from lmbench.cli.lines import Reader
    from lmbench.errors import UsageError
    from lmbench.tasks.prediction import next_words as predict

    folders, name = models_and_file(arguments)
    for prompt in prompts:
        check_text(prompt)
    if prompts and name != "-":
        raise UsageError(f"Prompts are given twice, by --prompt and by {name}. Leave one of them out.")
    models = load_models(folders)
    for model in models.values():
        predict(model, (), k)  # refuses what cannot be before anything is read

    def answer(numbers: Iterable[int], texts: list[str]) -> None:
        columns = [predict(model, texts, k) for model in models.values()]
        for number, row in zip(numbers, zip(*columns, strict=True), strict=True):
            _write(number, dict(zip(models, row, strict=True)), form)

    if form == "tsv":
        click.echo("line\tmodel\trank\ttoken\tprobability\tcumulated\tentropy_nats\tprompt")
    if prompts:
        answer(range(1, len(prompts) + 1), list(prompts))
        return
    tokenizers = [model.tokenizer for model in models.values()]
    reader = Reader(name, "text", check=lambda texts: [one.encode(texts) for one in tokenizers], verbatim=True)
    with open_text(name) as file:
        for items in reader.groups(file):
            answer([item.number for item in items], [item.text for item in items])
    if reader.bad:
        raise click.exceptions.Exit(2)


def _write(number: int, answers: Answers, form: str) -> None:
    """One prompt, in one of the forms."""
    if form == "table":
        _write_table(answers)
        return
    for line in _tsv(number, answers) if form == "tsv" else _jsonl(number, answers):
        click.echo(line)


def _tsv(number: int, answers: Answers) -> Iterator[str]:
    from lmbench.cli.tables import plain

    for model, answer in answers.items():
        entropy = "" if answer.entropy_nats is None else f"{answer.entropy_nats:.6f}"
        prompt = " ".join(answer.prompt.split())
        for rank, word in enumerate(answer.words, 1):
            figures = f"{word.probability:.6g}\t{word.cumulated:.6g}\t{entropy}"
            yield f"{number}\t{model}\t{rank}\t{plain(word.token)}\t{figures}\t{prompt}"


def _jsonl(number: int, answers: Answers) -> Iterator[str]:
    for model, answer in answers.items():
        content = {
            "line": number,
            "model": model,
            "prompt": answer.prompt,
            "entropy_nats": answer.entropy_nats,
            "next": [word._asdict() for word in answer.words],
        }
        yield json.dumps(content, ensure_ascii=False)


def _write_table(answers: Answers) -> None:
    """The prompt, then three columns for each model, and its entropy below them."""
    from lmbench.cli.tables import plain, print_cells, written

    names, cells = ["rank"], [[str(rank)] for rank in range(1, 1 + max(len(a.words) for a in answers.values()))]
    cells.append(["entropy"])
    for model, answer in answers.items():
        names += [model, "probability", "cumulated"]
        for row, word in zip(cells, answer.words, strict=False):
            row += [plain(word.token), f"{word.probability:.4f}", f"{word.cumulated:.4f}"]
        for row in cells[len(answer.words) : -1]:  # a smaller vocabulary
            row += ["", "", ""]
        cells[-1] += ["", written(answer.entropy_nats), ""]
    click.echo(f"{next(iter(answers.values())).prompt.rstrip()} ...")
    print_cells(names, cells, [False, *[True, False, False] * len(answers)], drawn=False)
    click.echo()
