"""Rows -> a table on standard output: drawn on a terminal, aligned text, CSV or Markdown elsewhere."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click

Form = Literal["auto", "text", "csv", "md"]
FORMS = ("auto", "text", "csv", "md")
"""How a table is written; ``auto`` draws it on a terminal and aligns plain text elsewhere."""

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="auto",
    show_default=True,
    help="How the table is written; auto: drawn on a terminal, plain text in a pipe.",
)


def print_table(rows: Sequence[Mapping[str, Any]], form: str = "auto") -> None:
    """Print ``rows`` (column name -> value) under the columns of the first; empty columns are left out."""
    from lmbench.cli.kept import on_terminal

    names = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    if form == "csv":
        click.echo(_csv(names, rows), nl=False)
        return
    cells = [[written(row[name]) for name in names] for row in rows]
    left = [any(isinstance(row[name], str) for row in rows) for name in names]
    if form == "auto" and on_terminal():
        _draw(names, cells, left)
    elif form == "md":
        click.echo("\n".join(_markdown(names, cells, left)))
    else:
        click.echo("\n".join(_aligned(names, cells, left)))


def written(value: Any) -> str:
    """A value for the eye: four significant figures at least, thousands set off.

    >>> [written(value) for value in (None, 0.01234, 141.187, 82430, "lstm")]
    ['', '0.0123', '141.19', '82,430', 'lstm']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 1 else f"{value:.3g}"


def _aligned(names: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    widths = [max(_width(line[i]) for line in [names, *cells]) for i in range(len(names))]
    lines = []
    for line in [names, *cells]:
        padded = [
            text + " " * (width - _width(text)) if to_left else " " * (width - _width(text)) + text
            for text, width, to_left in zip(line, widths, left, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _markdown(names: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[bool]) -> list[str]:
    rule = ["---" if to_left else "---:" for to_left in left]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in [names, rule, *cells]]


def _csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if row[name] is None else row[name] for name in names] for row in rows)
    return text.getvalue()


def _draw(names: Sequence[str], cells: Sequence[Sequence[str]], left: Sequence[bool]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for name, to_left in zip(names, left, strict=True):
        table.add_column(name, justify="left" if to_left else "right", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)


def _width(text: str) -> int:
    """Columns that ``text`` takes on a screen: Chinese characters take two."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
