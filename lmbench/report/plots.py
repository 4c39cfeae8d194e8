"""The folder of a run -> its plots, by section of the report, and their files: ``plots/*.svg`` and ``plots/*.png``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lmbench.benchmark.results import Result, RunFolder
from lmbench.report import charts
from lmbench.report.breakdowns import TokenScores, breakdowns, read_token_scores
from lmbench.report.drawing import Plot, Style
from lmbench.report.profiles import profiles
from lmbench.report.scaling import at_largest
from lmbench.report.scaling_plot import sized_styles, train_sizes
from lmbench.report.tables import groups

Plots = Mapping[str, Sequence[Plot]]
"""Section of the page -> what is drawn in it; no section is missing, some are empty."""


def draw(folder: RunFolder, results: Sequence[Result]) -> Plots:
    """Every plot that the run in ``folder`` has data for; each is drawn when it is first asked for.

    Where the run compares training sizes, a plot over them, and the others of the largest.

    Raises ResultsError where a file of the run is damaged.
    """
    drawn = sized_styles(results)
    found: dict[str, list[Plot]] = {"sizes": train_sizes(folder, results, drawn), "perplexity": [], "cost": []}
    results = at_largest(results)
    apart = groups(results)
    for number, group in enumerate(apart, 1):
        suffix = f"_{number}" if len(apart) > 1 else ""
        found["perplexity"] += charts.perplexities(group.results, drawn, suffix)
        found["cost"] += charts.costs(group.results, drawn, suffix)
    found["curves"] = _curves(folder, results, drawn)
    found["breakdowns"] = _profiles(folder, drawn)
    found["phenomena"] = charts.phenomena(accuracies(results), drawn)
    return found


def write_plots(path: str | Path, plots: Plots | None = None) -> list[Path]:
    """Write each plot of the run in the folder ``path`` as SVG and as PNG; the files.

    ``plots``: what ``draw`` gave, where it is at hand. Raises ResultsError where the folder is not that of a run, or
    cannot be written.
    """
    folder = RunFolder(path)
    if plots is None:
        plots = draw(folder, folder.read_results())
    written = []
    for plot in (plot for section in plots.values() for plot in section):
        folder.write_text(f"plots/{plot.name}.svg", plot.svg)
        folder.write_bytes(f"plots/{plot.name}.png", plot.png)
        written += [folder.path / "plots" / f"{plot.name}.{form}" for form in ("svg", "png")]
    return written


def accuracies(results: Sequence[Result]) -> dict[str, dict[str, dict[str, float]]]:
    """Phenomenon -> label -> ``accuracy``, ``low`` and ``high`` in [0, 1], ``sets``."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for result in results:
        for name, row in ((result.details.get("ranking") or {}).get("phenomena") or {}).items():
            found.setdefault(name, {})[result.label] = row
    return found


def _profiles(folder: RunFolder, drawn: Mapping[str, Style]) -> list[Plot]:
    scores = token_scores(folder)
    if scores is None:
        return []
    unit = "sentence" if scores.heldout.line == "sentence" else "document"
    return profiles(breakdowns(scores), drawn, unit)


def token_scores(folder: RunFolder) -> TokenScores | None:
    """The nats of each test token under the models that are distributions, those of the largest training size; None
    where the run kept none."""
    scores = read_token_scores(folder)
    if scores is None:
        return None
    shown = {result.label for result in at_largest(scores.results) if result.pseudo_perplexity is None}
    fair = [number for number, label in enumerate(scores.labels) if label in shown]
    return replace(scores, results=tuple(scores.results[i] for i in fair), nats=scores.nats[fair]) if fair else None


def _curves(folder: RunFolder, results: Sequence[Result], drawn: Mapping[str, Style]) -> list[Plot]:
    curves = {result.label: curve for result in results if (curve := folder.read_curve(result))}
    both = {result.label for result in results if result.pseudo_perplexity is not None}  # of both sides of a token
    known = {result.label: result.valid_perplexity or math.inf for result in results}
    levels = {label: perplexity for label, perplexity in known.items() if math.isfinite(perplexity)}
    corpus = folder.read_facts().get("corpus") or {}
    epoch = results[0].train_tokens if results else None
    epoch = epoch or ((corpus.get("splits") or {}).get("train") or {}).get("events")
    found = []
    if ranked := {label: curve for label, curve in curves.items() if label not in both}:
        found += charts.learning_curves(ranked, levels, drawn, epoch=epoch)
    if pseudo := {label: curve for label, curve in curves.items() if label in both}:
        found += charts.learning_curves(pseudo, {}, drawn, "pseudo-perplexity", epoch)
    return found
