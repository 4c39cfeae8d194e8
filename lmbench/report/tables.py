"""The folder of a run -> its table in groups that may be compared, as Markdown, LaTeX and plain rows.

Rows stand in one ranking only where they predict the same events; others are put into groups of their own,
each headed by what it is that was predicted. In a group the best perplexity comes first; the source of a
generated corpus, which nobody can beat, stands above all; what failed stands below, with its reason. Models that
share a letter in the column "alike" are not distinguishable: see ``lmbench.report.comparison``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

from lmbench.benchmark.results import COLUMNS, Result, RunFolder, to_csv
from lmbench.report import scaling
from lmbench.report.comparison import Compared, compared
from lmbench.report.events import describe_events, differing_parts

MANY_TIES = 0.05
"""Share of tied candidate sets from which on the reader is told."""
Align = Literal["left", "right"]


@dataclass(frozen=True)
class Column:
    """A column of the table for the eye. ``name``: field of ``Result``; ``heading``; ``decimals`` of a number;
    ``scale``: what the number is multiplied with, 100 for percent."""

    name: str
    heading: str
    decimals: int | None = None
    scale: float = 1.0
    better: Literal["low", "high"] | None = None


SHOWN = (
    Column("label", "model"),
    Column("perplexity", "perplexity", 2, better="low"),
    Column("interval", "95 % interval"),
    Column("alike", "alike"),
    Column("measured", "as published, here"),
    Column("published", "published"),
    Column("excess_over_source", "nats over source", 3, better="low"),
    Column("bits_per_character", "bits/char", 3),
    Column("bits_per_byte", "bits/byte", 3),
    Column("adaptive_perplexity", "adaptive perplexity", 2),
    Column("adaptive_interval", "95 % interval (adaptive)"),
    Column("pseudo_perplexity", "pseudo-perplexity", 2),
    Column("ranking_accuracy", "ranking %", 1, 100, better="high"),
    Column("mean_reciprocal_rank", "MRR", 3),
    Column("parameters", "parameters", 0),
    Column("train_seconds", "train s", 1),
    Column("epochs", "epochs", 1),
    Column("memory_added_mib", "memory MiB", 0),  # not the peak of the process, which depends on who came before
    Column("train_tokens_per_second", "train tok/s", 0),
    Column("score_tokens_per_second", "score tok/s", 0),
)


UNCOMPARED = Compared()
"""No letters: for results without the sums of their segments."""


@dataclass(frozen=True)
class Group:
    """Rows that may be ranked against each other. ``about``: what they predict, in words."""

    about: str
    results: tuple[Result, ...]


@dataclass(frozen=True)
class Table:
    """A table for the eye: ``cells`` are texts, one row a result; ``best``: (row, column) of the best values."""

    about: str
    headings: tuple[str, ...]
    align: tuple[Align, ...]
    cells: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]]


def groups(results: Sequence[Result]) -> list[Group]:
    """The scored results, apart by what they predict; in each the source first, then by rising perplexity.

    Results without a perplexity come last: models that adapt to the text, then those that are no distribution. A model
    that failed before it was scored is in no group; one that failed after keeps its numbers. Each training size is a
    group of its own, with the source in each.
    """
    apart: dict[tuple[str, int | None], list[Result]] = {}
    for result in results:
        if result.comparison:
            apart.setdefault((result.comparison, result.train_tokens), []).append(result)
    sized = {comparison for comparison, size in apart if size is not None}
    for comparison in sized & {comparison for comparison, size in apart if size is None}:
        everywhere = apart.pop((comparison, None))
        for key in [key for key in apart if key[0] == comparison]:
            apart[key] += everywhere
    return [Group(_about(rows[0]), tuple(sorted(rows, key=_standing))) for rows in apart.values()]


def size_tables(results: Sequence[Result]) -> list[Table]:
    """The perplexity of each model over training sizes, a column each; none unless the run compares them."""
    apart: dict[str, list[scaling.Curve]] = {}
    for curve in scaling.curves(results):
        apart.setdefault(curve.events, []).append(curve)
    tables = []
    for found in apart.values():
        headings, cells, best = scaling.matrix(found)
        about = f"Perplexity by tokens of training text. {describe_events(found[0].results[0][0])}"
        right: list[Align] = ["right"] * (len(headings) - 1)
        tables.append(Table(about, headings, ("left", *right), cells, best))
    return tables


def failures(results: Sequence[Result]) -> list[Result]:
    """The results of models that failed."""
    return [result for result in results if result.status == "failed"]


def notes(results: Sequence[Result], marks: Compared = UNCOMPARED) -> list[str]:
    """What a reader of the table must know, one sentence or two each. ``marks``: the letters in it."""
    found = _names(results)
    apart = list({group.results[0].comparison: group.results[0] for group in groups(results)}.values())
    if len(apart) > 1:
        parts = {part: None for other in apart[1:] for part in differing_parts(apart[0], other)}
        found.append(
            "The models stand in several tables because they do not predict the same events: their perplexities must "
            f"not be compared. What differs: {'; '.join(parts)}. Bits per character and byte may be compared."
        )
    found += (*marks.legend, *marks.cautions)
    if any(result.excess_over_source is not None for result in results):
        found.append(
            "The source is the grammar that the text was sampled from: no model can be better, except by luck with "
            "this sample. 'nats over source' is the distance to it per event."
        )
    if any(result.ranking_by == "token" and result.ranking_accuracy is not None for result in results):
        found.append("Candidates are ranked by log probability per token, since some have a word less than others.")
    if any(result.adaptive_perplexity is not None for result in results):
        found.append(
            "An adaptive perplexity is that of a model which learns from the test text while it reads it, as a cache "
            "does: compare it with other adaptive ones only."
        )
    if any(result.pseudo_perplexity is not None for result in results):
        found.append(
            "A pseudo-perplexity is that of scores which are no distribution over texts, because the model reads both "
            "sides of a word, as bert does, or because they do not sum to one. No perplexity is comparable with it; "
            "candidates may be ranked by such scores all the same."
        )
    if any(result.perplexity == math.inf for result in results):
        found.append("A perplexity is infinite (inf) where the model gives some token of the test text probability 0.")
    found += _ties(results)
    contexts = {result.details["signature"]["context"] for result in results if "signature" in result.details}
    if len(contexts) > 1:
        found.append(
            "All models of a table predict the same events, but some begin their history anew at each boundary "
            "(context:sentence in the signature) and some read on across it (context:stream)."
        )
    highest = max((result.unknown_rate or 0.0 for result in results), default=0.0)
    if highest >= 0.001:
        found.append(
            f"Up to {highest:.1%} of the events are <unk>, which is easier to predict than the words it stands for."
        )
    if any(result.perplexity is not None and result.bits_per_byte is None for result in results):
        found.append("Bits per character and byte are left out where the tokens do not give the text back.")
    found += _over_seeds(results)
    found += scaling.notes(results)
    found += _budgets(results)
    found += _published(results)
    found += [f"{result.label} failed: {result.reason}" for result in failures(results)]
    return found


def tabulate(group: Group, marks: Compared = UNCOMPARED) -> Table:
    """The group as texts, without the columns in which nothing stands."""
    shown = [
        (column, cells)
        for column in SHOWN
        if any(cells := [_cell(column, result, marks.letters) for result in group.results])
    ]
    best = {(row, number) for number, (column, _) in enumerate(shown) for row in _best(column, group.results)}
    return Table(
        about=group.about,
        headings=tuple(column.heading for column, _ in shown),
        align=tuple("left" if column.name in ("label", "alike") else "right" for column, _ in shown),
        cells=tuple(zip(*(cells for _, cells in shown), strict=True)),
        best=frozenset(best),
    )


def to_markdown(results: Sequence[Result], marks: Compared = UNCOMPARED) -> str:
    """The tables as GitHub Markdown, the best of each column in bold, notes and signatures below."""
    parts = ["\n".join(_markdown(table)) for table in size_tables(results)]
    for group in groups(results):
        signatures = [f"- {result.label}: `{result.signature}`" for result in group.results]
        parts.append("\n".join([*_markdown(tabulate(group, marks)), "", *signatures]))
    parts += [f"{note}" for note in notes(results, marks)]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> list[str]:
    """The lines of one table as GitHub Markdown, headed by what it is about."""
    rows = [
        [f"**{cell}**" if (i, j) in table.best else cell.replace("|", "\\|") for j, cell in enumerate(row)]
        for i, row in enumerate(table.cells)
    ]
    rules = ["---" if align == "left" else "---:" for align in table.align]
    return [table.about, "", *("| " + " | ".join(row) + " |" for row in [list(table.headings), rules, *rows])]


def to_latex(results: Sequence[Result], marks: Compared = UNCOMPARED) -> str:
    """The tables as LaTeX for the package booktabs: ``\\input`` it between text."""
    parts = ["% needs \\usepackage{booktabs}; written by lmbench"]
    parts += ["\n".join(_tabular(table)) for table in size_tables(results)]
    for group in groups(results):
        signatures = [f"% {result.label}: {result.signature}" for result in group.results]
        parts.append("\n".join([*signatures, *_tabular(tabulate(group, marks))]))
    parts += [f"% {note}" for note in notes(results, marks)]
    return "\n\n".join(parts) + "\n"


def _tabular(table: Table) -> list[str]:
    """The lines of one table as LaTeX, headed by what it is about."""
    rows = [
        " & ".join(
            f"\\textbf{{{_latex(cell)}}}" if (i, j) in table.best else _latex(cell) for j, cell in enumerate(row)
        )
        for i, row in enumerate(table.cells)
    ]
    layout = "".join("l" if align == "left" else "r" for align in table.align)
    head = [f"\\begin{{tabular}}{{{layout}}}", "\\toprule", " & ".join(map(_latex, table.headings)) + r" \\"]
    return [f"% {table.about}", *head, "\\midrule", *(row + r" \\" for row in rows), "\\bottomrule", "\\end{tabular}"]


def write_tables(path: str | Path) -> list[Path]:
    """Write ``table.csv``, ``table.md`` and ``table.tex`` of the run in the folder ``path`` anew from its metrics.json.

    Raises ResultsError where the folder is not that of a run, or cannot be written.
    """
    folder = RunFolder(path)
    results = folder.read_results()
    marks = compared(folder)
    rows = ([*(getattr(r, name) for name in COLUMNS), marks.letters.get(r.label)] for r in results)
    texts = {
        "table.csv": to_csv((*COLUMNS, "alike"), rows),
        "table.md": to_markdown(results, marks),
        "table.tex": to_latex(results, marks),
    }
    for name, text in texts.items():
        folder.write_text(name, text)
    return [folder.path / name for name in texts]


def _names(results: Sequence[Result]) -> list[str]:
    """What the models are that were given a name of their own."""

    def family(text: str) -> str:
        return re.split(r"[:+]", text)[0]

    named = {
        r.model: r.specification for r in results if r.specification and family(r.model) != family(r.specification)
    }
    return [f"{name} is {specification}." for name, specification in named.items()]


def _ties(results: Sequence[Result]) -> list[str]:
    """Which models could often not tell the right candidate from another, and why that is."""
    shares: dict[str, float] = {}
    for result in results:
        overall = (result.details.get("ranking") or {}).get("overall") or {}
        if result.kind != "uniform" and overall.get("tied", 0) > MANY_TIES * overall.get("sets", 0):
            shares[result.label] = overall["tied"] / overall["sets"]
    if not shares:
        return []
    told = ", ".join(f"{label} {share:.0%}" for label, share in shares.items())
    return [
        f"Sets whose right candidate ties with another, which counts in part: {told}. Mostly their words are outside "
        "the vocabulary: give candidates in the spelling of the corpus, or choose --tokenizer bpe."
    ]


def _over_seeds(results: Sequence[Result]) -> list[str]:
    """For each model that was trained with several seeds: how much the seed alone moves its perplexity."""
    apart: dict[tuple[str, str], list[float]] = {}
    for result in results:
        if result.seed is not None and result.perplexity is not None and result.status == "done":
            size = "" if result.train_tokens is None else f" on {result.train_tokens:,} tokens"
            apart.setdefault((result.model + size, result.comparison), []).append(result.perplexity)
    return [
        f"{model} over {len(values)} seeds: perplexity {fmean(values):,.2f} on average, "
        f"standard deviation {stdev(values):,.2f}, from {min(values):,.2f} to {max(values):,.2f}."
        for (model, _), values in apart.items()
        if len(values) > 1
    ]


def _budgets(results: Sequence[Result]) -> list[str]:
    """Which models were trained for another cost than the others."""
    own = {result.model: result.details["budget"] for result in results if "budget" in result.details}
    told = ", ".join(f"{model} {budget}" for model, budget in own.items())
    return [f"Not all were trained at the same cost. Budgets of their own: {told}."] if own else []


def _published(results: Sequence[Result]) -> list[str]:
    """Where the published figures come from, one line each."""
    stated = {result.model: result.details["published"] for result in results if result.published is not None}
    return [
        f"Published of {model}: {given['figure']:g}, {' of '.join(stated_in(given))}. {given['source'].rstrip('.')}."
        for model, given in stated.items()
    ]


def stated_in(given: Mapping[str, str]) -> tuple[str, str]:
    """Unit and split of a published figure, in words."""
    return "nats per token" if given["unit"] == "nats" else given["unit"], given["split"].replace("+", " and ")


def measured_alike(result: Result) -> str:
    """What was measured in the unit and on the split of the published figure."""
    if result.measured is None:
        return ""
    return f"{result.measured:,.4f}" if result.details["published"]["unit"] == "nats" else f"{result.measured:,.2f}"


def _about(result: Result) -> str:
    """What the rows of a group predict, and what they were trained on where the run compares that."""
    size = "" if result.train_tokens is None else f"; trained on {result.train_tokens:,} tokens"
    return describe_events(result) + size


def _standing(result: Result) -> tuple[int, float]:
    """Sort key: the source, then distributions by perplexity, then those that adapt to the text, then the rest."""
    if result.kind == "source":
        return (0, 0.0)
    if result.perplexity is not None:
        return (1, result.perplexity)
    return (3, 0.0) if result.adaptive_perplexity is None else (2, result.adaptive_perplexity)


def _cell(column: Column, result: Result, letters: Mapping[str, str]) -> str:
    if column.name == "alike":
        return letters.get(result.label, "")
    if column.name in ("interval", "adaptive_interval"):
        name = column.name.replace("interval", "perplexity")
        low, high = getattr(result, f"{name}_low"), getattr(result, f"{name}_high")
        return "" if low is None or high is None else f"{low:,.2f} to {high:,.2f}"
    value: Any = getattr(result, column.name)
    if value is None:
        return ""
    if column.name in ("published", "measured"):
        return _stated(column.name, result)
    return str(value) if column.decimals is None else f"{value * column.scale:,.{column.decimals}f}"


def _stated(name: str, result: Result) -> str:
    """A published figure as it was printed; what was measured alike where that is not the perplexity of the row."""
    given = result.details["published"]
    if name == "published":
        return f"{result.published:g}"
    if (given["unit"], given["split"]) == ("perplexity", "test") and result.perplexity is not None:
        return ""
    return measured_alike(result)


def _best(column: Column, results: Sequence[Result]) -> list[int]:
    """Rows with the best value of ``column`` among models that compete; none where they are all the same."""
    if column.better is None:
        return []
    values = {
        row: value
        for row, result in enumerate(results)
        if result.kind != "source" and (value := getattr(result, column.name)) is not None
    }
    if len(values) < 2:
        return []
    best = min(values.values()) if column.better == "low" else max(values.values())
    rows = [row for row, value in values.items() if value == best]
    return rows if len(rows) < len(values) else []


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)
