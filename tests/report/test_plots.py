"""Plots: drawn from the files of a run, the same each time, each fit to stand in a page among others."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lmbench.benchmark.results import RunFolder
from lmbench.report import charts
from lmbench.report.drawing import Plot, lacks_font, short_names, spread, styles
from lmbench.report.plots import draw, write_plots
from tests.report.made_run import CURVE, Write, made

RESULTS = [made("gpt", 99.0, train_seconds=50.0), made("ngram", 120.0, details={}), made("模型=$x$_<b>", 300.0)]


def svg_of(plots: list[Plot], name: str) -> str:
    (plot,) = [plot for plot in plots if plot.name == name]
    return plot.svg


def test_every_plot_is_a_file_in_two_forms_and_the_same_each_time(write_run: Write) -> None:
    path = write_run(RESULTS)
    written = write_plots(path)
    names = {file.stem for file in written}
    assert {"perplexity", "cost_training", "cost_speed", "learning_curves_seconds", "phenomena"} <= names
    assert len(written) == 2 * len(names)
    first = {file: file.read_bytes() for file in written}
    assert write_plots(path) == written
    assert {file: file.read_bytes() for file in written} == first
    for file in written:
        if file.suffix == ".svg":
            ElementTree.fromstring(file.read_text(encoding="utf-8"))
        else:
            assert file.read_bytes().startswith(b"\x89PNG")


def test_names_are_text_whatever_they_hold(write_run: Write) -> None:
    """``$`` is no formula, ``<`` no tag, Chinese no box."""
    plots = [plot for section in draw(RunFolder(write_run(RESULTS)), RESULTS).values() for plot in section]
    assert "模型=$x$_&lt;b&gt;" in svg_of(plots, "perplexity")
    assert "<b>" not in svg_of(plots, "cost_training")


def test_identifiers_of_inline_drawings_do_not_clash(write_run: Write) -> None:
    plots = [plot for section in draw(RunFolder(write_run(RESULTS)), RESULTS).values() for plot in section]
    page = "".join(plot.inline for plot in plots)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers)) > 100
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(identifiers)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(identifiers)
    assert not re.search(r"<style|<metadata|<\?xml|#1c1c1a|font-family", page)


def test_nothing_to_draw(write_run: Write) -> None:
    assert write_plots(write_run([made("gpt", None, status="failed", details={}, comparison="")])) == []


def test_each_cost_that_is_known_has_a_plot() -> None:
    old = [{key: point[key] for key in ("seconds", "valid_loss")} for point in CURVE]  # of an earlier version
    drawn = styles(["gpt"])
    assert [plot.name for plot in charts.learning_curves({"gpt": old}, {}, drawn)] == ["learning_curves_seconds"]
    seconds, tokens = charts.learning_curves({"gpt": CURVE}, {}, drawn, epoch=2000)
    assert "seconds of training" in seconds.svg
    assert "tokens read" in tokens.svg
    assert "An epoch is 2,000 tokens." in tokens.caption


def test_what_only_guesses_does_not_press_the_others_together() -> None:
    """The highest point is exp(4.75) = 116; a level of 10,000 lies outside, and has no label there."""
    drawn = styles(["gpt", "uniform", "ngram"])
    (plot, _) = charts.learning_curves({"gpt": CURVE}, {"uniform": 10_000.0, "ngram": 100.0}, drawn)
    assert ">ngram<" in plot.svg
    assert ">uniform<" not in plot.svg
    assert ">2k<" not in plot.svg


def test_what_a_network_guesses_at_first_does_not_either() -> None:
    """It begins at exp(12) = 162,755 and ends at exp(4) = 55: the axis at five times that."""
    curve = [{"seconds": float(second), "valid_loss": loss} for second, loss in enumerate((12.0, 9.0, 5.0, 4.0))]
    (plot,) = charts.learning_curves({"lstm": curve}, {}, styles(["lstm"]))
    assert ">100<" in plot.svg
    assert not re.search(r">\d+k<", plot.svg)


def test_what_reads_both_sides_has_curves_of_its_own(write_run: Write) -> None:
    results = [made("gpt", 99.0), made("bert", None, pseudo_perplexity=9.0)]
    curves = draw(RunFolder(write_run(results)), results)["curves"]
    assert [(plot.name, "bert" in plot.svg) for plot in curves if plot.name.endswith("seconds")] == [
        ("learning_curves_seconds", False),
        ("pseudo_perplexity_curves_seconds", True),
    ]


def test_groups_are_drawn_apart(write_run: Write) -> None:
    results = [
        made("gpt", 99.0),
        made("lstm", 101.0),
        made("bytes", 3.0, comparison="two"),
        made("b2", 4.0, comparison="two"),
    ]
    first, second = draw(RunFolder(write_run(results)), results)["perplexity"]
    assert (first.name, second.name) == ("perplexity_1", "perplexity_2")
    assert "bytes" not in first.svg


@pytest.mark.parametrize(
    ("points", "gain", "front"),
    [
        ({"a": (1, 9.0), "b": (2, 4.0), "c": (3, 4.0)}, False, ["a", "b"]),
        ({"a": (1, 9.0), "b": (2, 4.0), "c": (3, 5.0)}, True, ["c", "b"]),
        ({"a": (1, 4.0), "b": (1, 3.0)}, False, ["b"]),
    ],
)
def test_the_pareto_front(points: dict[str, tuple[float, float]], gain: bool, front: list[str]) -> None:
    assert charts.pareto(points, more_is_better=gain) == front


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    # three at 0.5 with gaps of 0.1 form a block around 0.5; the one at 0.9 stays
    assert [round(place, 6) for place in spread([0.5, 0.5, 0.5, 0.9], 0.1)] == [0.4, 0.5, 0.6, 0.9]
    assert [round(place, 6) for place in spread([0.98, 1.0], 0.1)] == [0.9, 1.0]  # pushed back from the edge
    assert spread([], 0.1) == []


def test_long_names_stay_apart_when_shortened() -> None:
    alike = [f"lstm:hidden=256:layers={n}:learning_rate=0.002:dropout=0.5" for n in range(12)]
    names = short_names([*alike, "gpt"])
    assert len(set(names.values())) == 13
    assert max(map(len, names.values())) <= 30
    assert names["gpt"] == "gpt"


def test_no_two_of_many_models_look_alike() -> None:
    drawn = styles([f"m{number}" for number in range(60)])
    assert len({(style.color, style.marker) for style in drawn.values()}) == 60


def test_a_plot_of_a_page_is_drawn_where_the_folder_is_read_only(tmp_path: Path) -> None:
    plot = Plot("one", "One", "A point.", lambda axes: axes.plot([1], [1], "o"))
    assert plot.inline.startswith("<svg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fonts", "text", "lacks"), [(1, "模型", True), (1, "model, é", False), (2, "模型", False)])
def test_boxes_are_foreseen(monkeypatch: pytest.MonkeyPatch, fonts: int, text: str, lacks: bool) -> None:
    monkeypatch.setattr("lmbench.report.drawing._fonts", lambda: ("a", "b")[:fonts])
    assert lacks_font(text) is lacks
