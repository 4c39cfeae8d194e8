"""Results of models -> their plots: perplexity with intervals, quality against cost, accuracies, learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.benchmark.results import Result
from lmbench.report.drawing import (
    INK,
    MUTED,
    PAPER,
    RULE,
    Draw,
    Plot,
    Style,
    figure_number,
    label_ends,
    label_points,
    line,
    plain_ticks,
)

COSTS = (
    ("train_seconds", "seconds of training", "training"),
    ("parameters", "parameters, or n-grams stored", "parameters"),
    ("memory_added_mib", "memory that it added to the process (MiB)", "memory"),  # 0 is drawn as LEAST_MIB
    ("score_tokens_per_second", "tokens scored in a second", "speed"),
)
"""Field of a result -> what stands under its panel; the name of its file after ``cost_``."""
LEAST_MIB = 0.1
"""The axis is logarithmic, and what fits into memory that the process had already added nothing."""
PANELS = (("seconds", "seconds of training"), ("tokens", "tokens read"))
"""Field of a point of a learning curve -> what stands under its panel."""
ABOVE = 5
"""Learning curves are drawn from so many times the highest perplexity at which one ends."""
KINDS = (("perplexity", "perplexity"), ("adaptive_perplexity", "adaptive perplexity"))
WIDE = 4.0
"""Ratio of the largest to the smallest perplexity from which on the axis is logarithmic."""
MANY_PHENOMENA = 30
Curves = Mapping[str, Sequence[Mapping[str, Any]]]


def perplexities(results: Sequence[Result], drawn: Mapping[str, Style], suffix: str = "") -> list[Plot]:
    """A dot and its 95 % interval for each model of one group, the best on top; a plot for each kind of perplexity."""
    found = []
    for name, words in KINDS:
        known = [result for result in results if math.isfinite(getattr(result, name) or math.inf)]
        if len(known) > 1:
            caption = f"{words.capitalize()} of the test split with its 95 % interval; lower is better."
            rows = sorted(known, key=lambda result: getattr(result, name))
            draw = _whiskers(rows, drawn, name, words)
            found.append(Plot(name + suffix, words.capitalize(), caption, draw, 0.75 + 0.3 * len(rows)))
    return found


def _whiskers(rows: Sequence[Result], drawn: Mapping[str, Style], name: str, words: str) -> Draw:
    def draw(axes: Any) -> None:
        values = [getattr(row, name) for row in rows]
        wide = max(values) > WIDE * min(values)
        for place, (row, value) in enumerate(zip(rows, values, strict=True)):
            style, low, high = drawn[row.label], getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
            if low is not None and high is not None and math.isfinite(high):
                axes.plot([low, high], [place, place], color=style.color, linewidth=2, solid_capstyle="round")
            face, edge = (PAPER, style.color) if row.kind == "source" else (style.color, PAPER)
            axes.plot(value, place, style.marker, markersize=7, markerfacecolor=face, markeredgecolor=edge)
            axes.text(1.02, place, figure_number(value), transform=axes.get_yaxis_transform(), va="center", fontsize=9)
        axes.set_yticks(range(len(rows)), [drawn[row.label].name for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(words + (" (logarithmic)" if wide else ""))
        _scale(axes, "x", wide)

    return draw


def costs(results: Sequence[Result], drawn: Mapping[str, Style], suffix: str = "") -> list[Plot]:
    """Perplexity against each cost, with the line of what no other model beats in both (the Pareto front)."""
    ranked = [r for r in results if r.perplexity is not None and math.isfinite(r.perplexity) and r.kind != "source"]
    found = []
    for field, words, name in COSTS:
        least = LEAST_MIB if name == "memory" else 0.0
        known = {r.label: (max(float(x), least), float(r.perplexity or 0)) for r in ranked
                 if (x := getattr(r, field)) is not None}  # fmt: skip
        points = {label: point for label, point in known.items() if point[0] > 0}
        if len(points) > 1:
            better = "right" if name == "speed" else "left"
            caption = f"Perplexity against {words}: what lies further down and {better} is better."
            title = f"Against {name}" if name != "training" else "Against training time"
            found.append(Plot(f"cost_{name}{suffix}", title, caption, _scatter(points, drawn, words, name == "speed")))
    return found


def pareto(points: Mapping[str, tuple[float, float]], *, more_is_better: bool = False) -> list[str]:
    """Labels of the points that no other beats in one coordinate without being worse in the other, cheapest first.

    ``points``: label -> (cost, perplexity), both better where they are lower; ``more_is_better``: the first is a gain.

    >>> pareto({"fast": (1, 9.0), "good": (5, 4.0), "neither": (6, 5.0)})
    ['fast', 'good']
    """
    sign = -1 if more_is_better else 1
    front: list[str] = []
    best = math.inf
    for label, (_, value) in sorted(points.items(), key=lambda item: (sign * item[1][0], item[1][1], item[0])):
        if value < best:
            front.append(label)
            best = value
    return front


def _scatter(points: Mapping[str, tuple[float, float]], drawn: Mapping[str, Style], words: str, gain: bool) -> Draw:
    def draw(axes: Any) -> None:
        front = pareto(points, more_is_better=gain)
        path = [points[front[0]]]
        for label in front[1:]:  # across, then down: between two models the cheaper one is what there is
            path += [(points[label][0], path[-1][1]), points[label]]
        axes.plot(*zip(*path, strict=True), color=MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        for label, (x, y) in points.items():
            style = drawn[label]
            axes.plot(x, y, style.marker, color=style.color, markersize=8, markeredgecolor=PAPER)
        axes.set_xscale("log")
        low, high = min(x for x, _ in points.values()), max(x for x, _ in points.values())
        room = max(1.25, (high / low) ** 0.12)
        axes.set_xlim(low / room, high * room)
        _scale(axes, "y", max(y for _, y in points.values()) > WIDE * min(y for _, y in points.values()))
        plain_ticks(axes.xaxis, logarithmic=True)
        axes.set_xlabel(words)
        axes.set_ylabel("perplexity")
        label_points(axes, points, drawn, path)

    return draw


def learning_curves(
    curves: Curves,
    levels: Mapping[str, float],
    drawn: Mapping[str, Style],
    kind: str = "perplexity",
    epoch: int | None = None,
) -> list[Plot]:
    """A plot for each cost in ``PANELS`` that is known: a line for each model, a dashed level for each without a curve.

    ``curves``: label -> points with ``valid_loss`` (nats per event), an estimate on a part of the validation split, in
    which a window of text may stand alone, and with fields of ``PANELS``. ``levels``: label -> perplexity on the whole
    of it, by the scorer that makes the table: a star at the end of a curve. Stars and levels compare, curves show the
    way. ``kind``: of perplexity, as what is told from both sides stands in plots of its own. ``epoch``: the
    tokens of one, where they are known.
    """
    points = [point for curve in curves.values() for point in curve]
    panels = [panel for panel in PANELS if any(point.get(panel[0]) is not None for point in points)]
    name = "learning_curves" if kind == "perplexity" else f"{kind.replace('-', '_')}_curves"
    whole = " Stars and dashed levels are the whole of it, scored." if levels else ""
    passes = f" An epoch is {epoch:,} tokens." if epoch else ""
    about = "Estimates on a part of the validation split, over"
    return [
        Plot(
            f"{name}_{field}",
            f"{kind.capitalize()} over {words}",
            f"{about} {words}.{passes if field == 'tokens' else ''}{whole}",
            _lines(curves, levels, drawn, field, (words, f"validation {kind}")),
            3.8,
        )
        for field, words in panels
    ]


def _lines(
    curves: Curves, levels: Mapping[str, float], drawn: Mapping[str, Style], field: str, words: tuple[str, str]
) -> Draw:
    def draw(axes: Any) -> None:
        ends = dict(levels)
        seen: list[float] = []
        last: list[float] = []
        for label, curve in curves.items():
            points = [
                (p[field], math.exp(p["valid_loss"]))
                for p in curve
                if p["valid_loss"] < 700 and p.get(field) is not None
            ]
            if points:
                seen += [height for _, height in points]
                last.append(points[-1][1])
                ends.setdefault(label, points[-1][1])
                line(axes, points, drawn[label])
                if label in levels:
                    star = {"markersize": 11, "color": drawn[label].color, "markeredgecolor": PAPER}
                    axes.plot(points[-1][0], levels[label], "*", **star)
        for label in (label for label in levels if label not in curves):
            axes.axhline(levels[label], color=drawn[label].color, linewidth=1, linestyle=(0, (4, 2)))
        axes.set_yscale("log")
        if seen:  # what only guesses, and what a network guesses at first, would press all else together
            axes.set_ylim(top=min(axes.get_ylim()[1], 2 * max(seen), ABOVE * max(last)))
        plain_ticks(axes.yaxis, logarithmic=True)
        plain_ticks(axes.xaxis)
        axes.set_xlabel(words[0])
        axes.set_ylabel(words[1])
        low, high = axes.get_ylim()
        label_ends(axes, {label: end for label, end in ends.items() if low <= end <= high}, drawn)

    return draw


def phenomena(accuracies: Mapping[str, Mapping[str, Mapping[str, float]]], drawn: Mapping[str, Style]) -> list[Plot]:
    """Accuracy with its interval by phenomenon: a row for each, a mark for each model.

    ``accuracies``: phenomenon -> label -> accuracy, low, high, in [0, 1]. No plot of one or of very many phenomena.
    """
    models = list(dict.fromkeys(label for row in accuracies.values() for label in row))
    if not 1 < len(accuracies) <= MANY_PHENOMENA:
        return []
    caption = "Share of candidate sets whose right sentence was ranked first, with 95 % intervals; higher is better."
    height = 0.9 + len(accuracies) * (0.12 + 0.12 * len(models)) + 0.17 * math.ceil(len(models) / 3)
    return [Plot("phenomena", "Ranking accuracy", caption, _accuracies(accuracies, models, drawn), height)]


def _accuracies(
    accuracies: Mapping[str, Mapping[str, Mapping[str, float]]], models: Sequence[str], drawn: Mapping[str, Style]
) -> Draw:
    def draw(axes: Any) -> None:
        step = 0.8 / len(models)
        for row, marks in enumerate(accuracies.values()):
            axes.axhspan(row - 0.45, row + 0.45, color=RULE, alpha=0.35 if row % 2 else 0, linewidth=0)
            for number, label in enumerate(models):
                if label in marks:
                    style, found = drawn[label], marks[label]
                    y = row - 0.4 + step * (number + 0.5)
                    axes.plot([100 * found["low"], 100 * found["high"]], [y, y], color=style.color, linewidth=1.2)
                    name = style.name if row == 0 else None
                    rim = {"markeredgecolor": PAPER, "markeredgewidth": 0.5}
                    axes.plot(
                        100 * found["accuracy"], y, style.marker, color=style.color, markersize=5, label=name, **rim
                    )
        axes.set_yticks(range(len(accuracies)), list(accuracies))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(accuracies) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.axvline(50, color=MUTED, linewidth=0.6)
        axes.set_xlabel("right sentence first (%)")
        axes.figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK,
                           handletextpad=0.3, columnspacing=1.2)  # fmt: skip

    return draw


def _scale(axes: Any, which: str, logarithmic: bool) -> None:
    """Numbers along one axis, on a logarithmic scale where they lie far apart."""
    if logarithmic:
        getattr(axes, f"set_{which}scale")("log")
    axes.margins(**{which: 0.08})
    plain_ticks(getattr(axes, f"{which}axis"), logarithmic=logarithmic)
