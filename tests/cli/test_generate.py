"""``generate`` from many prompts, by a beam, with figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint


def test_many_prompts_from_a_file_or_standard_input(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "openings.txt").write_text("the cat\n\nmy sister\n", encoding="utf-8")
    lines = call("generate", kept, "--prompts", "openings.txt", "-n", 2, "--max-tokens", 6).stdout.splitlines()
    assert len(lines) == 6
    assert [line.startswith("the cat") for line in lines[:2]] == [True, True]
    assert [line.startswith("my sister") for line in lines[4:]] == [True, True]
    piped = call("generate", kept, "--prompts", "-", "-n", 2, "--max-tokens", 6, input="the cat\n\nmy sister")
    assert piped.stdout.splitlines() == lines


def test_a_bad_prompt_is_told_and_the_rest_goes_on(call: Call, kept: Path) -> None:
    text = b"the cat\nthe \xff\nthe </s> dog\nthe dog\n"
    result = call("generate", kept, "--prompts", "-", "--temperature", 0, input=text)
    assert result.exit_code == 2
    assert [line[:7] for line in result.stdout.splitlines()] == ["the cat", "the dog"]
    assert "line 2 of standard input is left out" in result.stderr
    assert "line 3 of standard input is left out" in result.stderr
    assert "Line 2" in complaint(call("generate", kept, "--prompts", "-", "--strict", input=text))


def test_as_json_with_log_probabilities(call: Call, kept: Path) -> None:
    result = call("generate", kept, "--prompt", "the cat", "-n", 2, "--max-tokens", 3, "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["prompt", "number", "text", "log_prob", "tokens", "ended", "continuation"]
    assert [list(row) for row in rows] == [names, names]
    assert [(row["prompt"], row["number"]) for row in rows] == [("the cat", 1), ("the cat", 2)]
    assert all(row["log_prob"] < 0 and row["ended"] in ("end", "length") for row in rows)


def test_the_log_probability_is_that_of_score(call: Call, kept: Path) -> None:
    best = call("generate", kept, "--beam", 4, "-n", 4, "--length-exponent", 0, "--format", "jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in best]
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    complete = next(row for row in rows if row["ended"] == "end")
    scored = json.loads(call("score", kept, "--format", "jsonl", input=complete["text"]).stdout)
    assert complete["log_prob"] == pytest.approx(scored["log_prob"], abs=1e-4)


def test_stop_and_min_p(call: Call, kept: Path) -> None:
    result = call("generate", kept, "-n", 20, "--stop", " sees", "--stop", " runs", "--min-p", 0.05)
    assert len(result.stdout.splitlines()) == 20
    assert "sees" not in result.stdout
    assert "runs" not in result.stdout


def test_figures_of_diversity_follow_the_texts(call: Call, kept: Path) -> None:
    lines = call("generate", kept, "-n", 5, "--diversity").stdout.splitlines()
    assert lines[5] == ""
    names = ["texts", "tokens", "unit", "distinct_1", "distinct_2", "distinct_3", "repetition_4", "self_bleu"]
    assert [line.split()[0] for line in lines[6:]] == names
    rows = [
        json.loads(line)
        for line in call("generate", kept, "-n", 5, "--format", "jsonl", "--diversity").stdout.splitlines()
    ]
    assert list(rows[-1]["diversity"]) == names
    assert rows[-1]["diversity"]["texts"] == len(rows) - 1 == 5


def test_what_was_asked_is_not_counted_as_written(call: Call, kept: Path) -> None:
    asked = ("generate", kept, "--prompt", "the cat sleeps near", "-n", 4, "--max-tokens", 2, "--format", "jsonl")
    *rows, figures = map(json.loads, call(*asked, "--diversity").stdout.splitlines())
    for row in rows:
        assert row["text"] == row["prompt"] + row["continuation"]
    assert figures["diversity"]["tokens"] == sum(len(row["continuation"].split()) for row in rows) <= 8
    (best,) = map(json.loads, call(*asked, "--beam", 2, "-n", 1).stdout.splitlines())
    assert best["text"] == best["prompt"] + best["continuation"]


def test_a_network_and_a_mixture_write_too(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    tiny = "batch_size=4:sequence_length=8:device=cpu"
    models = f"lstm:hidden=8:{tiny},gpt:width=8:heads=1:layers=1:{tiny},ngram:order=2+lstm:hidden=8:{tiny}"
    call("run", "--models", models, "--corpus", corpus_file, "--budget", "2steps", "--out", "out")
    folders = sorted((tmp_path / "out/models").iterdir())
    assert len(folders) == 3
    for folder in folders:
        drawn = call("generate", folder, "-n", 2, "--prompt", "the cat", "--max-tokens", 20)
        assert len(drawn.stdout.splitlines()) == 2, drawn.stderr
        assert call("generate", folder, "--beam", 2, "--max-tokens", 12).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--beam", "2", "--temperature", "0.5"), "--temperature cannot matter"),
        (("--beam", "2", "--top-k", "5", "--min-p", "0.1"), "--top-k, --min-p"),
        (("--beam", "2", "-n", "3"), "does not hold 3"),
        (("--min-p", "2"), "min_p"),
        (("--stop", ""), "stop text"),
        (("--prompt", "a", "--prompts", "b.txt"), "leave one of the two out"),
        (("--prompts", "missing.txt"), "cannot be read"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], word: str, call: Call, kept: Path) -> None:
    assert word in complaint(call("generate", kept, *arguments))


def test_a_file_without_prompts(call: Call, kept: Path) -> None:
    assert "holds no prompt" in complaint(call("generate", kept, "--prompts", "-", input=""))
