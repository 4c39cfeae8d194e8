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
    levels = {result.label: result.valid_perplexity for result in results if result.label not in curves}
    text = learning_curves(curves, {name: value for name, value in levels.items() if value})
    folder.write_text("plots/learning_curves.svg", text)
    return [folder.path / "plots" / "learning_curves.svg"]


def learning_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], levels: Mapping[str, float]) -> str:
    """An SVG: a line for each model over the seconds of its training, a dashed level for each that has no curve.

    ``curves``: label -> points with ``seconds`` and ``valid_loss`` (nats per event). ``levels``: label -> perplexity
    on the validation split.
    """
    from io import StringIO

    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "lmbench", "svg.fonttype": "none", "font.size": 9}):  # same data, same file
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for label, points in curves.items():
            known = [(p["seconds"], math.exp(p["valid_loss"])) for p in points if p["valid_loss"] < 700]
            axes.plot([x for x, _ in known], [y for _, y in known], marker=".", label=label)
        for number, (label, perplexity) in enumerate(sorted(levels.items(), key=lambda pair: pair[1])):
            style = ("--", ":", "-.")[number % 3]
            axes.axhline(perplexity, linestyle=style, linewidth=1, color="0.4", label=label)
        axes.set_yscale("log")
        axes.set_xlabel("seconds of training")
        axes.set_ylabel("validation perplexity (estimate in training)")
        axes.grid(visible=True, which="both", alpha=0.2)
        axes.legend(frameon=False)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
