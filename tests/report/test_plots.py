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
