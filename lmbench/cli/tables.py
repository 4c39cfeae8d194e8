"""Rows -> a table on standard output: drawn on a terminal, aligned text, CSV or Markdown elsewhere."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import click

FORMS = ("auto", "text", "csv", "md")
"""How a table is written; ``auto`` draws it on a terminal and aligns plain text elsewhere."""
Cells = Sequence[Sequence[str]]

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    default="auto",
    show_default=True,
    help="How the table is written; auto: drawn on a terminal, plain text in a pipe.",
)


def print_rows(rows: Sequence[Mapping[str, Any]], form: str = "auto", right: Set[str] = frozenset()) -> None:
    """Print ``rows`` (column name -> value) under the columns of the first; empty columns are left out.

    Columns of texts start at the left, but for those of ``right``.
    """
    names = [name for name in (rows[0] if rows else {}) if any(row[name] is not None for row in rows)]
    if form == "csv":
        click.echo(_csv(names, rows), nl=False)
        return
    cells = [[written(row[name]) for name in names] for row in rows]
    left = [name not in right and any(isinstance(row[name], str) for row in rows) for name in names]
    if form == "md":
        click.echo("\n".join(_markdown(names, cells, left)))
    else:
        print_cells(names, cells, left, drawn=form == "auto" and sys.stdout.isatty())


def print_cells(
    names: Sequence[str],
    cells: Cells,
    left: Sequence[bool],
    *,
    drawn: bool,
    bold: Set[tuple[int, int]] = frozenset(),
) -> None:
    """Print texts under ``names``. ``left``: columns that start at the left; ``bold``: (row, column) to stand out.

    ``drawn``: with lines and bold type, in as many parts as the width of the terminal asks for, each with the first
    column; otherwise as aligned text.
    """
    if not drawn:
        click.echo("\n".join(_aligned(names, cells, left)))
        return
    for part in _parts(names, cells, shutil.get_terminal_size().columns):
        _draw(part, names, cells, left, bold)


def json_line(row: Mapping[str, Any]) -> str:
    """``row`` as JSON, which knows no infinity: that is a text.

    >>> json_line({"log_prob": float("-inf"), "tokens": (("the", -1.5),)})
    '{"log_prob": "-inf", "tokens": [["the", -1.5]]}'
    """

    def finite(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [finite(item) for item in value]
        if isinstance(value, dict):
            return {key: finite(item) for key, item in value.items()}
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(dict(row)), ensure_ascii=False)


def plain(token: str) -> str:
    """A token that is itself white space, written so that it shows and breaks no column.

    >>> plain("the"), plain(" the"), plain("\\n")
    ('the', "' the'", "'\\\\n'")
    """
    return token if token.strip() == token and token else repr(token)


def written(value: Any) -> str:
    """A value for the eye: at least three significant figures, thousands set off.

    >>> [written(value) for value in (None, 0.01234, 141.187, 82430, "lstm")]
    ['', '0.0123', '141.19', '82,430', 'lstm']
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= 1e9:
        return f"{value:.3g}"
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 10 else f"{value:.3f}" if abs(value) >= 1 else f"{value:.3g}"


def _widths(names: Sequence[str], cells: Cells) -> list[int]:
    return [max(_width(line[i]) for line in [names, *cells]) for i in range(len(names))]


def _aligned(names: Sequence[str], cells: Cells, left: Sequence[bool]) -> Iterator[str]:
    widths = _widths(names, cells)
    for line in [names, *cells]:
        padded = [
            text + " " * (width - _width(text)) if to_left else " " * (width - _width(text)) + text
            for text, width, to_left in zip(line, widths, left, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _markdown(names: Sequence[str], cells: Cells, left: Sequence[bool]) -> list[str]:
    rule = ["---" if to_left else "---:" for to_left in left]
    return ["| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in [names, rule, *cells]]


def _csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(["" if row[name] is None else row[name] for name in names] for row in rows)
    return text.getvalue()


def _parts(names: Sequence[str], cells: Cells, width: int) -> list[list[int]]:
    """The columns of each part, so that none is wider than ``width``; the first column opens every part.

    >>> _parts(["model", "perplexity", "seconds"], [["lstm", "104.05", "420"]], 24)
    [[0, 1], [0, 2]]
    """
    needed = [column + 3 for column in _widths(names, cells)]  # a line and two spaces for each
    parts = [[0]]
    for column in range(1, len(names)):
        used = 1 + sum(needed[chosen] for chosen in parts[-1])
        if len(parts[-1]) > 1 and used + needed[column] > width:
            parts.append([0])
        parts[-1].append(column)
    return parts


def _draw(
    part: Sequence[int], names: Sequence[str], cells: Cells, left: Sequence[bool], bold: Set[tuple[int, int]]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for column in part:
        table.add_column(names[column], justify="left" if left[column] else "right", overflow="fold")
    for row, line in enumerate(cells):
        table.add_row(*(Text(line[column], style="bold" if (row, column) in bold else "") for column in part))
    Console().print(table)


def _width(text: str) -> int:
    """Columns that ``text`` takes on a screen: Chinese characters take two."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
