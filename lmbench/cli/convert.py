"""A kept model -> an ARPA file; an ARPA or KenLM file -> a kept model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lmbench.models.base import LanguageModel

ENDINGS = (".arpa", ".arpa.gz", ".lm", ".lm.gz")
"""What the name of an ARPA file ends in."""


@click.command()
@click.argument("source")
@click.argument("target")
@click.option(
    "--vocabulary", metavar="FILE", help="The words of a KenLM binary that does not list them, one a line, or its ARPA."
)
@click.option("--kenlm", is_flag=True, help="Keep an ARPA file as it is, and score with KenLM's own module.")
def convert(source: str, target: str, vocabulary: str | None, kenlm: bool) -> None:
    """Write a kept n-gram model as an ARPA file, or keep an ARPA or KenLM file as a model.

    What SOURCE is decides: a folder becomes the file TARGET (.arpa or .arpa.gz), a file becomes the folder TARGET,
    which score, eval, rank and generate take like any other. Nothing is overwritten.

    \b
    lmbench convert models/kn5 kn5.arpa.gz
    lmbench convert srilm.arpa.gz models/srilm
    lmbench convert kenlm.binary models/kenlm
    """
    from lmbench.errors import ModelError, UsageError

    if Path(source).is_dir():
        if vocabulary or kenlm:
            raise UsageError(
                f"--{'vocabulary' if vocabulary else 'kenlm'} belongs to a file that becomes a model, but {source} is "
                "a folder, whose n-grams are written as ARPA. Leave it out."
            )
        _write(source, Path(target))
    elif Path(source).exists():
        _keep(Path(source), Path(target), vocabulary, kenlm)
    else:
        raise ModelError(
            f"There is no {source}. Name the folder of a kept n-gram model, or an ARPA or KenLM file to be kept as one."
        )


def _write(source: str, target: Path) -> None:
    from lmbench.cli.kept import load_one, note
    from lmbench.errors import ResultsError, UsageError
    from lmbench.models.ngram.arpa.writing import write_arpa

    if not target.name.endswith(ENDINGS):
        raise UsageError(
            f"{target} does not say what to write. {source} is a folder, so its n-grams become an ARPA file: name it "
            f"{target.name}.arpa, or {target.name}.arpa.gz to compress it."
        )
    if target.exists():
        raise ResultsError(f"{target} is there already. Name another file, or delete it.")
    if not target.absolute().parent.is_dir():
        raise ResultsError(f"There is no folder {target.parent} to write {target.name} into. Make it first.")
    model = load_one(source)
    counts = write_arpa(target, model)
    if not model.normalized:
        note(f"The scores of {source} do not sum to one, and other programs will take them for probabilities.")
    if model.tokenizer.kind not in ("word", "char"):
        note(
            f"The words in {target} are the tokens of {model.tokenizer.spec}: a text must be split into them before it "
            "is scored with this file, by whatever program."
        )
    orders = " + ".join(f"{count:,}" for count in counts)
    click.echo(f"{target}: {sum(counts):,} n-grams ({orders}), {target.stat().st_size / 1e6:,.1f} MB")


def _keep(source: Path, target: Path, vocabulary: str | None, kenlm: bool) -> None:
    from lmbench.cli.kept import note
    from lmbench.errors import ResultsError, UsageError
    from lmbench.models.kenlm import is_binary
    from lmbench.models.ngram.arpa.reading import read_arpa

    if target.name.endswith(ENDINGS):
        raise UsageError(
            f"{source} is a file, so it becomes the folder of a kept model, but {target} has the name of an ARPA file. "
            "Name a folder; to write an ARPA file, name the folder of a kept model first."
        )
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ResultsError(f"{target} is there already. Name a new folder, or delete it.")
    model: LanguageModel
    if kenlm or is_binary(source):
        model = _through_kenlm(source, vocabulary)
    elif vocabulary:
        raise UsageError(f"{source} is an ARPA file, which lists its words itself. Leave --vocabulary out.")
    else:
        model = read_arpa(source, note)
    model.save(target)
    size = f", V = {len(model.tokenizer.vocabulary):,}" if len(model.tokenizer.vocabulary) > 2 else ""
    click.echo(f"{target}: {model.kind}, order {(model.max_context or 0) + 1}{size}, {model.parameters:,} n-grams")


def _through_kenlm(source: Path, vocabulary: str | None) -> LanguageModel:
    """The model of KenLM's module; its words from ``vocabulary``, or else from ``source`` where that lists them."""
    from lmbench.cli.kept import note
    from lmbench.models.kenlm import KenLM, listed_words, words_in
    from lmbench.models.ngram.arpa.words import written

    words = listed_words(vocabulary) if vocabulary else words_in(source)
    model = KenLM(source, words)
    if words is None:
        note(
            f"{source} does not list its words: it scores and ranks text, but cannot predict or generate the next "
            "word. Name them with --vocabulary FILE for that."
        )
        return model
    unknown = set(words) - set(map(written, model.tokenizer.vocabulary.types)) - {"<s>"}
    if unknown:
        some = ", ".join(sorted(unknown)[:3])
        note(f"{len(unknown):,} words of {vocabulary} are unknown to {source} and left out, such as {some}.")
    if not model.normalized:
        note(f"The probabilities in {source} do not sum to 1 (is it quantized?), so no perplexity of it is ranked.")
    return model
