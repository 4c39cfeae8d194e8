"""A file or standard input -> numbered items, as they arrive: plain lines, rows of TSV, or lines of JSON.

::

    text     the dog barks                              the line is the text
    tsv      id <tab> sentence                          a column, by its name or number; the others are carried along
    jsonl    {"text": "the dog barks", "id": 7}         a key; the others are carried along

A line that cannot be read is reported with its number, and the rest goes on; with ``strict`` it ends everything, once
what came before it has been answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import click

from lmbench.errors import CorpusError, UsageError, counted

FORMS = ("auto", "text", "tsv", "jsonl")
SUFFIXES = {".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
USUAL = ("text", "sentence")
"""What the field is called where nobody says so."""
LINES = 1024
"""Lines in a group at most; fewer where fewer have arrived, and at first, so that the first answer is soon there."""
FIRST = 16
BLOCK = 1 << 16

Command = TypeVar("Command", bound=Callable[..., Any])


class Item(NamedTuple):
    """One line. ``number``: from 1. ``text``: with single spaces, unless read verbatim. ``prefix``: what stands
    before it, if something does. ``rest``: all columns or keys but that of the text, in their order."""

    number: int
    text: str
    prefix: str | None = None
    rest: Mapping[str, Any] = {}


def input_options(command: Command) -> Command:
    """Add ``--input``, ``--field`` and ``--strict`` to a command."""
    form = click.option(
        "--input",
        "input_form",
        type=click.Choice(FORMS),
        default="auto",
        show_default=True,
        help="What the lines are; auto: tsv or jsonl if the file is called so, else text.",
    )
    name = click.option(
        "--field", metavar="NAME", help="Column of TSV, by name or number, or key of JSON that holds the text."
    )
    strict = click.option("--strict", is_flag=True, help="Stop at the first line that cannot be read.")
    return form(name(strict(command)))


class Reader:
    """Reads the items of the file called ``name``, or of standard input (``-``).

    ``bad``: lines left out so far. ``columns``: the names of those of TSV, once its first row was read; numbers where
    it names none.
    """

    def __init__(
        self,
        name: str,
        form: str = "auto",
        field: str | None = None,
        *,
        prefix_field: str | None = None,
        strict: bool = False,
        check: Callable[[list[str]], object] | None = None,
        verbatim: bool = False,
    ) -> None:
        """``form``: one of ``FORMS``. ``field``, ``prefix_field``: columns or keys. ``check``: told the texts of a
        group before they are given out; raises CorpusError where one of them cannot be used. ``verbatim``: plain lines
        keep their white space."""
        self.name, self.field, self.prefix_field, self.strict, self.check = name, field, prefix_field, strict, check
        self.form = SUFFIXES.get(Path(name).suffix.lower(), "text") if form == "auto" else form
        self.bad, self.verbatim = 0, verbatim
        self.columns: list[str] = []
        given = "--field" if field else "--prefix-field" if prefix_field else None
        if self.form == "text" and given:
            raise UsageError(
                f"{given} names a column of TSV or a key of JSON, and {self.place} is read as plain text. Say what it "
                "is: --input tsv, or --input jsonl."
            )

    @property
    def place(self) -> str:
        """The file, for messages."""
        return "standard input" if self.name == "-" else self.name

    def groups(self, file: BinaryIO) -> Iterator[list[Item]]:
        """What can be read of all lines that have arrived, group by group, in order.

        Raises UsageError where the field is not there at all, CorpusError for the first bad line if ``strict``.
        """
        for group in arriving_lines(file):
            good: list[Item] = []
            faults: list[tuple[int, str]] = []
            for number, content in group:
                try:
                    item = self._item(number, content)
                except _BadLine as error:
                    faults.append((number, str(error)))
                else:
                    good += [item] if item else []
            good = self._checked(good, faults)
            if faults and self.strict:
                number, why = min(faults)
                yield [item for item in good if item.number < number]
                raise CorpusError(
                    f"Line {number} of {self.place} cannot be read: {why.rstrip('.')}. Without --strict it is left out "
                    "and the rest goes on."
                )
            for number, why in sorted(faults):
                click.echo(f"line {number} of {self.place} is left out: {why}", err=True)
            self.bad += len(faults)
            yield good

    def _checked(self, items: list[Item], faults: list[tuple[int, str]]) -> list[Item]:
        """The items that ``check`` lets pass; the others are added to ``faults``."""
        if self.check is None or not items:
            return items
        try:
            self.check([text for item in items for text in (item.text, item.prefix) if text is not None])
        except CorpusError as error:
            if len(items) > 1:
                return [item for single in items for item in self._checked([single], faults)]
            faults.append((items[0].number, str(error)))
            return []
        return items

    def _item(self, number: int, content: bytes) -> Item | None:
        """The item of a line; None for one that holds none. Raises _BadLine."""
        try:
            text = decode(content)
        except ValueError as error:
            raise _BadLine(str(error)) from None
        if number == 1:
            text = text.removeprefix("\ufeff")
        if self.form == "tsv":
            return self._row(number, text.rstrip("\r"))
        if self.form == "jsonl":
            return self._object(number, text)
        return Item(number, text if self.verbatim else " ".join(text.split()))

    def _row(self, number: int, line: str) -> Item | None:
        if not self.columns and not line.strip():
            return None
        cells = line.split("\t")
        if not self.columns and self._first_row(cells):
            return None
        if len(cells) != len(self.columns):
            if not line.strip():
                return None
            raise _BadLine(f"it has {counted(len(cells), 'column')}, and the first row has {len(self.columns)}")
        row = dict(zip(self.columns, cells, strict=True))
        text, prefix = row.pop(self._column), row[self._prefix_column] if self._prefix_column else None
        return Item(number, " ".join(text.split()), prefix, row)

    def _first_row(self, cells: Sequence[str]) -> bool:
        """Find the columns; whether the row is a heading: then it names the field."""
        wanted = [name for name in (self.field, self.prefix_field) if name and not name.isdecimal()] or list(USUAL)
        heading = any(cell.strip() in wanted for cell in cells)
        self.columns = [cell.strip() for cell in cells] if heading else [str(i) for i in range(1, len(cells) + 1)]
        if len(set(self.columns)) < len(cells):
            raise UsageError(f"The first row of {self.place} gives two columns one name: {', '.join(self.columns)}.")
        self._column = self._find(self.field, "--field", cells)
        self._prefix_column = self._find(self.prefix_field, "--prefix-field", cells) if self.prefix_field else None
        if self._column == self._prefix_column:
            raise UsageError(f"--field and --prefix-field both name the column {self._column}.")
        return heading

    def _find(self, name: str | None, option: str, first_row: Sequence[str]) -> str:
        """The column called ``name``, or of this number; where nobody says, the usual one or the only one."""
        if name is None:
            usual = [column for column in USUAL if column in self.columns]
            if usual or len(self.columns) == 1:
                return (usual or self.columns)[0]
            raise UsageError(
                f"{self.place} has {len(self.columns)} columns, and none is called text. Say which holds the text: "
                "--field 2, or by its name in the first row."
            )
        if name in self.columns:
            return name
        if name.isdecimal() and 1 <= int(name) <= len(self.columns):
            return self.columns[int(name) - 1]
        raise UsageError(f"{option} {name}: {self.place} has no such column.{_nearest(name, first_row)}")

    def _object(self, number: int, line: str) -> Item | None:
        if not line.strip():
            return None
        try:
            content = json.loads(line)
        except ValueError as error:
            raise _BadLine(f"it is not JSON: {error}") from None
        except RecursionError:
            raise _BadLine("it is JSON nested too deeply") from None
        if re.search(r"\\u[dD][89a-fA-F]", line) and re.search(
            "[\ud800-\udfff]", json.dumps(content, ensure_ascii=False)
        ):
            raise _BadLine("it holds half of a surrogate pair, which is no character")
        if not isinstance(content, dict):
            raise _BadLine('it is JSON, but no object such as {"text": "the dog barks"}')
        name = self.field or next((key for key in USUAL if key in content), USUAL[0])
        text = self._string(content, name, "--field")
        prefix = self._string(content, self.prefix_field, "--prefix-field") if self.prefix_field else None
        del content[name]
        return Item(number, " ".join(text.split()), prefix, content)

    @staticmethod
    def _string(content: dict[str, Any], name: str, option: str) -> str:
        """Take the text called ``name`` out of ``content``."""
        if name not in content:
            raise _BadLine(f"it has no key '{name}'.{_nearest(name, list(content))} {option} names the key")
        value = content[name]
        if not isinstance(value, str) or "\0" in value:
            raise _BadLine(f"'{name}' is no text but {json.dumps(value)[:60]}")
        return value


class _BadLine(ValueError):
    """Why a line is left out."""


def arriving_lines(file: BinaryIO) -> Iterator[list[tuple[int, bytes]]]:
    """Groups of numbered lines: all that have arrived, so that a slow sender gets each answer at once."""
    number, rest, size = 0, b"", FIRST
    read = getattr(file, "read1", file.read)
    while block := read(BLOCK):
        *complete, rest = (rest + block).split(b"\n")
        first = 0
        while first < len(complete):
            group = complete[first : first + size]
            yield [(number + i, line) for i, line in enumerate(group, 1)]
            number, first, size = number + len(group), first + len(group), min(LINES, 2 * size)
    if rest:
        yield [(number + 1, rest)]


def decode(content: bytes) -> str:
    """The line as text. Raises ValueError, saying where, for what is no text."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} (0x{content[error.start]:02x}) is not UTF-8") from None
    if "\0" in text:
        raise ValueError(f"character {text.index(chr(0)) + 1} is NUL, which no text holds")
    return text


def _nearest(name: str, known: Sequence[str]) -> str:
    """The known names, and the nearest of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return (f" Did you mean '{near[0]}'?" if near else "") + (f" There are: {', '.join(known)[:200]}." if known else "")
