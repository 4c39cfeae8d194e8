"""The folder of a run -> ``plots/learning_curves.svg``: validation perplexity over training time.

matplotlib is loaded when something is drawn, and draws without a screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmbench.benchmark.results import RunFolder


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
    """An SVG: a line for each model over the seconds of its training, a dashed level for each that has no curve.

    ``curves``: label -> points with ``seconds`` and ``valid_loss`` (nats per event), an estimate on a part of the
    validation split, where a window of text may stand alone. ``levels``: label -> perplexity on the whole of it, by
    the scorer that makes the table: a star at the end of a curve. Stars and levels compare, curves show the way.
    """
    from io import StringIO

    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "lmbench", "svg.fonttype": "none", "font.size": 9}):  # same data, same file
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for label, points in curves.items():
            known = [(p["seconds"], math.exp(p["valid_loss"])) for p in points if p["valid_loss"] < 700]
            (line,) = axes.plot([x for x, _ in known], [y for _, y in known], marker=".", label=label)
            if label in levels and points:
                axes.plot(points[-1]["seconds"], levels[label], marker="*", markersize=11, color=line.get_color())
        constant = sorted((perplexity, label) for label, perplexity in levels.items() if label not in curves)
        for number, (perplexity, label) in enumerate(constant):
            style = ("--", ":", "-.")[number % 3]
            axes.axhline(perplexity, linestyle=style, linewidth=1, color="0.4", label=label)
        axes.set_yscale("log")
        axes.set_xlabel("seconds of training")
        axes.set_ylabel("validation perplexity (line: estimate, star: scored)")
        axes.yaxis.set_major_formatter("{x:,.4g}")
        axes.yaxis.set_minor_formatter("{x:,.4g}")
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.legend(frameon=False)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
