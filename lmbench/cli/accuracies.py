"""Rankings of the same candidates by several models -> their accuracies side by side, as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from lmbench.cli.tables import print_rows

if TYPE_CHECKING:
    from lmbench.tasks.ranking import Accuracy, Ranking

CAPTION = "Accuracy in %: how often the right candidate is the most plausible, a tie counting in part; 95 % intervals. "
LETTERS = "Over all sets, models that share a letter do not differ (McNemar's test, Holm's correction, 5 %). "


def print_accuracies(
    rankings: Mapping[str, Ranking], form: str, remarks: Sequence[str], signatures: Mapping[str, str]
) -> None:
    """Print the accuracies of all models (name -> ranking), by paradigm and phenomenon, and by every normalisation.

    ``form``: csv, a row for each model, normalisation and line of the table; md; or ``table`` for the screen, both with
    ``remarks``, sentences that a reader must know. ``signatures``: of each model.
    """
    if form == "csv":
        print_rows([row for name in rankings for row in _plain_rows(name, rankings[name], signatures[name])], form)
        return
    form, paragraph = ("md", "\n") if form == "md" else ("auto", "")
    right = {"unknown %", *rankings}
    print_rows(list(_side_by_side(rankings)), form, right=right)
    click.echo(paragraph + CAPTION + (LETTERS if len(rankings) > 1 else "") + " ".join(remarks) + "\n")
    print_rows(list(_normalisations(rankings)), form, right=right)
    click.echo(
        paragraph + "The same log probabilities, normalised otherwise; * decides above, and was not chosen here."
    )
    several = len(set(signatures.values())) > 1
    for name, signature in signatures.items() if several else [("all models", next(iter(signatures.values())))]:
        click.echo(f"{paragraph}{name}  {signature}")


def _plain_rows(model: str, ranking: Ranking, signature: str) -> Iterator[dict[str, Any]]:
    from lmbench.tasks.paradigms import accuracy_rows

    for by in ranking.orders:
        for row in accuracy_rows(ranking.ordered_by(by)):
            found = row.accuracy
            yield {
                "model": model, "by": by, "decides": int(by == ranking.by),
                "level": row.level, "field": row.field, "phenomenon": row.phenomenon, "paradigm": row.paradigm,
                "paradigms": row.paradigms, "sets": found and found.sets, "accuracy": row.share,
                "low": found and found.interval.low, "high": found and found.interval.high,
                "tied": found and found.tied, "unknown": found and found.unknown,
                "signature": signature.replace(f"|by:{ranking.by}|", f"|by:{by}|"),
            }  # fmt: skip


def _side_by_side(rankings: Mapping[str, Ranking]) -> Iterator[dict[str, Any]]:
    """Rows of the table: a paradigm, a phenomenon or all, and the accuracy of each model."""
    from lmbench.tasks.paradigms import accuracy_rows, letters

    columns = {name: {row[:4]: row for row in accuracy_rows(ranking)} for name, ranking in rankings.items()}
    keys = list(dict.fromkeys(key for rows in columns.values() for key in rows))
    listed = {phenomenon for level, _, phenomenon, _ in keys if level == "paradigm"}
    for key in keys:
        found = {name: rows.get(key) for name, rows in columns.items()}
        first = next(row for row in found.values() if row)
        if first.level == "phenomenon" and first.paradigms == 1 and first.phenomenon in listed:
            continue  # its one paradigm says it all
        told = {"macro": "all: mean of paradigms", "micro": "all sets", "known": "sets of known words"}
        together = f"{first.paradigms} together" if first.paradigms > 1 and first.level != "micro" else None
        yield {
            "phenomenon": told.get(first.level, first.phenomenon),
            "paradigm": first.paradigm or together,
            "sets": _same(row and row.accuracy and row.accuracy.sets for row in found.values()),
            "unknown %": _same(row and _share(row.accuracy, "unknown") for row in found.values()),
            **{name: row and _percent(row.share, row.accuracy) for name, row in found.items()},
        }
    if len(rankings) > 1:
        shared = dict(zip(rankings, letters(list(rankings.values())), strict=True))
        yield {"phenomenon": "all sets: letters", "paradigm": None, "sets": None, "unknown %": None, **shared}
    for attribute, told_of in {"tied": "tied sets", "unknown": "sets with unknown words"}.items():
        shares = {name: _share(ranking.overall, attribute) for name, ranking in rankings.items()}
        yield {"phenomenon": f"{told_of}, %", "paradigm": None, "sets": None, "unknown %": None, **shares}


def _normalisations(rankings: Mapping[str, Ranking]) -> Iterator[dict[str, Any]]:
    """A row for each normalisation: the accuracy of each model, that by which it decides with an asterisk."""
    from lmbench.tasks.ranking import ORDERS

    for by in ORDERS:
        cells: dict[str, str | None] = {}
        for name, ranking in rankings.items():
            found = ranking.ordered_by(by) if by in ranking.orders else None
            share = None if found is None else found.accuracy if found.macro_accuracy is None else found.macro_accuracy
            cells[name] = None if share is None else _percent(share) + ("*" if by == ranking.by else "")
        yield {"normalisation": by, **cells}


def _percent(share: float, accuracy: Accuracy | None = None) -> str:
    if accuracy is None:
        return f"{100 * share:.1f}"
    low, high = accuracy.interval
    return f"{100 * share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _share(accuracy: Accuracy | None, attribute: str) -> str | None:
    """In %, of the sets."""
    count = None if accuracy is None else getattr(accuracy, attribute)
    return None if accuracy is None or count is None else _percent(count / accuracy.sets)


def _same(values: Iterable[Any]) -> Any:
    """What all models have in common; None where they differ, as vocabularies do."""
    found = set(values)
    return found.pop() if len(found) == 1 else None
