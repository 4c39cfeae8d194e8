"""One model + one corpus -> a folder with the trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.launch import launch_options
from lmbench.cli.options import (
    corpus_option,
    device_option,
    line_option,
    tensorboard_option,
    tokenizer_option,
    tokens_option,
    watching,
)

if TYPE_CHECKING:
    from lmbench.corpus.streaming import StreamedCorpus
    from lmbench.corpus.text import Line
    from lmbench.scoring.scorer import Scores


@click.command()
@click.argument("model")
@corpus_option(required=True)
@click.option("--out", required=True, metavar="DIR", help="Folder in which the model is kept.")
@tokenizer_option
@click.option(
    "--budget", default="60s", show_default=True, help="Seconds, steps or epochs: 60s, 5m, 2000steps, 5epochs."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the first weights and all that is drawn.")
@device_option
@tokens_option
@line_option
@click.option(
    "--memory",
    metavar="SIZE",
    help="How much memory an ngram may take, such as 2G. Its counts then lie in files in DIR, and a corpus that is one "
    "file is read a block at a time, so it may be larger than memory.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was cut off.")
@tensorboard_option
@launch_options
@click.pass_context
def train(
    context: click.Context,
    model: str,
    corpus: str,
    out: str,
    tokenizer: str | None,
    budget: str,
    seed: int,
    device: str,
    tokens: int | None,
    line: Line | None,
    memory: str | None,
    resume: bool,
    tensorboard: str | None,
) -> None:
    """Train MODEL on a corpus and keep it in a folder; print what it cost and reached.

    \b
    lmbench train ngram:order=5 --corpus ptb --out models/kn5
    lmbench train lstm:hidden=256 --corpus my.txt --tokenizer char --budget 10m --out models/lstm
    lmbench train ngram:order=5 --corpus large.txt.gz --memory 2G --out models/large
    """
    from lmbench.cli.kept import note
    from lmbench.cli.options import open_corpus
    from lmbench.cli.progress import Display, command_again
    from lmbench.cli.tables import print_rows
    from lmbench.corpus.streaming import StreamedCorpus
    from lmbench.errors import UsageError
    from lmbench.models import registry
    from lmbench.scoring.scorer import score
    from lmbench.training.budget import Budget
    from lmbench.training.checkpoints import Checkpoints, write_json
    from lmbench.training.distributed import processes

    limit = Budget.parse(budget)
    trained = registry.create(model, {"seed": seed, "device": device, "memory": memory})
    if memory is not None and "+" not in model and not hasattr(trained.config, "memory"):
        raise UsageError(
            f"--memory {memory} limits the counting of ngram, and {trained.kind} has no such limit. Leave it out."
        )
    if memory is not None and not processes().alone:
        raise UsageError("--memory limits one process, and counting is not divided among several. Leave --launch out.")
    directory = prepared(Path(out), resume)
    processes().wait()  # before one of them writes, all have looked
    checkpoints = Checkpoints(directory)
    try:
        text = _streamed(trained, corpus, tokens, line, directory) or open_corpus(corpus, tokens, line)
        data = text.tokenize(tokenizer)
        with Display(trained.kind) as display, watching(display, tensorboard, directory.resolve().name) as watcher:
            report = trained.fit(data.train, data.valid, limit, watcher, checkpoints)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupted(checkpoints, command_again(context, "--resume"))) from None
    trained.save(directory)
    checkpoints.clear()
    write_json(directory / "training.json", {"model": model, "corpus": corpus, "budget": budget, **report.to_dict()})
    valid = score(trained, text.held_out() if isinstance(text, StreamedCorpus) else text, "valid")
    print_rows([_row(model, trained, report, valid)])
    click.echo(f"{model}  {valid.signature}")
    for remark in report.notes:
        note(remark)
    if isinstance(text, StreamedCorpus):
        text.clear()
    note(f"Kept in {directory}")


def _streamed(model: Any, corpus: str, tokens: int | None, line: Line | None, directory: Path) -> StreamedCorpus | None:
    """``corpus`` read block by block, where the memory of ``model`` is limited and it is one file of sentences."""
    from lmbench.cli.kept import note
    from lmbench.corpus.streaming import StreamedCorpus, can_be_streamed

    path = Path(corpus).expanduser()
    if (
        getattr(model.config, "memory", None) is None
        or tokens is not None
        or line == "text"
        or not can_be_streamed(path)
    ):
        return None
    text = StreamedCorpus.open(path, directory / "text")
    note(f"{text.name}: {text.lines:,} lines are read block by block, and split as any one text is.")
    return text


def prepared(directory: Path, resume: bool) -> Path:
    """The folder, made and writable; raises ResultsError where it is in use or cannot be written."""
    from lmbench.errors import ResultsError

    if (directory / "model.json").exists():
        raise ResultsError(f"{directory} holds a trained model already. Name another folder with --out, or delete it.")
    if (directory / "metrics.json").exists() or (directory / "models").is_dir():
        # A model.json of its own would hide the models of the run from score, eval and rank.
        raise ResultsError(f"{directory} holds a run of several models. Name another folder with --out.")
    if _begun(directory) and not resume:
        raise ResultsError(
            f"{directory} holds a training that was cut off. Add --resume to go on with it, or delete the folder."
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink(missing_ok=True)
    except OSError as error:
        raise ResultsError(
            f"Nothing can be written in {directory}: {error.strerror}. Name another folder with --out."
        ) from None
    return directory


def _interrupted(checkpoints: Any, again: str) -> str:
    """What an interrupted training leaves, and how it goes on."""
    folder = checkpoints.directory
    if not (_begun(folder) or any((folder / name).is_dir() for name in ("text", "counting"))):
        return f"Interrupted before there was anything to keep. Start again: {again.removesuffix(' --resume')}"
    return f"Interrupted. The state of the training is kept in {folder}. Go on with: {again}"


def _begun(directory: Path) -> bool:
    """Whether a training that was cut off lies there: a checkpoint, or parts of a mixture that were finished."""
    return any(any(directory.glob(name)) for name in ("checkpoint.safetensors", "part-*/*.*"))


def _row(specification: str, model: Any, report: Any, valid: Scores) -> dict[str, Any]:
    from lmbench.scoring.metrics import adaptive_perplexity, perplexity, pseudo_perplexity

    return {
        "model": specification,
        "valid_perplexity": perplexity(valid),
        "adaptive_valid_perplexity": adaptive_perplexity(valid),
        "pseudo_valid_perplexity": pseudo_perplexity(valid),
        "parameters": model.parameters,
        "steps": report.steps or None,
        "epochs": report.epochs,
        "seconds": report.train_seconds,
        "tokens_per_second": report.tokens_per_second or None,
        "stopped": report.stopped,
    }
