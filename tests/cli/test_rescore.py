"""``lmbench rescore``: n-best lists in, error rates and the chosen hypotheses out."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint

# The kept model knows "the cat sleeps near the house" and its like; the recogniser mishears the verb.
SAID = ["the cat sleeps today", "a bird runs home", "my sister eats a fish", "the dog reads the book"]
HEARD = ["the cat leaps to day", "a bird rungs home", "my sister seats a fish", "the dog read the book"]


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    path = tmp_path / "nbest.jsonl"
    rows = [
        {"id": f"u{i}", "hypotheses": [wrong, said], "scores": [-1.0, -1.2], "reference": said}
        for i, (said, wrong) in enumerate(zip(SAID, HEARD, strict=True))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(text: str) -> dict[str, dict[str, str]]:
    return {row["hypotheses"]: row for row in csv.DictReader(io.StringIO(text))}


def test_rescore_with_a_development_part(call: Call, kept: Path, lists: Path, tmp_path: Path) -> None:
    content = lists.read_text(encoding="utf-8").splitlines()
    (tmp_path / "dev.jsonl").write_text("\n".join(content[:2]), encoding="utf-8")
    (tmp_path / "test.jsonl").write_text("\n".join(content[2:]), encoding="utf-8")
    result = call("rescore", kept, "test.jsonl", "--development", "dev.jsonl", "--format", "csv", "--out", "chosen.txt")
    assert result.exit_code == 0, result.stderr
    rows = table(result.stdout)
    assert float(rows["1-best"]["wer_percent"]) == pytest.approx(100 * 2 / 10)
    assert float(rows["rescored"]["wer_percent"]) == float(rows["oracle"]["wer_percent"]) == 0
    assert rows["1-best"]["substitutions"] == "2"
    assert rows["1-best"]["words"] == "10"
    assert float(rows["rescored"]["difference"]) == pytest.approx(-20)
    assert 0 < float(rows["rescored"]["p"]) <= 1
    assert rows["oracle"]["p"] == ""
    assert "tuned on 2 utterances: 0 edits instead of 4" in result.stderr
    assert "2 utterances better, 0 worse" in result.stderr
    assert Path("chosen.txt").read_text(encoding="utf-8").splitlines() == SAID[2:]

    weights = next(line for line in result.stderr.splitlines() if line.startswith("weights: "))
    again = call("rescore", kept, "test.jsonl", "--weights", weights.split()[1].rstrip(","), "--format", "csv")
    assert table(again.stdout)["rescored"] == rows["rescored"], "printed weights are weights"


def test_rescore_by_cross_validation(call: Call, kept: Path, lists: Path) -> None:
    result = call("rescore", kept, lists, "--folds", 2, "--out", "chosen.trn")
    assert result.exit_code == 0, result.stderr
    assert "weights of part 2: bigram=" in result.stderr
    assert Path("chosen.trn").read_text(encoding="utf-8").splitlines()[0] == "the cat sleeps today (u0)"


def test_without_references_the_choice_is_the_result(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u1-1 the cat leaps\nu1-2 The Cat, sleeps\nu2-1 a bird\n", encoding="utf-8")
    arguments = ("rescore", kept, "text", "--weights", "bigram=1", "--normalise", "lower", "--normalise", "punctuation")
    result = call(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "The Cat, sleeps\na bird\n", "as it was written"
    assert "read and compared in lower case and without punctuation" in result.stderr
    result = call(*arguments, "--out", "chosen.jsonl")
    assert result.stdout == ""
    assert json.loads(Path("chosen.jsonl").read_text(encoding="utf-8").splitlines()[0]) == {
        "id": "u1", "chosen": 1, "text": "The Cat, sleeps", "reference": None,
    }  # fmt: skip


def test_kaldi_with_costs_and_references(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u1-1 the cat leaps\nu1-2 the cat sleeps\n", encoding="utf-8")
    (tmp_path / "ac.1").write_text("u1-1 5\n", encoding="utf-8")
    (tmp_path / "ac.2").write_text("u1-2 6\n", encoding="utf-8")
    (tmp_path / "ref").write_text("u1 the cat sleeps\n", encoding="utf-8")
    found = (
        "rescore",
        kept,
        "text",
        "--references",
        "ref",
        "--costs",
        "ac=ac.1",
        "--costs",
        "ac=ac.2",
        "--format",
        "csv",
    )
    for weights, rate in (("bigram=0,ac=1", 100 / 3), ("bigram=0,ac=-1", 0)):
        rows = table(call(*found, "--weights", weights).stdout)
        assert float(rows["rescored"]["wer_percent"]) == pytest.approx(rate)


def test_broken_lists_are_told_and_left_out(call: Call, kept: Path, lists: Path) -> None:
    lists.write_text(lists.read_text(encoding="utf-8") + "{\n", encoding="utf-8")
    result = call("rescore", kept, lists, "--weights", "bigram=1")
    assert result.exit_code == 2
    assert "line 5, column 2: not JSON" in result.stderr
    assert "rescored" in result.stdout
    assert "Mend it" in complaint(call("rescore", kept, lists, "--weights", "bigram=1", "--strict"))


def test_a_copy_of_the_lists_is_no_development_part(call: Call, kept: Path, lists: Path, tmp_path: Path) -> None:
    shuffled = [json.loads(line) for line in reversed(lists.read_text(encoding="utf-8").splitlines())]
    copy = [json.dumps({**row, "id": f"v{number}"}) for number, row in enumerate(shuffled)]
    (tmp_path / "copy.jsonl").write_text("\n".join(copy), encoding="utf-8")
    told = complaint(call("rescore", kept, lists, "--development", "copy.jsonl"))
    assert "4 of the 4 development lists are among those to choose from" in told


def test_development_lists_need_the_same_scores(call: Call, kept: Path, lists: Path, tmp_path: Path) -> None:
    row = {"id": "d", "hypotheses": ["a bird", "a birt"], "scores": {"acoustic": [-1, -2]}, "reference": "a bird"}
    (tmp_path / "dev.jsonl").write_text(json.dumps(row), encoding="utf-8")
    told = complaint(call("rescore", kept, lists, "--development", "dev.jsonl"))
    assert "to choose from are score, those of the development lists acoustic" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "Nothing says what the models weigh"),
        (("--development", "nbest.jsonl"), "is named twice"),
        (("--weights", "bigram"), "is no weight"),
        (("--weights", "bigramm=1"), "Did you mean 'bigram'?"),
        (("--weights", "bigram=1", "--folds", "2"), "one of three places"),
        (("--weights", "bigram=1", "--costs", "x"), "Costs are named"),
    ],
)
def test_rescore_refuses_what_cannot_be(
    options: tuple[str, ...], told: str, call: Call, kept: Path, lists: Path
) -> None:
    assert told in complaint(call("rescore", kept, lists.name, *options))


def test_lists_come_from_standard_input(call: Call, kept: Path, lists: Path) -> None:
    content = lists.read_text(encoding="utf-8")
    result = call("rescore", kept, "-", "--weights", "bigram=1", "--format", "csv", input=content)
    assert float(table(result.stdout)["rescored"]["wer_percent"]) == 0
    refused = call("rescore", kept, "-", "--weights", "bigram=1", input=content.encode() + b"\xff")
    assert "standard input is not valid UTF-8" in complaint(refused)
    assert "standard input holds no n-best list" in complaint(
        call("rescore", kept, "-", "--weights", "bigram=1", input="")
    )


def test_rescore_needs_a_model(call: Call, lists: Path) -> None:
    assert "at least one kept model" in complaint(call("rescore", lists, "--folds", "2"))
