"""Kept models + a corpus -> a kept mixture of them, and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from lmbench.cli.options import corpus_option, line_option, tokens_option
from lmbench.cli.tables import format_option

if TYPE_CHECKING:
    from lmbench.corpus.text import Corpus, Line
    from lmbench.models.base import LanguageModel


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@corpus_option(required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder in which the mixture is kept.")
@click.option(
    "--buckets",
    type=click.Choice(["none", "confidence"]),
    default="none",
    show_default=True,
    help="On what the weights depend: nothing, or what the parts know before they see the word.",
)
@click.option(
    "--mean",
    type=click.Choice(["linear", "power"]),
    default="linear",
    show_default=True,
    help="linear: the weighted sum; power: between sum and product, better for networks, slower.",
)
@tokens_option
@line_option
@format_option
def mix(
    directories: tuple[str, ...],
    corpus: str,
    out: str,
    buckets: Literal["none", "confidence"],
    mean: Literal["linear", "power"],
    tokens: int | None,
    line: Line | None,
    form: str,
) -> None:
    """Mix the models kept in DIR... into one, with the weights that suit the validation split of a corpus best.

    Prints the weight and the validation perplexity of each part, and that of the mixture, which is kept as any other
    model is: score, eval, rank and generate take it.

    \b
    lmbench mix models/lstm models/kn5 --corpus my.txt --out models/mix
    lmbench mix results/run --corpus ptb --buckets confidence --out models/mix
    lmbench mix models/gpt models/lstm --corpus my.txt --mean power --out models/mix
    """
    from lmbench.cli.kept import load_models, note
    from lmbench.cli.options import open_corpus
    from lmbench.cli.tables import print_rows
    from lmbench.cli.train import prepared
    from lmbench.models.mixture import Mixture, MixtureConfig

    parts = load_models(directories)
    mixture = Mixture(MixtureConfig(buckets, mean), list(parts.values()))
    directory = prepared(Path(out), resume=False)
    text = open_corpus(corpus, tokens, line)
    notes, _ = mixture.fit_weights(next(iter(parts.values())).tokenizer.encode(text.valid.units))
    mixture.save(directory)
    rows = [
        _row(name, part, text, weight) for (name, part), weight in zip(parts.items(), mixture.weights[0], strict=True)
    ]
    print_rows([*rows, _row(directory.name, mixture, text, None)], form)
    for told in notes:
        note(told)
    note(f"Kept in {directory}")


def _row(name: str, model: LanguageModel, text: Corpus, weight: float | None) -> dict[str, str | float | None]:
    """One line of the table."""
    from lmbench.scoring.metrics import adaptive_perplexity, perplexity
    from lmbench.scoring.scorer import score

    valid = score(model, text, "valid")
    return {
        "model": name,
        "weight": weight,
        "valid_perplexity": perplexity(valid),
        "adaptive_valid_perplexity": adaptive_perplexity(valid),
        "parameters": model.parameters,
    }
