"""``next`` and ``prune``: what may follow a text, and kept models made smaller."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from lmbench.models import registry
from lmbench.tasks.prediction import next_words
from tests.cli.conftest import Call, complaint

# next ------------------------------------------------------------------------------------------------


def test_next_gives_what_the_model_gives(call: Call, kept: Path) -> None:
    result = call("next", kept, "-k", "3", "--format", "tsv", input="the old\n\nthe cat")
    assert result.exit_code == 0, result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout), delimiter="\t"))
    expected = next_words(registry.load(kept), ["the old", "", "the cat"], 3)
    assert [row["token"] for row in rows] == [word.token for answer in expected for word in answer.words]
    assert [float(row["cumulated"]) for row in rows] == pytest.approx(
        [word.cumulated for answer in expected for word in answer.words], rel=1e-5
    )
    assert [row["line"] for row in rows] == [*"111222333"]
    assert [row["rank"] for row in rows] == [*"123123123"]
    assert rows[0]["token"] == "man"
    assert rows[0]["prompt"] == "the old"


def test_next_of_several_models_stands_side_by_side(call: Call, corpus_file: Path, kept: Path) -> None:
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    lines = call("next", kept, "flat", "--prompt", "the old", "-k", "2").stdout.splitlines()
    assert lines[0] == "the old ..."
    assert lines[1].split() == ["rank", "bigram", "probability", "cumulated", "flat", "probability", "cumulated"]
    assert lines[2].split()[:2] == ["1", "man"]
    assert lines[2].split()[4] == "</s>"
    assert lines[4].split()[0] == "entropy"
    assert len(lines) == 6  # a blank one at the end


def test_next_as_json_of_each_prompt(call: Call, kept: Path) -> None:
    result = call("next", kept, "--prompt", "my", "--prompt", "", "-k", "1", "--format", "jsonl")
    mine, first = map(json.loads, result.stdout.splitlines())
    assert mine["next"][0]["token"] == "sister"
    assert (mine["line"], first["line"], first["prompt"]) == (1, 2, "")
    assert mine["entropy_nats"] < first["entropy_nats"]


def test_next_refuses_what_cannot_be(call: Call, kept: Path, tmp_path: Path) -> None:
    assert "at least 1, not 0" in complaint(call("next", kept, "--prompt", "the", "-k", "0"))
    (tmp_path / "text.txt").write_text("the\n", encoding="utf-8")
    assert "given twice" in complaint(call("next", kept, "text.txt", "--prompt", "the"))
    result = call("next", kept, "--format", "jsonl", input=b"the\nthe \xff\nmy\n")
    assert result.exit_code == 2
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [1, 3]
    assert "line 2 of standard input is left out" in result.stderr


# prune -----------------------------------------------------------------------------------------------


def test_prune_keeps_a_smaller_model(call: Call, corpus_file: Path, kept: Path) -> None:
    before = registry.load(kept).parameters
    result = call("prune", kept, "--entries", before - 10, "--out", "small")
    assert result.exit_code == 0, result.stderr
    assert before - 13 < registry.load(Path("small")).parameters <= before - 10
    assert f"of {before} entries stay" in result.stderr
    row = call("eval", kept, "small", "--corpus", corpus_file, "--format", "csv").stdout.splitlines()
    assert len(row) == 3


def test_prune_refuses_what_cannot_be(call: Call, corpus_file: Path, kept: Path) -> None:
    assert "always stay" in complaint(call("prune", kept, "--entries", "3", "--out", "small"))
    assert "Nothing says how much" in complaint(call("prune", kept, "--out", "small"))
    assert "holds a trained model" in complaint(call("prune", kept, "--threshold", "1e-3", "--out", kept))
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    assert "no n-grams to prune" in complaint(call("prune", "flat", "--threshold", "1e-3", "--out", "small"))
    assert not Path("small").exists()
