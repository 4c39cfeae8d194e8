"""A kept model + prompts -> texts, one a line (a blank line between texts that have lines of their own)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lmbench.errors import UsageError

if TYPE_CHECKING:
    from lmbench.models.base import LanguageModel
    from lmbench.tasks.generation import Generated


@click.command()
@click.argument("directory", metavar="DIR")
@click.option("--prompt", metavar="TEXT", help="What each text starts with.")
@click.option("--prompts", "file", metavar="FILE|-", help="A file of prompts, one a line, or standard input.")
@click.option("-n", "count", type=int, default=1, show_default=True, help="How many texts, of each prompt.")
@click.option(
    "--temperature", type=float, default=1.0, show_default=True, help="1 is the model itself, 0 its best guess."
)
@click.option("--top-k", type=int, help="Draw among the k likeliest tokens only.")
@click.option("--top-p", type=float, help="Draw among the fewest tokens that hold this probability.")
@click.option("--min-p", type=float, help="Draw among tokens at least this share as likely as the likeliest.")
@click.option("--beam", type=int, metavar="N", help="Search for the likeliest texts, N side by side; nothing is drawn.")
@click.option(
    "--length-exponent",
    type=float,
    default=1.0,
    show_default=True,
    help="In a beam, log probability / tokens to this power decides; 0: the probability itself.",
)
@click.option("--max-tokens", type=int, default=100, show_default=True, help="New tokens at most.")
@click.option("--stop", multiple=True, metavar="TEXT", help="End a text before this, too; may be given several times.")
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same texts.")
@click.option(
    "--format", "form", type=click.Choice(["text", "jsonl"]), default="text", show_default=True,
    help="jsonl: with log probability, number of tokens, and what ended each text.",
)  # fmt: skip
@click.option("--diversity", "figures", is_flag=True, help="After the texts, how much they repeat.")
@click.option("--strict", is_flag=True, help="Stop at the first prompt that cannot be read.")
def generate(
    directory: str,
    prompt: str | None,
    file: str | None,
    count: int,
    beam: int | None,
    length_exponent: float,
    form: str,
    figures: bool,
    strict: bool,
    **settings: Any,
) -> None:
    """Write text with the model kept in DIR, one text a line.

    \b
    lmbench generate results/run/models/gpt -n 5 --prompt "the old man"
    lmbench generate my-model --temperature 0.7 --min-p 0.1 --stop .
    lmbench generate my-model --beam 5 -n 3 --prompt "the old man"
    lmbench generate my-model --prompts openings.txt -n 10 --format jsonl --diversity
    """
    from lmbench.cli.kept import load_one, note
    from lmbench.cli.tables import json_line

    if prompt is not None and file is not None:
        raise UsageError("--prompt gives one prompt and --prompts a file of them: leave one of the two out.")
    check_text(prompt or "")
    how = _sampling(settings) if beam is None else _beam(beam, length_exponent, settings)
    model = load_one(directory)
    prompts, bad = ([prompt or ""], 0) if file is None else _prompts(file, strict, model)
    unknown = sum(model.tokenizer.encode([text]).unknowns for text in prompts if text)
    if unknown:
        whose = "prompt's" if len(prompts) == 1 else "prompts'"
        note(f"{unknown} of the {whose} tokens are unknown to this model; it reads them as <unk>.")
    texts = _written(model, prompts, count, how)
    if form == "text":
        written = [generated.text for generated in texts]
        click.echo(("\n\n" if any("\n" in text for text in written) else "\n").join(written))
    else:
        for generated in texts:
            score = {} if beam is None else {"score": how.score(generated.log_prob, generated.tokens)}
            click.echo(json_line({**generated._asdict(), **score}))
    if figures:
        click.echo("\n".join(_diversity(texts, form)))
    if bad:
        raise SystemExit(2)


def check_text(prompt: str) -> None:
    """Raise UsageError where the shell handed over bytes that are no text: Python keeps them as lone surrogates."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The prompt is not valid UTF-8 from its character {error.start + 1} on. Write it in UTF-8."
        ) from None


def _sampling(settings: dict[str, Any]) -> Any:
    from lmbench.tasks.generation import Sampling

    return Sampling(**settings)


def _beam(width: int, exponent: float, settings: dict[str, Any]) -> Any:
    """A beam; raises UsageError where something says how to draw."""
    from lmbench.tasks.beam import Beam

    drawing = {"temperature": 1.0, "top_k": None, "top_p": None, "min_p": None}
    given = [f"--{name.replace('_', '-')}" for name, usual in drawing.items() if settings[name] != usual]
    if given:
        raise UsageError(f"--beam draws nothing, so {', '.join(given)} cannot matter. Leave one of the two out.")
    return Beam(settings["max_tokens"], settings["stop"], width, exponent)


def _written(model: LanguageModel, prompts: Sequence[str], count: int, how: Any) -> list[Generated]:
    from lmbench.tasks.beam import Beam, beam_search
    from lmbench.tasks.generation import sample

    return (beam_search if isinstance(how, Beam) else sample)(model, prompts, count, how)


def _prompts(name: str, strict: bool, model: LanguageModel) -> tuple[list[str], int]:
    """The prompts of a file, and how many of its lines cannot be read. Raises UsageError where it holds none."""
    from lmbench.cli.kept import open_text
    from lmbench.cli.lines import Reader

    reader = Reader(name, "text", strict=strict, check=model.tokenizer.encode)
    with open_text(name) as file:
        prompts = [item.text for group in reader.groups(file) for item in group]
    if not prompts:
        raise UsageError(f"{reader.place} holds no prompt. Write one a line; an empty line asks how a text begins.")
    return prompts, reader.bad


def _diversity(texts: Sequence[Generated], form: str) -> Iterable[str]:
    """Figures of what was written after the prompts: a line of JSON, or a paragraph of lines."""
    from lmbench.cli.tables import json_line
    from lmbench.tasks.diversity import diversity

    found = diversity([generated.continuation for generated in texts])
    if form == "jsonl":
        return [json_line({"diversity": found})]
    shown = {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in found.items()}
    return ["", *(f"{key:<14} {'-' if value is None else value}" for key, value in shown.items())]
