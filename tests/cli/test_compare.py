"""``lmbench compare``: one run, several runs, forms for eyes and programs, refusals."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint, process, write_world

MODELS = "uniform,ngram:order=1,ngram:order=3"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three models on the small world."""
    folder = tmp_path_factory.mktemp("compare")
    result = process(
        "run", "--models", MODELS, "--corpus", write_world(folder), "--budget", "1steps", "--out", folder / "first"
    )
    assert result.returncode == 0, result.stderr
    return folder / "first"


@pytest.fixture
def run(call: Call, made: Path) -> Path:
    """The same in the folder of ``call``."""
    return Path(shutil.copytree(made, "first"))


def test_a_table_of_pairs(call: Call, run: Path) -> None:
    result = call("compare", run)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("world, test split, word tokens:")
    assert lines[0].endswith("bits per event, first minus second")
    assert lines[2].split()[:3] == ["first", "second", "bits/event"]
    assert "95 % interval" in lines[2]
    pairs = [line for line in lines[3:] if line.startswith("ngram:order=3 ")]
    assert len(pairs) >= 2
    assert pairs[0].endswith("ngram:order=3 is better")
    assert "ranking accuracy, first minus second" in result.stdout
    assert "McNemar (" in result.stdout
    assert call("compare", run).stdout == result.stdout, "the same draws each time"


def test_forms_for_programs(call: Call, run: Path) -> None:
    rows = [json.loads(line) for line in call("compare", run, "--format", "jsonl").stdout.splitlines()]
    assert len(rows) == 6
    table = list(csv.DictReader(io.StringIO(call("compare", run, "--format", "csv").stdout)))
    assert [row["first"] for row in table] == [row["first"] for row in rows]
    assert {row["measure"] for row in rows} == {"bits per event", "ranking accuracy"}
    for row in rows:
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["p"] <= row["adjusted_p"]
        assert row["first_value"] - row["second_value"] == pytest.approx(row["difference"])
    loss = rows[0]
    assert loss["difference_per_character"] / loss["difference"] == pytest.approx(
        loss["low_per_character"] / loss["low"]
    )
    assert call("compare", run, "--format", "md").stdout.splitlines()[3].startswith("| --- |")


def test_settings_of_the_draws(call: Call, run: Path) -> None:
    wide = json.loads(call("compare", run, "--format", "jsonl", "--confidence", "0.99").stdout.splitlines()[0])
    usual = json.loads(call("compare", run, "--format", "jsonl").stdout.splitlines()[0])
    other = json.loads(call("compare", run, "--format", "jsonl", "--seed", "2").stdout.splitlines()[0])
    assert wide["low"] < usual["low"] < usual["high"] < wide["high"]
    assert other["low"] != usual["low"]
    assert "at least 100 resamples" in complaint(call("compare", run, "--resamples", "10"))
    assert "between 0 and 1" in complaint(call("compare", run, "--confidence", "95"))


def test_several_runs(call: Call, run: Path, corpus_file: Path) -> None:
    common = ("--corpus", corpus_file, "--budget", "1steps")
    assert call("run", "--models", "ngram:order=2", *common, "--out", "second").exit_code == 0
    assert call("run", "--models", "ngram:order=2", *common, "--tokenizer", "char", "--out", "third").exit_code == 0
    result = call("compare", run, "second", "third")
    assert result.exit_code == 0, result.stderr
    assert "first/ngram:order=3" in result.stdout
    assert "second/ngram:order=2" in result.stdout
    assert "third/ngram:order=2 cannot be compared with first/uniform" in result.stderr
    assert "the events differ in tokenizer (word and char); vocabulary (" in result.stderr
    assert "whatever the tokens" in result.stdout
    assert "bits per character, first minus second" in result.stdout
    lines = [line for line in call("compare", "second", "third").stdout.splitlines() if line.startswith("second/")]
    assert any("McNemar (" in line for line in lines), "the same candidates, whatever the tokens"


def test_runs_that_have_nothing_in_common(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(corpus_file.read_text(encoding="utf-8").replace("cat", "fox"), encoding="utf-8")
    for name, corpus in (("one", corpus_file), ("two", other)):
        assert call("run", "--models", "ngram:order=2", "--corpus", corpus, "--out", name).exit_code == 0
    refused = complaint(call("compare", "one", "two"))
    assert "Nothing in one, two can be compared." in refused
    assert "the events differ in text (world@" in refused
    assert "other candidates" in refused


def test_chinese(call: Call, tmp_path: Path) -> None:
    subjects, verbs, objects = (
        ("小猫", "老师", "我的朋友"),
        ("看见", "喜欢", "忘记了"),
        ("月亮", "这本书", "一条鱼", "花园"),
    )
    lines = [subjects[i % 3] + verbs[i // 3 % 3] + objects[i * 7 % 4] for i in range(400)]
    text = tmp_path / "世界.txt"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = call("run", "--models", "一元=ngram:order=1,三元=ngram:order=3", "--corpus", text, "--out", "中文")
    assert result.exit_code == 0, result.stderr
    assert "alike" in result.stdout
    compared = call("compare", "中文")
    assert "三元是" not in compared.stdout
    assert any(line.endswith("三元 is better") for line in compared.stdout.splitlines())
    assert compared.stdout.startswith("世界, test split")


def test_what_cannot_be_compared(call: Call, run: Path, corpus_file: Path, tmp_path: Path) -> None:
    assert "not the folder of a run" in complaint(call("compare", tmp_path / "nowhere"))
    assert "not the folder of a run" in complaint(call("compare", corpus_file))
    assert call("run", "--models", "uniform", "--corpus", corpus_file, "--out", "one").exit_code == 0
    assert "fewer than two scored models" in complaint(call("compare", "one"))


def test_the_letters_are_on_the_screen(call: Call, run: Path) -> None:
    shown = call("report", run)
    assert "alike" in shown.stdout
    assert "not distinguishable by perplexity on this text" in shown.stderr
    heading = (Path(run) / "table.csv").read_text(encoding="utf-8").splitlines()[0]
    assert heading.endswith(",alike")
