"""``lmbench correct``: lines in, the same lines out, corrected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint


def test_lines_keep_their_order_and_their_look(call: Call, kept: Path) -> None:
    result = call("correct", kept, input=b"The  cta sleeps, todya\n\nthe old man reads the zeppelin\n")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "The  cat sleeps, today\n\nthe old man reads the zeppelin\n"
    told = result.stderr.splitlines()
    assert told[0].startswith("line 1: cta -> cat (+")
    assert told[1].startswith("line 1: todya -> today (+")
    assert told[2] == "2 changes in 1 of 3 lines"


def test_json_lines_and_tsv_say_where_and_how_much(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the old man sleeps\nthe dgo runs home\n", encoding="utf-8")
    rows = [json.loads(line) for line in call("correct", kept, "text.txt", "--format", "jsonl").stdout.splitlines()]
    assert rows[0] == {
        "line": 1, "text": "the old man sleeps", "corrected": "the old man sleeps", "nats": 0.0, "changes": [],
    }  # fmt: skip
    (change,) = rows[1]["changes"]
    assert (change["start"], change["end"], change["original"], change["replacement"]) == (4, 7, "dgo", "dog")
    assert change["nats"] == pytest.approx(rows[1]["nats"])
    head, row = call("correct", kept, "text.txt", "--format", "tsv").stdout.splitlines()
    assert head == "line\tstart\tend\toriginal\treplacement\tnats"
    assert row == f"2\t4\t7\tdgo\tdog\t{change['nats']:.4f}"


def test_confusion_sets_of_ones_own(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "sets.txt").write_text("moon book\nhome fish\n", encoding="utf-8")
    arguments = ("correct", kept, "--confusions", "sets.txt", "--distance", "0")
    assert call(*arguments, input="the cat eats a home").stdout == "the cat eats a fish\n"
    cautious = call(*arguments, "--error-rate", "1e-9", input="the cat eats a home")
    assert cautious.stdout == "the cat eats a home\n"


def test_known_words_are_doubted_on_request(call: Call, kept: Path, corpus_file: Path, tmp_path: Path) -> None:
    text = "a cat\nthe car\n" * 50 + "the cat purrs\nthe car stops\n" * 50
    (tmp_path / "cars.txt").write_text(text, encoding="utf-8")
    assert call("train", "ngram:order=3", "--corpus", "cars.txt", "--out", "cars").exit_code == 0
    assert call("correct", "cars", input="the car purrs").stdout == "the car purrs\n"
    assert (
        call("correct", "cars", "--all-words", "--error-rate", 0.1, input="the car purrs").stdout == "the cat purrs\n"
    )


def test_bad_lines_are_told(call: Call, kept: Path) -> None:
    result = call("correct", kept, input=b"the cta sleeps\nthe \xff cat\nthe </s> cat\na brid sleeps\n")
    assert result.exit_code == 2
    assert result.stdout == "the cat sleeps\na bird sleeps\n"
    assert "line 2 of standard input is left out: byte 5 (0xff) is not UTF-8" in result.stderr
    assert "line 3 of standard input is left out" in result.stderr
    assert "2 left out" in result.stderr
    strict = call("correct", kept, "--strict", input=b"the \xff cat\n")
    assert strict.exit_code == 2
    assert "Line 1 of standard input cannot be read" in strict.stderr


def test_what_cannot_be(call: Call, kept: Path, corpus_file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    assert "nothing to try" in complaint(call("correct", kept, "--confusions", "empty.txt", "--distance", "0"))
    assert "Add --distance 1" in complaint(call("correct", kept, "--all-words", "--distance", "0"))
    assert "probability between" in complaint(call("correct", kept, "--error-rate", "2"))
    assert "at least 1 beginning" in complaint(call("correct", kept, "--beam", "0"))
    assert "no file" in complaint(call("correct", kept, "--confusions", "nowhere.txt"))
    call("train", "uniform", "--corpus", corpus_file, "--tokenizer", "char", "--out", "letters")
    assert "holds no words" in complaint(call("correct", "letters", "--distance", "1"))
    assert call("correct", "letters", input="the cat\n").stdout == "the cat\n"
