"""The folder of a run -> ``plots/learning_curves.svg``: validation perplexity over seconds, tokens and epochs.

matplotlib is loaded when something is drawn, and draws without a screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmbench.benchmark.results import RunFolder

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito (2008), whose colours are told apart whatever kind of colour blindness one has ..."""
MARKERS = "os^Dv<>PX"
"""... and a mark for each model, as there are more models than colours, and print is grey."""
PANELS = (("seconds", "seconds of training"), ("tokens", "tokens read"), ("epochs", "epochs"))
"""Field of a point -> what stands under its panel."""


def write_plots(path: str | Path) -> list[Path]:
    """Draw what the run in the folder ``path`` has curves for; the files, none where no model has a curve.

    Raises ResultsError where the folder is not that of a run, or cannot be written.
    """
    folder = RunFolder(path)
    results = folder.read_results()
    curves = {result.label: curve for result in results if (curve := folder.read_curve(result))}
    if not curves:
        return []
    known = {result.label: result.valid_perplexity or math.inf for result in results}
    levels = {label: perplexity for label, perplexity in known.items() if math.isfinite(perplexity)}
    text = learning_curves(curves, levels)
    folder.write_text("plots/learning_curves.svg", text)
    return [folder.path / "plots" / "learning_curves.svg"]


def learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], levels: Mapping[str, float]) -> str:
    """An SVG: a line for each model over what it has cost, a dashed level for each that has no curve.

    ``curves``: label -> points with ``valid_loss`` (nats per event), an estimate on a part of the validation split, in
    which a window of text may stand alone, and with the fields of ``PANELS`` that are known: each has a panel.
    ``levels``: label -> perplexity on the whole of it, by the scorer that makes the table: a star at the end of a
    curve. Stars and levels compare, curves show the way.
    """
    from io import StringIO

    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [panel for panel in PANELS if any(point.get(panel[0]) is not None for c in curves.values() for point in c)]
    with mpl.rc_context({"svg.hashsalt": "lmbench", "svg.fonttype": "none", "font.size": 9}):  # same data, same file
        figure = Figure(figsize=(1.6 + 3.2 * len(panels), 4.4), layout="constrained")
        row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (field, words) in zip(row, panels, strict=True):
            _draw(axes, field, curves, levels)
            axes.set_xlabel(words)
        row[0].set_ylabel("validation perplexity")
        legend: dict[str, Any] = {"loc": "outside lower center", "ncols": len(panels), "frameon": False}
        title = "line: estimate while training; star and level: the whole split, scored"
        figure.legend(*row[0].get_legend_handles_labels(), title=title, **legend)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _draw(
    axes: Any, field: str, curves: Mapping[str, Sequence[Mapping[str, Any]]], levels: Mapping[str, float]
) -> None:
    """One panel: all curves over ``field``, and the levels."""
    for number, (label, points) in enumerate(curves.items()):
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        known = [p for p in points if p["valid_loss"] < 700 and p.get(field) is not None]
        places, perplexities = [p[field] for p in known], [math.exp(p["valid_loss"]) for p in known]
        axes.plot(places, perplexities, marker=marker, markersize=3.5, linewidth=1.2, color=color, label=label)
        if label in levels and places:
            axes.plot(places[-1], levels[label], marker="*", markersize=11, color=color)
    constant = sorted((perplexity, label) for label, perplexity in levels.items() if label not in curves)
    for number, (perplexity, label) in enumerate(constant):
        style = {"linestyle": ("--", ":", "-.")[number % 3], "linewidth": 1, "color": "0.4"}
        axes.axhline(perplexity, label=f"{label} ({perplexity:,.5g})", **style)
    seen = [math.exp(p["valid_loss"]) for points in curves.values() for p in points if p["valid_loss"] < 700]
    axes.set_yscale("log", subs=(2, 3, 5, 7))
    if seen and axes.get_ylim()[1] > 2 * max(seen):
        axes.set_ylim(top=2 * max(seen))  # what only guesses would press all else together
    axes.xaxis.set_major_formatter(_short)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter("{x:,.0f}")
    axes.grid(visible=True, which="both", alpha=0.2)


def _short(number: float, _: int = 0) -> str:
    """A number under an axis: thousands and millions by a letter.

    >>> _short(20), _short(2500), _short(1.5e6)
    ('20', '2.5k', '1.5M')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"
