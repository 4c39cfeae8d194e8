"""Plots: drawn from the files of a run, the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from lmbench.benchmark.results import Result, RunFolder
from lmbench.report.plots import learning_curves, write_plots

CURVE = [{"seconds": s, "valid_loss": loss} for s, loss in ((1.0, 5.0), (2.0, 4.5), (3.0, 1e9))]


def run_with(tmp_path: Path, curve: list[dict[str, float]]) -> Path:
    folder = RunFolder(tmp_path)
    folder.create()
    folder.write_results(
        {}, [Result("gpt", None, 99.0, folder="gpt"), Result("ngram", None, folder="ngram", valid_perplexity=80.0)]
    )
    folder.model("gpt").mkdir()
    folder.fit("gpt").write_text(json.dumps({"report": {"curve": curve}}), encoding="utf-8")
    return tmp_path


def test_a_drawing_is_written_and_the_same_each_time(tmp_path: Path) -> None:
    (path,) = write_plots(run_with(tmp_path, CURVE))
    assert path == tmp_path / "plots/learning_curves.svg"
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)
    assert all(word in text for word in ("gpt", "ngram", "validation perplexity"))
    assert text == learning_curves({"gpt": CURVE}, {"ngram": 80.0})


def test_without_a_curve_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert write_plots(run_with(tmp_path, [])) == []


def test_each_cost_that_is_known_has_a_panel() -> None:
    old = learning_curves({"gpt": CURVE}, {})  # of a version that kept seconds only
    assert "seconds of training" in old
    assert "tokens read" not in old
    new = learning_curves({"gpt": [{**point, "tokens": 2e6, "epochs": 1.5} for point in CURVE]}, {})
    assert all(words in new for words in ("seconds of training", "tokens read", "epochs"))


def test_what_only_guesses_does_not_press_the_others_together() -> None:
    """The highest point is exp(5) = 148; a level of 10,000 is named in the legend, and lies outside."""
    text = learning_curves({"gpt": CURVE}, {"uniform": 10_000.0})
    assert "uniform (10,000)" in text
    assert ">200<" in text
    assert ">2,000<" not in text
