"""A function that draws on axes -> a figure as SVG for a file, SVG for a page, and PNG: the look of every plot.

A plot is 324 points wide, so that it is read on a phone at its own size and three stand side by side on a screen.
Colours are the eight of Okabe & Ito (2008), each with a mark of its own; lines are labelled where they end, where
there is room, and not in a legend that must be looked up. matplotlib is loaded when something is drawn.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe & Ito, whose colours are told apart whatever kind of colour blindness one has ..."""
MARKERS = "os^Dv<>PX"
"""... and a mark for each model, as there are more models than colours, and print is grey."""
LINES = ("-", "--", ":", "-.")
"""Of a colour that comes again, the line."""
INK, MUTED, RULE, PAPER = "#1c1c1a", "#6b6b66", "#dededa", "#fefefe"
"""Text and axes, what stands back, grid lines, and the rim of marks: in a page they follow its light or dark theme."""
WIDTH = 4.5
"""Inches."""
LONGEST_LABEL = 24
CJK_FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "SimHei")
CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af]")
THEMED = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    PAPER: "var(--paper)",
    "#ffffff": "none",
    "#000000": "currentColor",
    "#0072b2": "var(--blue)",
}
"""Colour of a file -> what it is in a page."""
Draw = Callable[[Any], None]
"""What draws a plot on matplotlib's axes."""


@dataclass(frozen=True)
class Style:
    """How one model is drawn, in every plot of a report alike. ``name``: its label, shortened where it is long."""

    name: str
    color: str
    marker: str
    line: str = "-"


@dataclass(frozen=True)
class Plot:
    """One picture. ``name`` of its files; ``title``; ``caption``, a sentence that says what is seen; ``draw``: called
    with axes; ``height`` in inches."""

    name: str
    title: str
    caption: str
    draw: Draw
    height: float = 3.5

    @cached_property
    def _figure(self) -> Any:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        with mpl.rc_context(_settings(self.name)):
            figure = Figure(figsize=(WIDTH, self.height), layout="constrained")
            axes = figure.subplots()
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_axisbelow(True)
            self.draw(axes)
        return figure

    @cached_property
    def svg(self) -> str:
        """The file: text stays text; the same data give the same bytes."""
        text = io.StringIO()
        self._save(text, format="svg", metadata={"Date": None})
        return text.getvalue()

    @cached_property
    def png(self) -> bytes:
        """The same at 200 dots per inch."""
        content = io.BytesIO()
        self._save(content, format="png", dpi=200, metadata={"Software": None})
        return content.getvalue()

    def _save(self, file: Any, **settings: Any) -> None:
        import matplotlib as mpl

        with mpl.rc_context(_settings(self.name)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"Glyph .* missing")  # drawn as a box; the SVG has the character
            self._figure.savefig(file, **settings)

    @property
    def inline(self) -> str:
        """The SVG as a part of an HTML page: no heading of a file, identifiers of its own, colours of the theme."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
        body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
        body = re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2)
        body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", body)
        body = re.sub(r"\n+\s*", "\n", body)
        return re.sub("|".join(THEMED), lambda found: THEMED[found[0]], body).rstrip()


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """Label -> how it is drawn: colours and marks in turn, so that no two of 63 models look alike."""
    names = short_names(labels)
    return {
        label: Style(
            names[label],
            COLORS[number % len(COLORS)],
            MARKERS[number % len(MARKERS)],
            LINES[number // len(COLORS) % len(LINES)],
        )
        for number, label in enumerate(labels)
    }


def short_names(labels: Sequence[str]) -> dict[str, str]:
    """Label -> the same in at most 24 characters and a number where two would be alike.

    >>> short_names(["gpt", "lstm:hidden=256:layers=2:dropout=0.5"])["lstm:hidden=256:layers=2:dropout=0.5"]
    'lstm:hidden=256…ropout=0.5'
    """
    found: dict[str, str] = {}
    for label in labels:
        short = label if len(label) <= LONGEST_LABEL + 2 else f"{label[:15]}…{label[-10:]}"
        alike = sum(1 for other in found.values() if other.rpartition(" #")[0] == short or other == short)
        found[label] = f"{short} #{alike + 1}" if alike else short
    return found


def figure_number(value: float) -> str:
    """A number beside a mark: what its size can carry.

    >>> figure_number(88.987), figure_number(2317.2), figure_number(3.14159), figure_number(0.1234)
    ('89.0', '2,317', '3.14', '0.123')
    """
    decimals = 0 if value >= 1000 else 1 if value >= 20 else 2 if value >= 1 else 3
    return f"{value:,.{decimals}f}"


def short_number(number: float, _: int = 0) -> str:
    """A number under an axis: thousands, millions and milliards by a letter.

    >>> short_number(20), short_number(2500), short_number(1.5e6), short_number(0.25)
    ('20', '2.5k', '1.5M', '0.25')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.4g}{letter}"
    return f"{number:.4g}"


def plain_ticks(axis: Any, *, logarithmic: bool = False) -> None:
    """Numbers as one says them along ``axis`` (matplotlib's xaxis or yaxis), few enough to be read."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    formatter = FuncFormatter(short_number)
    axis.set_major_formatter(formatter)
    if not logarithmic:
        axis.set_major_locator(MaxNLocator(5))
        return
    low, high = sorted(axis.get_view_interval())
    decades = high / low if low > 0 else 1e9
    subs = (1.0,) if decades > 300 else (1.0, 3.0) if decades > 60 else (1.0, 2.0, 5.0)
    if decades < 8:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def line(axes: Any, points: Sequence[tuple[float, float]], style: Style, **settings: Any) -> None:
    """One curve through ``points``, with a dozen marks at most; ``settings`` of matplotlib over those of the house."""
    look = {
        "marker": style.marker, "color": style.color, "linestyle": style.line, "linewidth": 1.4, "markersize": 4.5,
        "markeredgecolor": PAPER, "markeredgewidth": 0.5, "markevery": max(1, len(points) // 12), **settings,
    }  # fmt: skip
    axes.plot([x for x, _ in points], [y for _, y in points], **look)


def label_ends(axes: Any, ends: Mapping[str, float], drawn: Mapping[str, Style], colors: bool = True) -> None:
    """Write each name at the right edge at the height of its value, moved apart where they would overlap.

    ``ends``: label -> value on the y axis, whose limits and scale must be final.
    """
    size, inches = 9.0, axes.figure.get_figheight() * 0.8
    gap = size * 1.2 / 72 / inches
    places = {
        label: axes.transAxes.inverted().transform(axes.transData.transform((axes.get_xlim()[0], value)))[1]
        for label, value in ends.items()
    }
    ordered = sorted(places, key=lambda label: places[label])
    for label, height in zip(ordered, spread([places[label] for label in ordered], gap), strict=True):
        color = drawn[label].color if colors else MUTED
        axes.plot([1.0, 1.03], [places[label], height], transform=axes.transAxes, color=color, linewidth=0.8,
                  clip_on=False)  # fmt: skip
        axes.text(1.045, height, drawn[label].name, transform=axes.transAxes, va="center", fontsize=size, color=INK)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Rising ``places`` in [0, 1], moved as little as may be until neighbours are ``gap`` apart.

    Neighbours that are too close form a block around their mean (the pool-adjacent-violators algorithm).

    >>> [round(place, 2) for place in spread([0.1, 0.5, 0.5], 0.1)]
    [0.1, 0.45, 0.55]
    """
    blocks: list[list[float]] = []  # sum of (place - own offset in the block), number of members
    for place in (min(max(place, 0.0), 1.0) for place in places):
        blocks.append([place, 1.0])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] + blocks[-2][1] * gap > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total - blocks[-1][1] * gap * count
            blocks[-1][1] += count
    moved = [total / count + number * gap for total, count in blocks for number in range(int(count))]
    over = max(0.0, moved[-1] - 1.0) if moved else 0.0
    return [place - over for place in moved] if over and moved[0] - over >= -0.2 else moved


def label_points(
    axes: Any,
    points: Mapping[str, tuple[float, float]],
    drawn: Mapping[str, Style],
    path: Sequence[tuple[float, float]] = (),
) -> None:
    """Write each name beside its point, on the side where it hides neither a mark nor another name, nor the ``path``.

    ``points``: label -> data coordinates; ``path``: corners of a line that goes across and up only, in such
    coordinates; limits and scales of ``axes`` must be final.
    """
    width, height = WIDTH * 72 * 0.84, axes.figure.get_figheight() * 72 * 0.8

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = axes.transAxes.inverted().transform(axes.transData.transform(point))
        return x * width, y * height

    middle = {label: place(point) for label, point in points.items()}
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in middle.values()]
    for (left, low), (right, high) in pairwise(map(place, path)):
        taken.append((min(left, right) - 1, min(low, high) - 1, max(left, right) + 1, max(low, high) + 1))
    for label, (x, y) in sorted(middle.items(), key=lambda item: -item[1][0]):
        long = 5.6 * len(drawn[label].name)
        choices = [
            (dx, dy, box)
            for dx, dy in ((8, 0), (-8, 0), (0, 11), (0, -11), (8, 10), (-8, 10), (8, -10), (-8, -10),
                           (12, 20), (-12, 20), (12, -20), (-12, -20))
            if (box := _box(x + dx, y + dy, long, dx))[0] > -4 and box[2] < width + 12 and -8 < box[1] < height + 8
        ] or [(8, 0, _box(x + 8, y, long, 8))]  # fmt: skip
        dx, dy, box = min(choices, key=lambda choice: sum(_overlap(choice[2], other) for other in taken))
        taken.append(box)
        axes.annotate(
            drawn[label].name, points[label], (dx, dy), textcoords="offset points", fontsize=9, color=INK,
            va="center", ha="left" if dx > 0 else "right" if dx < 0 else "center",
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5} if abs(dy) > 15 else None,
        )  # fmt: skip


def _box(x: float, y: float, long: float, side: float) -> tuple[float, float, float, float]:
    left = x if side > 0 else x - long if side < 0 else x - long / 2
    return (left, y - 5.5, left + long, y + 5.5)


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Square points that two boxes share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


@lru_cache
def _fonts() -> tuple[str, ...]:
    """The font of plots, and one with Chinese characters where this machine has it."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in CJK_FONTS if name in there][:1])


def lacks_font(text: str) -> bool:
    """Whether ``text`` has Chinese, Japanese or Korean characters, which would be boxes in a PNG of this machine."""
    return len(_fonts()) == 1 and bool(CJK.search(text))


def _settings(name: str) -> Any:
    """matplotlib's settings while the plot called ``name`` is drawn and written."""
    return {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": list(_fonts()),
        "font.size": 10,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.grid": True,
        "axes.linewidth": 0.6,
        "grid.color": RULE,
        "grid.linewidth": 0.6,
        "text.color": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
