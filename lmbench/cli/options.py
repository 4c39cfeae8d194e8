"""The options that several commands share, and the corpus and tokenizer that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from lmbench.corpus.text import Corpus, Line

Command = TypeVar("Command", bound=Callable[..., Any])

tokens_option = click.option(
    "--tokens", type=int, metavar="N", help="Size of a corpus that is sampled from a grammar (english, chinese)."
)
line_option = click.option(
    "--line",
    type=click.Choice(["sentence", "text"]),
    help="What a line of your own text is: a sentence (default), or mere text that runs on.",
)
trained_line_option = click.option(
    "--line",
    type=click.Choice(["sentence", "text"]),
    default="sentence",
    show_default=True,
    help="What a line was to the models in training.",
)
tokenizer_option = click.option(
    "--tokenizer",
    metavar="SPEC",
    help="word, char, byte or bpe, with settings such as bpe:size=8000; or huggingface:path=FOLDER, that of a "
    "pretrained model. [default: as the corpus is published; word]",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, or auto for the best there is."
)

tensorboard_option = click.option(
    "--tensorboard", metavar="DIR", help="Also write losses, rates and speed there for TensorBoard to draw."
)


def spelling_option(**settings: Any) -> Callable[[Command], Command]:
    """``--spelling``; ``settings`` say what it is otherwise."""
    text = "ptb: candidates in lower case, no punctuation, clitics apart, numbers N, as in the Penn Treebank."
    return click.option("--spelling", type=click.Choice(["given", "ptb"]), help=text, **settings)


def corpus_option(**settings: Any) -> Callable[[Command], Command]:
    """``--corpus``; ``settings`` say whether it must be given, or what it is otherwise."""
    text = "A name (lmbench corpus list), a text file, or a folder of text files."
    return click.option("--corpus", metavar="NAME|PATH", help=text, **settings)


@contextmanager
def watching(display: Any, tensorboard: str | None, name: str = "model") -> Iterator[Any]:
    """``display``, which also writes for TensorBoard where a folder was named for that."""
    from lmbench.training.distributed import processes

    if tensorboard is None or not processes().leads:
        yield display
        return
    from lmbench.training.tensorboard import TensorBoard

    with TensorBoard(tensorboard, display, name) as logs:
        yield logs


def open_corpus(name: str, tokens: int | None = None, line: Line | None = None) -> Corpus:
    """The corpus called ``name`` or made of the file or folder there; its notes go to standard error."""
    from lmbench.cli.kept import note
    from lmbench.corpus.loading import load_corpus

    corpus = load_corpus(name, tokens=tokens, line=line)
    for text in corpus.notes:
        note(f"{corpus.name}: {text}")
    return corpus
