"""Results of several runs in one frame."""

from __future__ import annotations

from pathlib import Path

import pytest

import lmbench
from lmbench.benchmark.results import COLUMNS, Result, RunFolder
from lmbench.errors import ResultsError, UsageError


def write_run(path: Path, corpus: str, *results: Result) -> Path:
    folder = RunFolder(path)
    folder.create()
    folder.write_results({"corpus": {"name": corpus}, "tokenizer": {"spec": "word"}}, results)
    return path


def test_a_row_a_model_and_seed_and_run(tmp_path: Path) -> None:
    trained = [Result("lstm", seed, perplexity=100.0 + seed, events=82430, comparison="x") for seed in (1, 2)]
    one = write_run(tmp_path / "one", "ptb", *trained)
    two = write_run(
        tmp_path / "two", "中文", Result("ngram", None, perplexity=float("inf"), parameters=7, comparison="y")
    )
    frame = lmbench.load_results(one, str(two))
    assert list(frame.columns) == ["run", "corpus", "tokenizer", *COLUMNS]
    assert frame["run"].tolist() == [str(one), str(one), str(two)]
    assert frame["corpus"].tolist() == ["ptb", "ptb", "中文"]
    assert frame["model"].tolist() == ["lstm", "lstm", "ngram"]
    assert frame["seed"].dropna().tolist() == [1, 2]
    assert frame["perplexity"].tolist() == [101.0, 102.0, float("inf")]
    assert frame.groupby("corpus")["perplexity"].mean()["ptb"] == 101.5
    assert str(frame["seed"].dtype) == str(frame["events"].dtype) == "Int64"
    assert str(frame["bits_per_byte"].dtype) == "float64", "what is missing everywhere is a number all the same"


def test_an_empty_run_is_no_row(tmp_path: Path) -> None:
    assert len(lmbench.load_results(write_run(tmp_path / "none", "ptb"))) == 0


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not the folder of a run"):
        lmbench.load_results(tmp_path)
    with pytest.raises(UsageError, match="No run is named"):
        lmbench.load_results()
