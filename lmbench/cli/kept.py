"""Folders on the command line -> kept models, loaded; text on the command line -> lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from lmbench.errors import CorpusError, ModelError, UsageError

if TYPE_CHECKING:
    from lmbench.models.base import LanguageModel


def find_models(directories: Iterable[str | Path]) -> dict[str, Path]:
    """Name -> folder of every model in ``directories``: the folder of one, kept or pretrained, or that of a run.

    A model is named after its folder; where two would share a name, both are named by their paths.
    Raises ModelError where a folder holds none.
    """
    found: list[Path] = []
    for directory in map(Path, directories):
        if not directory.is_dir():
            raise ModelError(f"{directory} is not a folder. Name one that lmbench train or lmbench run wrote.")
        if any((directory / name).is_file() for name in ("model.json", "config.json")):
            here = [directory]
        else:
            here = sorted(path.parent for path in (directory / "models").glob("*/model.json"))
        if not here:
            raise ModelError(
                f"{directory} holds no kept model: neither model.json nor models/*/model.json is in it, nor the "
                "config.json of a pretrained one. Name a folder that lmbench train, lmbench run or transformers wrote."
            )
        found += [path for path in here if path not in found]
    names = [path.resolve().name for path in found]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, found, strict=True)}


def load_models(directories: Iterable[str | Path]) -> dict[str, LanguageModel]:
    """The models kept in ``directories``, by name. See ``find_models``."""
    from lmbench.models import registry

    models = {name: registry.load(path) for name, path in find_models(directories).items()}
    for name, model in models.items():
        note_source(name, model)
    return models


def note_source(name: str, model: LanguageModel) -> None:
    """Say what a model is that nobody asked for: the grammar of a sampled corpus."""
    if model.kind == "source":
        note(f"{name} is the grammar that the corpus was sampled from: what it cannot form is impossible to it.")


def load_one(directory: str | Path) -> LanguageModel:
    """The only model in ``directory``. Raises UsageError where there are several."""
    found = find_models([directory])
    if len(found) > 1:
        paths = ", ".join(str(path) for path in found.values())
        raise UsageError(f"{directory} holds {len(found)} models and one is needed. Name one of: {paths}.")
    return next(iter(load_models([directory]).values()))


def models_and_file(arguments: Sequence[str]) -> tuple[list[str], str]:
    """``DIR... [FILE|-]`` -> the folders, and the file (``-`` where none is named).

    Raises UsageError where no folder is among them, or two are no folders.
    """
    folders = [argument for argument in arguments if Path(argument).is_dir()]
    others = [argument for argument in arguments if argument not in folders]
    for other in others[:-1] or ([] if folders else others):
        raise UsageError(
            f"{other} is not a folder. Name first the folders of kept models, then one file (or - for standard input)."
        )
    if not folders:
        raise UsageError("No kept model is named. Give the folder of one, as lmbench train or lmbench run wrote it.")
    return folders, others[0] if others else "-"


@contextmanager
def open_text(name: str) -> Iterator[BinaryIO]:
    """The bytes of the file called ``name``, or standard input for ``-``. Raises CorpusError where it is missing."""
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = open(name, "rb")  # noqa: SIM115 - closed below, once it is known to have opened
    except OSError as error:
        raise CorpusError(
            f"{name} cannot be read: {error.strerror}. Name a text file, or - for standard input."
        ) from None
    with file:
        yield file


def standard_input() -> str:
    """All text of standard input. Raises CorpusError, with the place, for what is no UTF-8 text."""
    from lmbench.corpus.reading import decoded

    return decoded(sys.stdin.buffer.read(), Path("standard input"))


def note(text: str) -> None:
    """One line on standard error."""
    click.echo(text, err=True)
