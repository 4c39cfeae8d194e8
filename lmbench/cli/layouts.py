"""What models say of lines -> rows: one for each line, token or word; models one below the other, or side by side.

::

    long   line  model   log_prob  text          wide   line      lstm       kn5  text
              1  lstm      -21.40  the dog ...             1    -21.40    -19.02  the dog ...
              1  kn5       -19.02  the dog ...

Written as a table for the eye, as TSV, or as JSON lines. TSV and JSON carry along what else a line of input had.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from lmbench.cli.tables import json_line, plain, written
from lmbench.errors import UsageError


class Column(NamedTuple):
    """A figure. ``title``: its short name, over a table; ``width``: there. ``digits``: after the point, in a table and
    in TSV; -1 for as many as there are. ``brief``: whether it is shown where models stand side by side."""

    name: str
    title: str
    width: int
    digits: tuple[int, int] = (-1, -1)
    brief: bool = False


class Kind(NamedTuple):
    """What a row is about. ``label``: what it shows of the line: its text, a token, a word."""

    label: str
    columns: tuple[Column, ...]


LOG_PROB = {"e": "log_prob", "2": "log2_prob", "10": "log10_prob"}
"""Base of the logarithms -> what they are called."""


def kinds(base: str) -> dict[str, Kind]:
    """The kinds of rows. ``base``: of the logarithms."""
    log_prob = LOG_PROB[base]
    return {
        "text": Kind(
            "text",
            (
                Column(log_prob, log_prob, 10, (4, 6), True),
                Column(f"{log_prob}_per_token", "per_token", 9, (4, 6)),
                Column(f"{log_prob}_per_word", "per_word", 9, (4, 6)),
                Column("perplexity", "perplexity", 10, (2, 6), True),
                Column("tokens", "tokens", 6),
                Column("words", "words", 5),
                Column("unknowns", "unknowns", 8),
            ),
        ),
        "token": Kind(
            "token",
            (
                Column("surprisal", "surprisal", 9, (4, 6), True),
                Column("rank", "rank", 7, (-1, -1), True),
                Column("entropy", "entropy", 7, (4, 6)),
                Column("order", "found", 7),
            ),
        ),
        "word": Kind("word", (Column("surprisal", "surprisal", 9, (4, 6), True), Column("tokens", "tokens", 6))),
    }


class Answer(NamedTuple):
    """A line of input, and what each model says of it: for each model the rows, a label and figures by name each.
    ``whole``: for each model, what JSON says of the line besides."""

    number: int
    rest: Mapping[str, Any]
    rows: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]
    whole: Mapping[str, Mapping[str, Any]]


@dataclass
class Layout:
    """How lines are written. ``kind``: text, token or word; ``form``: table, tsv or jsonl; ``models``: their names;
    ``wide``: whether they stand side by side; ``rest``: the names of what is carried along in TSV."""

    kind: Kind
    form: str
    models: Sequence[str]
    wide: bool = False
    rest: Sequence[str] = ()

    def heading(self) -> Iterator[str]:
        """The lines over all rows."""
        if self.form == "jsonl":
            return
        if self.form == "tsv":
            figures = [
                f"{model}.{column.name}" if self.wide else column.name
                for model in (self.models if self.wide else self.models[:1])
                for column in self.kind.columns
            ]
            front = ["line", *([] if self.wide else ["model"])]
            label = ["position", self.kind.label] if self._parts else [self.kind.label]
            names = [*front, *label, *figures] if self._parts else [*front, *figures, *label]
            yield "\t".join([*names, *self._rest_names()])
            return
        opening, position = f"{'line':>6}", f"  {'position':>8}" if self._parts else ""
        figures_text = "".join(f"  {column.title:>{self._width(column)}}" for column in self._shown)
        if self.wide:
            groups = "".join(f"  {model:<{len(figures_text) - 2}.{len(figures_text) - 2}}" for model in self.models)
            yield f"{' ' * len(opening + position)}{groups}".rstrip()
            yield f"{opening}{position}{figures_text * len(self.models)}  {self.kind.label}"
        else:
            yield f"{opening}  {'model':<{self._model_width}}{position}{figures_text}  {self.kind.label}"

    def written(self, line: Answer) -> Iterator[str]:
        """The rows of a line. Raises UsageError, before any row, where models that stand side by side cut it into
        different pieces."""
        if self.form == "jsonl":
            yield from self._json(line)
        elif self.wide:
            yield from self._side_by_side(line)
        else:
            for model in self.models:
                for position, (label, figures) in enumerate(line.rows[model], 1):
                    yield self._row(line, position, label, [figures], model)

    @property
    def _parts(self) -> bool:
        """Whether rows are parts of a line."""
        return self.kind.label != "text"

    @property
    def _shown(self) -> list[Column]:
        """The columns of a table."""
        return [column for column in self.kind.columns if column.brief or not self.wide]

    @property
    def _model_width(self) -> int:
        return max(5, *map(len, self.models))

    def _width(self, column: Column) -> int:
        return max(column.width, len(column.title))

    def _side_by_side(self, line: Answer) -> Iterator[str]:
        labels: list[str | None] = [label for label, _ in line.rows[self.models[0]]]
        for model in self.models[1:]:
            others = [label for label, _ in line.rows[model]]
            pairs = zip(labels, others, strict=True) if len(labels) == len(others) else [("", None)]
            labels = [_shared(*pair) for pair in pairs]
            if None in labels:
                raise UsageError(
                    f"{self.models[0]} and {model} cut line {line.number} into different {self.kind.label}s, so they "
                    "cannot stand side by side. Leave out --wide"
                    + (", or gather tokens to words by --per-word." if self.kind.label == "token" else ".")
                )
        for position, label in enumerate(labels, 1):
            figures = [line.rows[model][position - 1][1] for model in self.models]
            yield self._row(line, position, label or "", figures, None)

    def _row(
        self, line: Answer, position: int, label: str, figures: Sequence[Mapping[str, Any]], model: str | None
    ) -> str:
        if self.form == "tsv":
            cells = [cell(values[column.name], column.digits[1]) for values in figures for column in self.kind.columns]
            opening = [str(line.number), *([] if model is None else [model])]
            shown = [*opening, str(position), plain(label), *cells] if self._parts else [*opening, *cells, label]
            return "\t".join([*shown, *(_tsv_cell(line.rest.get(name)) for name in self.rest)])
        opening_text = f"{line.number:>6}" + ("" if model is None else f"  {model:<{self._model_width}}")
        position_text = f"  {position:>8}" if self._parts else ""
        cells_text = "".join(
            f"  {_table_cell(values[column.name], column):>{self._width(column)}}"
            for values in figures
            for column in self._shown
        )
        return f"{opening_text}{position_text}{cells_text}  {plain(label) if self._parts else label}"

    def _json(self, line: Answer) -> Iterator[str]:
        if self.wide:
            models = {model: self._object(line, model) for model in self.models}
            shared = {"line": line.number, "text": line.whole[self.models[0]]["text"]}
            for content in models.values():
                del content["text"]
            yield json_line({**shared, "models": models, **self._carried(line, {*shared, "models"})})
            return
        for model in self.models:
            content = {"line": line.number, "model": model, **self._object(line, model)}
            yield json_line({**content, **self._carried(line, set(content))})

    def _object(self, line: Answer, model: str) -> dict[str, Any]:
        """All that one model says of the line."""
        content = dict(line.whole[model])
        if self._parts:
            label, rows = self.kind.label, line.rows[model]
            first, *others = self.kind.columns
            content[f"{label}_{first.name}s"] = [(text, figures[first.name]) for text, figures in rows]
            for column in others:
                values = [figures[column.name] for _, figures in rows]
                content[f"{label}_{_plural(column.name)}"] = None if None in values else values
        return content

    def _rest_names(self) -> list[str]:
        """What is carried along, under names that no column has."""
        own = {"line", "model", "position", self.kind.label, *(column.name for column in self.kind.columns)}
        return [f"input_{name}" if name in own else name for name in self.rest]

    @staticmethod
    def _carried(line: Answer, own: set[str]) -> dict[str, Any]:
        return {f"input_{name}" if name in own else name: value for name, value in line.rest.items()}


def cell(value: Any, digits: int) -> str:
    """A figure with so many digits after the point, or with all it has.

    >>> [cell(value, digits) for value, digits in ((None, 2), (2.0, 3), (-0.0, 1), (2.5, -1), (3.0, -1), (7, -1))]
    ['', '2.000', '0.0', '2.5', '3', '7']
    """
    if value is None:
        return ""
    return f"{value + 0.0:.{digits}f}" if digits >= 0 else f"{value:.12g}" if isinstance(value, float) else str(value)


def _shared(one: str | None, other: str | None) -> str | None:
    """How a piece of the line is written where two models write it so; None where it is not the same piece.

    >>> _shared("The", "the"), _shared("<unk>", "zebra"), _shared("un", "unable")
    ('The', 'zebra', None)
    """
    from lmbench.corpus.vocabulary import UNKNOWN

    if UNKNOWN in (one, other):  # all that one of them knows of it
        return other if one == UNKNOWN else one
    return one if one is not None and other is not None and one.casefold() == other.casefold() else None


def _table_cell(value: Any, column: Column) -> str:
    if column.name == "order":
        return "" if value is None else f"{value}-gram" if value else "OOV"
    if column.name == "perplexity":
        return written(value)
    return cell(value, column.digits[0])


def _tsv_cell(value: Any) -> str:
    """What was in the input, in one cell."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split()) if {"\t", "\n", "\r"} & set(text) else text


def _plural(name: str) -> str:
    return {"entropy": "entropies", "tokens": "tokens"}.get(name, f"{name}s")
