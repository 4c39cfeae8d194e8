"""Tables: what is compared with what, in which order, and how it is written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lmbench.benchmark.results import COLUMNS, Result, RunFolder
from lmbench.errors import ResultsError
from lmbench.report.tables import failures, groups, notes, tabulate, to_latex, to_markdown, write_tables


def made(model: str, perplexity: float | None = None, **fields: object) -> Result:
    known = {
        "seed": None,
        "bits_per_byte": None if perplexity is None else 1.0,
        "comparison": "one",
        "signature": f"ppl|{model}",
        "kind": "toy",
        **fields,
    }
    return Result(model=model, perplexity=perplexity, **known)  # type: ignore[arg-type]


RESULTS = [
    made("gpt", 120.456, perplexity_low=118.0, perplexity_high=123.0, ranking_accuracy=0.755, parameters=1234567),
    made("lstm:hidden=8", 99.5, ranking_accuracy=0.7, parameters=1000, unknown_rate=0.058),
    made("backoff", None, pseudo_perplexity=50.0, ranking_accuracy=0.8),
    made("source", 90.0, kind="source", excess_over_source=0.0),
    made("byte_lstm", 3.0, comparison="two"),
    made("broken", None, comparison="", status="failed", reason="TrainingError: it diverged"),
]


def test_rows_are_ranked_only_with_those_that_predict_the_same_events() -> None:
    first, second = groups(RESULTS)
    assert [result.model for result in first.results] == ["source", "lstm:hidden=8", "gpt", "backoff"]
    assert [result.model for result in second.results] == ["byte_lstm"]
    assert [result.model for result in failures(RESULTS)] == ["broken"]


def test_what_learns_from_the_text_stands_below_in_columns_of_its_own() -> None:
    adaptive = {"adaptive_perplexity": 40.0, "adaptive_perplexity_low": 38.0, "adaptive_perplexity_high": 42.0}
    results = [
        RESULTS[2],
        made("ngram+cache", None, **adaptive),
        made("cache", None, adaptive_perplexity=60.0),
        RESULTS[0],
    ]
    (group,) = groups(results)
    assert [result.model for result in group.results] == ["gpt", "ngram+cache", "cache", "backoff"]
    table = tabulate(group)
    row = dict(zip(table.headings, table.cells[1], strict=True))
    assert row["perplexity"] == row["95 % interval"] == row["bits/byte"] == ""
    assert row["adaptive perplexity"] == "40.00"
    assert row["95 % interval (adaptive)"] == "38.00 to 42.00"
    assert any("learns from the test text" in note for note in notes(results))
    assert not any("learns from the test text" in note for note in notes(RESULTS))


def test_a_pseudo_perplexity_is_explained() -> None:
    assert any("pseudo-perplexity" in note for note in notes(RESULTS))
    assert not any("pseudo-perplexity" in note for note in notes(RESULTS[:2]))


def test_what_was_measured_before_a_failure_is_shown() -> None:
    (group,) = groups([made("gpt", 5.0, status="failed", reason="MemoryError: in ranking"), made("lstm", 6.0)])
    assert [result.model for result in group.results] == ["gpt", "lstm"]


def test_cells_are_written_for_the_eye() -> None:
    table = tabulate(groups(RESULTS)[0])
    gpt = dict(zip(table.headings, table.cells[2], strict=True))
    assert gpt["perplexity"] == "120.46"
    assert gpt["95 % interval"] == "118.00 to 123.00"
    assert gpt["ranking %"] == "75.5"
    assert gpt["parameters"] == "1,234,567"
    assert gpt["nats over source"] == ""
    assert "bits/char" not in table.headings, "a column in which nothing stands is left out"
    assert table.align[:2] == ("left", "right")


def test_the_best_are_marked_and_the_source_does_not_compete() -> None:
    table = tabulate(groups(RESULTS)[0])
    marked = {(table.cells[row][0], table.headings[column]) for row, column in table.best}
    assert marked == {("lstm:hidden=8", "perplexity"), ("backoff", "ranking %")}
    alone = tabulate(groups([made("gpt", 5.0), made("lstm", 5.0)])[0])
    assert not alone.best, "where all are equal nobody is best"


def test_notes_say_what_a_reader_must_know() -> None:
    told = " ".join(notes(RESULTS))
    assert "must not be compared" in told
    assert "5.8% of the events are <unk>" in told
    assert "broken failed: TrainingError: it diverged" in told
    assert "no model can be better" in told
    assert notes([made("gpt", 5.0)]) == []
    assert "do not give the text back" in notes([made("gpt", 5.0, bits_per_byte=None)])[0]


def test_many_ties_are_told() -> None:
    ranking = {"overall": {"sets": 100, "tied": 20}}
    told = notes(
        [
            made("gpt", 5.0, details={"ranking": ranking}),
            made("uniform", 9.0, kind="uniform", details={"ranking": ranking}),
        ]
    )
    assert len(told) == 1
    assert "ties with another, which counts in part: gpt 20%." in told[0]


def test_seeds_are_summed_up() -> None:
    told = notes([made("lstm", value, seed=seed) for seed, value in enumerate((99.0, 101.0, 103.0))])
    # mean 101, standard deviation sqrt((4 + 0 + 4) / 2) = 2
    assert told == ["lstm over 3 seeds: perplexity 101.00 on average, standard deviation 2.00, from 99.00 to 103.00."]


def test_markdown() -> None:
    text = to_markdown(RESULTS)
    assert "| lstm:hidden=8 | **99.50** |" in text
    assert "- gpt: `ppl|gpt`" in text
    assert text.count("| model |") == 2


def test_latex_escapes_what_it_must() -> None:
    text = to_latex(RESULTS)
    assert r"byte\_lstm" in text
    assert r"ranking \%" in text
    assert r"\textbf{99.50}" in text
    assert text.count(r"\toprule") == text.count(r"\end{tabular}") == 2
    code = [line for line in text.splitlines() if not line.startswith("%")]
    assert not [line for line in code if "_" in line.replace(r"\_", "")]


def test_tables_are_rebuilt_from_disk(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create()
    folder.write_results({"lmbench": "0"}, RESULTS)
    written = write_tables(tmp_path)
    assert [path.name for path in written] == ["table.csv", "table.md", "table.tex"]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == to_markdown(RESULTS)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*COLUMNS, "alike"]
    assert rows[0]["perplexity"] == "120.456"
    assert rows[2]["perplexity"] == rows[2]["seed"] == ""


def test_numbers_beyond_all_bounds_survive(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create()
    folder.write_results({}, [made("diverged", float("inf"))])
    (result,) = folder.read_results()
    assert result.perplexity == float("inf")
    assert "| diverged | inf |" in to_markdown([result])


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="not the folder of a run"):
        write_tables(tmp_path)


def test_a_model_with_a_name_is_explained() -> None:
    named, plain = (
        made("kn3", 9.0, specification="ngram:order=3"),
        made("ngram:order=2", 9.5, specification="ngram:order=2"),
    )
    assert "kn3 is ngram:order=3." in notes([named, plain])
    assert not any("order=2" in note for note in notes([named, plain]))
