"""Curves over training sizes and where they cross -> their plot: ``plots/train_sizes.svg`` and ``.png``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lmbench.benchmark.results import Result, RunFolder
from lmbench.report.drawing import INK, Plot, Style, label_ends, line, plain_ticks, styles
from lmbench.report.scaling import Crossing, Curve, crossings, curves, sentences, with_intervals

CAPTION = (
    "Perplexity of the test split after training on so much text, both scales logarithmic. Dotted: the law fitted to "
    "each model; a ring: two models change places, a dotted one by a guess from the laws."
)


def sized_styles(results: Sequence[Result]) -> dict[str, Style]:
    """Label -> how it is drawn; where a run compares training sizes a model looks alike at all of them."""
    models = list(dict.fromkeys(result.model for result in results))
    if all(result.train_tokens is None for result in results):
        return styles([result.label for result in results])
    drawn, names = styles(models), styles([result.label for result in results])
    return {result.label: replace(drawn[result.model], name=names[result.label].name) for result in results}


def train_sizes(folder: RunFolder, results: Sequence[Result], drawn: Mapping[str, Style]) -> list[Plot]:
    """One plot, its caption the curves in words; none unless some model was trained at two sizes."""
    found = [curve for curve in curves(results) if len(curve.tokens) > 1 and np.isfinite(curve.nats).any()]
    if not found:
        return []
    words = " ".join([CAPTION, *sentences(with_intervals(folder, found))])
    looks = {curve.title: replace(drawn[curve.results[0][0].label], name=curve.title) for curve in found}
    title = "Perplexity over training text"
    return [Plot("train_sizes", title, words, lambda axes: _draw(axes, found, crossings(found), looks), 4.6)]


def _draw(axes: Any, found: Sequence[Curve], met: Sequence[Crossing], looks: Mapping[str, Style]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    furthest = max([crossing.tokens for crossing in met], default=0.0)
    ends = {}
    for curve in found:
        look, finite = looks[curve.title], np.isfinite(curve.nats)
        points = list(zip(curve.tokens[finite].tolist(), curve.perplexities[finite].tolist(), strict=True))
        line(axes, points, look)
        ends[curve.title] = points[-1][1]
        if curve.law is not None:
            tokens = np.geomspace(curve.tokens[0], max(curve.tokens[-1], furthest), 60)
            heights = [np.exp(curve.law.nats(place)) for place in tokens]
            axes.plot(tokens, heights, color=look.color, linewidth=0.9, linestyle=":")
            if furthest > curve.tokens[-1]:
                ends[curve.title] = heights[-1]
    for crossing in met:
        axes.scatter(
            [crossing.tokens], [crossing.perplexity],
            s=110, facecolors="none", edgecolors=INK, linestyle="-" if crossing.measured else ":", zorder=5,
        )  # fmt: skip
    plain_ticks(axes.yaxis, logarithmic=True)
    plain_ticks(axes.xaxis, logarithmic=True)
    axes.set_xlabel("tokens of training text")
    axes.set_ylabel("test perplexity")
    label_ends(axes, ends, looks)
