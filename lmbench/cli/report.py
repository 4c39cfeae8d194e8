"""The folder of a run -> its page, tables and plots made anew, and the table on standard output."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmbench.cli.kept import note
from lmbench.cli.tables import format_option, print_cells

if TYPE_CHECKING:
    from lmbench.benchmark.results import Result
    from lmbench.report.tables import Table


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@format_option
def report(runs: tuple[str, ...], form: str) -> None:
    """Rebuild report.html, the tables and the plots of RUN... from the files on disk, and print the table of each.

    The page is one file that needs no network: open it in a browser, send it, print it. A run that is still going on
    may be reported too. Nothing is trained or scored, and torch is not needed.
    """
    from lmbench.benchmark.results import RunFolder
    from lmbench.report.page import write_report

    for run in runs:
        results = RunFolder(run).read_results()
        for path in write_report(run):
            note(f"written: {path}")
        print_run(results, Path(run), form)


def print_run(results: Sequence[Result], folder: Path, form: str) -> None:
    """The table, in groups that may be compared, and under each what its numbers were measured on."""
    from lmbench.benchmark.results import RunFolder
    from lmbench.report.comparison import compared
    from lmbench.report.drawing import lacks_font
    from lmbench.report.tables import groups, notes, size_tables, tabulate, to_markdown

    if any(lacks_font(plot.read_text(encoding="utf-8")) for plot in (folder / "plots").glob("*.svg")):
        note(
            "No font with Chinese characters was found: they are boxes in plots/*.png, and readable in report.html and "
            "plots/*.svg. Install one, such as Noto Sans CJK (fonts-noto-cjk), and call lmbench report."
        )
    marks = compared(folder)
    if form == "md":
        click.echo(to_markdown(results, marks), nl=False)
        return
    tables: list[tuple[Table, Sequence[Result]]] = [(table, ()) for table in size_tables(results)]
    tables += [(tabulate(group, marks), group.results) for group in groups(results)]
    if form == "csv":
        click.echo(RunFolder(folder).table.read_text(encoding="utf-8"), nl=False)
    for table, rows in tables if form != "csv" else []:
        left = [align == "left" for align in table.align]
        click.echo(f"{table.about}\n")
        drawn = form == "auto" and sys.stdout.isatty()
        print_cells(table.headings, table.cells, left, drawn=drawn, bold=table.best)
        click.echo()
        for result in rows:
            click.echo(f"{result.label}: {result.signature}")
    for text in notes(results, marks):
        note(text)
