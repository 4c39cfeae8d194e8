"""A kept n-gram model -> a smaller one, without the n-grams that it misses least."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--threshold", type=float, metavar="T", help="Remove what makes the perplexity grow by at most T, as 1e-7."
)
@click.option("--entries", type=int, metavar="N", help="Keep N n-grams at most, of all orders together.")
@click.option("--out", required=True, metavar="DIR", help="Folder in which the smaller model is kept.")
def prune(directory: str, threshold: float | None, entries: int | None, out: str) -> None:
    """Relative-entropy pruning (Stolcke 1998) of the n-gram model kept in DIR, however it was estimated.

    Needs no counts, so models that came from ARPA files can be pruned too. lmbench eval says what it costs.

    \b
    lmbench prune models/kn5 --entries 500000 --out models/kn5-small
    lmbench prune models/kn5 --threshold 1e-8 --out models/kn5-small
    """
    from lmbench.cli.kept import load_one, note
    from lmbench.cli.train import prepared
    from lmbench.errors import ModelError
    from lmbench.models.ngram.model import NGram
    from lmbench.models.ngram.pruning import prune_by_entropy

    model = load_one(directory)
    if not isinstance(model, NGram):
        raise ModelError(
            f"{directory} holds {model.kind}, which has no n-grams to prune. Name a model of the kind ngram."
        )
    if not model.normalized:
        raise ModelError(f"The scores of {directory} are no probabilities, and entropy is about nothing else.")
    table = prune_by_entropy(model.table, threshold, entries)
    target = prepared(Path(out), False)
    NGram.of(table, model.tokenizer, model.config).save(target)
    sizes = " + ".join(f"{len(grams):,}" for grams in table.orders)
    note(f"{table.entries:,} of {model.table.entries:,} entries stay: {sizes}. Kept in {target}")
