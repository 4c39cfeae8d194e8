"""A corpus name -> what it is, what is in it, or the text itself on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.options import line_option, tokenizer_option, tokens_option

if TYPE_CHECKING:
    from lmbench.corpus.catalog import Entry
    from lmbench.corpus.text import Line


@click.group(invoke_without_command=True)
@click.pass_context
def corpus(context: click.Context) -> None:
    """List, show and obtain corpora.

    Folders named in LMBENCH_DATA are looked through for NAME/ first, then the cache (LMBENCH_CACHE, or
    ~/.cache/lmbench).
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@corpus.command("list")
def list_corpora() -> None:
    """The corpora that can be asked for by name, and whether each is on this machine."""
    from lmbench.cli.tables import print_rows
    from lmbench.corpus import catalog, places

    rows: list[dict[str, Any]] = [
        {"name": entry.name, "language": entry.language, "here": _where(entry), "what it is": entry.title}
        for entry in catalog.ENTRIES
    ]
    known = {name for entry in catalog.ENTRIES for name in entry.names}
    rows += [
        {"name": name, "language": "", "here": "yes", "what it is": f"your own: {places.locate(name)}"}
        for name in places.available()
        if name not in known and places.locate(name)
    ]
    print_rows(rows)


@corpus.command()
@click.argument("name")
@tokenizer_option
@tokens_option
@line_option
def show(name: str, tokenizer: str | None, tokens: int | None, line: Line | None) -> None:
    """Sizes, vocabulary, share of unknown words and a sample of the corpus called NAME, or at a path."""
    from lmbench.corpus.describing import describe
    from lmbench.corpus.loading import load_corpus

    text = load_corpus(name, tokens=tokens, line=line)
    click.echo(str(describe(text, tokenizer or text.unit)))


@corpus.command()
@click.argument("name")
@click.option("--from", "source", metavar="PATH", help="Take this file, archive or folder instead of downloading.")
@click.option("--again", is_flag=True, help="Obtain it anew, and hold it against the checksums of the first time.")
def get(name: str, source: str | None, again: bool) -> None:
    """Download the corpus called NAME into the cache, verify it, and print where it is."""
    from lmbench.corpus.download import get as obtain

    with _Bar() as bar:
        folder = obtain(name, Path(source) if source is not None else None, bar.update, again=again)
    click.echo(folder)


class _Bar:
    """Progress of a download: a bar on a terminal, one line a file anywhere else; on standard error."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
            self._bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int | None, name: str) -> None:
        if name not in self._tasks:
            size = f" ({total / 1e6:,.1f} MB)" if total else ""
            self._tasks[name] = self._bar.add_task(name, total=total) if self._bar is not None else None
            if self._bar is None:
                click.echo(f"downloading {name}{size}", err=True)
        if self._bar is not None:
            self._bar.update(self._tasks[name], completed=done, total=total)


def _where(entry: Entry) -> str:
    """Whether the corpus is on this machine, and how it comes there if not."""
    from lmbench.corpus import places

    if entry.made:
        return "made here"
    if places.locate(entry.names) is not None:
        return "yes"
    return "lmbench corpus get" if entry.downloads else "by hand"
