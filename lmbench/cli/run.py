"""Models + a corpus -> one table, and a folder with everything that is behind it."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.launch import launch_options
from lmbench.cli.options import (
    corpus_option,
    line_option,
    spelling_option,
    tensorboard_option,
    tokenizer_option,
    tokens_option,
    watching,
)
from lmbench.cli.tables import format_option

if TYPE_CHECKING:
    from lmbench.benchmark.recipe import Recipe

MODELS = "ngram,lstm,gpt"
RESULTS = Path("results")


@click.command()
@click.option("--models", metavar="LIST", help=f"Models, separated by commas.  [default: {MODELS}]")
@corpus_option()
@tokenizer_option
@click.option("--budget", help="Training of each model: 60s, 5m, 2000steps, 5epochs.  [default: 60s]")
@click.option("--seeds", type=int, metavar="N", help="Train each model N times.  [default: 1]")
@click.option("--seed", type=int, help="The first seed.  [default: 1]")
@click.option("--candidates", metavar="FILE|FOLDER", help="Lists of sentences to rank; see lmbench rank --help.")
@spelling_option()
@click.option(
    "--context",
    type=click.Choice(["auto", "sentence", "stream"]),
    help="Where history starts in scoring: at each boundary, or never.  [default: auto, as each model was made for]",
)
@click.option("--device", help="cpu, cuda, cuda:1, mps, or auto for the best there is.  [default: auto]")
@tokens_option
@line_option
@click.option(
    "--train-sizes",
    metavar="LIST",
    help="Train each model on so many tokens of the training split: 1e4,100k,1m,full.  [default: full]",
)
@click.option(
    "--recipe",
    "recipe_name",
    metavar="NAME|FILE",
    help="A paper's experiment that comes with lmbench, or a TOML file with these settings; options go before it.",
)
@click.option("--out", metavar="DIR", help="Folder of the results.  [default: results/DATE-CORPUS-MODELS]")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or with the last one of this recipe.")
@tensorboard_option
@format_option
@launch_options
def run(
    recipe_name: str | None, out: str | None, resume: bool, tensorboard: str | None, form: str, **given: Any
) -> None:
    """Train several models on one corpus, score and rank with each, and compare them in one table.

    \b
    lmbench run
    lmbench run --models ngram:order=5,lstm:hidden=256 --corpus my.txt --budget 5m --seeds 3
    lmbench run --out results/mine --resume
    lmbench run --out results/mine --resume --models ngram,lstm,gpt,mingru
    lmbench run --models ngram,gpt --corpus my.txt --train-sizes 1e4,3e4,1e5,full
    lmbench run --recipe zaremba-small

    Exit status 1 tells that some model failed; the table has the others.
    """
    from lmbench import run as run_recipe
    from lmbench.cli.kept import note
    from lmbench.cli.progress import Display, command_again
    from lmbench.cli.report import print_run

    recipe = _recipe(recipe_name, out if resume else None, given)
    folder = _folder(recipe, out, resume)
    try:
        with Display() as display, watching(display, tensorboard) as watcher:
            done = run_recipe(recipe, folder, resume=resume, progress=watcher)
    except KeyboardInterrupt:
        again = command_again(click.get_current_context(), "--resume", *([] if out else ["--out", str(folder)]))
        raise KeyboardInterrupt(_interrupted(folder, again)) from None
    print_run(done.results, folder, form)
    note(f"Everything that is behind this table is in {folder}; the page to open is {folder / 'report.html'}")
    note(f"Put sentences of your own in order: lmbench rank {shlex.quote(str(folder))} sentences.txt")
    if done.failed:
        raise click.exceptions.Exit(1)


def _recipe(recipe_name: str | None, resumed: str | None, given: dict[str, Any]) -> Recipe:
    """What to run: the options that were given, over the named recipe or that of the resumed run, over the defaults."""
    from lmbench.benchmark.recipe import Recipe
    from lmbench.cli.kept import note

    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen.get("context") == "auto":
        del chosen["context"]
    kept = Path(resumed) / "recipe.toml" if resumed else None
    if recipe_name is None and kept is not None and kept.is_file():
        recipe_name = str(kept)
    if recipe_name is not None:
        recipe = Recipe.read(recipe_name)
        changed = recipe.changed(**chosen)
        if recipe.published and not changed.published:
            note("What was published is left out: this run is of other models or text than the recipe's.")
        if recipe.budgets and not changed.budgets and changed.budget != recipe.budget:
            note(f"No model has a budget of its own, as in the recipe: all have {changed.budget}.")
        return changed
    return Recipe(**{"models": MODELS, **chosen})


def _folder(recipe: Recipe, out: str | None, resume: bool) -> Path:
    """The folder of the run: the one that was named, the last one of this recipe, or a new one."""
    if out is not None:
        return Path(out)
    if resume:
        return _last_run(recipe)
    from lmbench import specification

    families = [[specification.parse(part)[0] for part in specification.parts(model)] for _, model in recipe.named]
    names = dict.fromkeys("+".join(parts) for parts in families)
    name = "-".join([time.strftime("%Y-%m-%d"), Path(recipe.corpus).stem, *names])[:80]
    number = 1
    while (folder := RESULTS / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def _last_run(recipe: Recipe) -> Path:
    """The youngest folder in results/ that holds a run of ``recipe``."""
    from lmbench.benchmark.recipe import Recipe
    from lmbench.errors import LmbenchError, UsageError

    kept = sorted(RESULTS.glob("*/recipe.toml"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept:
        with contextlib.suppress(LmbenchError):  # the recipe of another version, or of a model that is no more
            if Recipe.read(path) == recipe:
                return path.parent
    raise UsageError(
        f"There is no run of this recipe in {RESULTS.resolve()} to go on with. Name its folder: --out DIR --resume."
    )


def _interrupted(folder: Path, again: str) -> str:
    """What an interrupted run leaves, and how it goes on."""
    if not (folder / "recipe.toml").exists():
        return f"Interrupted before anything was trained. Start again: {again.removesuffix(' --resume')}"
    return (
        f"Interrupted. Finished models, and the state of the one in training, are kept in {folder}. Go on with: {again}"
    )
