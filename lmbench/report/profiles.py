"""Breakdowns of models -> their plots: bits per token by frequency of the type, length of the sentence, position."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.report.breakdowns import Bin, Breakdown
from lmbench.report.drawing import Draw, Plot, Style, label_ends, line, plain_ticks, short_number

KINDS = (
    ("frequency", "By frequency", "how often the type of a token stands in the training split"),
    ("length", "By length", "the length of the {unit}, in tokens"),
    ("position", "By position", "the place of a token in its {unit}"),
)
"""Field of a breakdown, which names its file too; title; what the bins are."""
WIDEST = 36
"""Characters under the axis; more of them are written at a slant."""
WHISKERS = 8
"""Models up to which intervals are drawn: those of more hide each other."""


def profiles(found: Sequence[Breakdown], drawn: Mapping[str, Style], unit: str) -> list[Plot]:
    """A plot of each breakdown in which there is more than one bin. ``unit``: sentence or document."""
    plots = []
    for field, title, bins in KINDS:
        rows = {breakdown.label: getattr(breakdown, field) for breakdown in found}
        if rows and len(next(iter(rows.values()))) > 1:
            words = bins.format(unit=unit)
            whiskers = ", with 95 % intervals" if len(rows) <= WHISKERS else ""
            caption = f"Bits per token{whiskers}, by {words}; lower is better."
            plots.append(Plot(f"by_{field}", title, caption, _draw(rows, drawn, words), 3.8))
    return plots


def _draw(rows: Mapping[str, Sequence[Bin]], drawn: Mapping[str, Style], words: str) -> Draw:
    def draw(axes: Any) -> None:
        ends: dict[str, float] = {}
        step = 0.4 / len(rows)
        for number, (label, bins) in enumerate(rows.items()):
            ordered, apart = _apart(bins)
            places = [place + step * (number - (len(rows) - 1) / 2) for place in range(len(ordered))]
            points = [(place, one.bits) for place, one in zip(places, ordered, strict=True)]
            line(axes, points[:apart], drawn[label], linestyle="none")
            line(axes, points[apart:], drawn[label])
            for place, one in zip(places, ordered, strict=True) if len(rows) <= WHISKERS else ():
                if one.low is not None and one.high is not None:
                    axes.plot([place, place], [one.low, one.high], color=drawn[label].color, linewidth=0.9, alpha=0.6)
            ends[label] = points[-1][1]
        names = [_short(one.name) for one in ordered]
        slanted = max(map(len, names)) > WIDEST / len(names)
        axes.set_xticks(range(len(names)), names, rotation=35 if slanted else 0, ha="right" if slanted else "center")
        axes.tick_params(axis="x", length=0, pad=2 if slanted else 4)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.5, len(names) - 0.5)
        plain_ticks(axes.yaxis)
        axes.set_xlabel(words)
        axes.set_ylabel("bits per token")
        label_ends(axes, ends, drawn)

    return draw


def _apart(bins: Sequence[Bin]) -> tuple[list[Bin], int]:
    """The bins with those that are no numbers, such as ``<unk>``, first; how many those are."""
    others = [one for one in bins if not one.name[0].isdigit()]
    return [*others, *(one for one in bins if one.name[0].isdigit())], len(others)


def _short(name: str) -> str:
    """The name of a bin under an axis.

    >>> _short("1,000-9,999"), _short("51 or more"), _short("end of sentence"), _short("7")
    ('1k–10k', '51+', 'end', '7')
    """
    if name.startswith("end of"):
        return "end"

    def short(found: re.Match[str]) -> str:
        number = int(found[0].replace(",", ""))
        return short_number(round(number, -3) if number >= 1000 else number)

    return re.sub(r"\d[\d,]*", short, name).replace(" or more", "+").replace("-", "–")
