"""``rank`` over a folder of paradigms, by several normalisations, in the spelling of a corpus."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint

ORDER = [("the cat sleeps", "cat the sleeps"), ("a bird runs home", "bird a runs home")]
VERB = [("the dog sees the moon", "the dog the moon sees"), ("my zebra sleeps", "my zebra sleep")]


@pytest.fixture
def paradigms(tmp_path: Path) -> Path:
    """Two paradigms of one phenomenon, and one of another."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name, phenomenon, pairs in (("det", "order", ORDER), ("verb", "order", VERB), ("all", "mixed", ORDER + VERB)):
        about = {"UID": name, "linguistics_term": phenomenon, "field": "syntax"}
        lines = [json.dumps({"sentence_good": good, "sentence_bad": bad, **about}) for good, bad in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_gives_a_table_of_accuracies(call: Call, kept: Path, paradigms: Path, corpus_file: Path) -> None:
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    result = call("rank", kept, "flat", paradigms)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["phenomenon", "paradigm", "sets", "unknown", "%", "bigram", "flat"]
    rows = [line.split() for line in lines]
    assert ["mixed", "all", "4"] in [row[:3] for row in rows]
    assert ["order", "2", "together", "4", "25.0"] in [row[:5] for row in rows]
    assert any(row[:4] == ["all:", "mean", "of", "paradigms"] for row in rows)
    macro = next(row for row in rows if row[:2] == ["all:", "mean"])
    assert macro[-1] == "50.0"  # a uniform model is right half the time
    assert [row[0] for row in rows[-6:-2]] == ["total", "token", "character", "slor"]
    assert "all models  rank|sets:8@" in lines[-1]
    assert ["all", "sets:", "letters", "a", "b"] in rows  # all 8 against half of each: p = 2^-7
    assert "share a letter" in result.stdout
    assert "bigram: 16 candidates in" in result.stderr


def test_as_markdown_and_as_plain_rows(call: Call, kept: Path, paradigms: Path) -> None:
    written = call("rank", kept, paradigms, "--format", "md").stdout.splitlines()
    assert written[0] == "| phenomenon | paradigm | sets | unknown % | bigram |"
    assert written[1] == "| --- | --- | ---: | ---: | ---: |"
    rows = table(call("rank", kept, paradigms, "--format", "csv", "--by", "token").stdout)
    assert {row["by"] for row in rows} == {"total", "token", "character", "slor"}
    assert {row["by"] for row in rows if row["decides"] == "1"} == {"token"}
    decided = [row for row in rows if row["decides"] == "1"]
    assert [(row["level"], row["paradigm"], row["sets"]) for row in decided] == [
        ("paradigm", "all", "4"),
        ("phenomenon", "", "4"),
        ("paradigm", "det", "2"),
        ("paradigm", "verb", "2"),
        ("phenomenon", "", "4"),
        ("macro", "", ""),
        ("micro", "", "8"),
        ("known", "", "6"),
    ]
    shares = {row["paradigm"]: float(row["accuracy"]) for row in decided if row["level"] == "paradigm"}
    macro = next(float(row["accuracy"]) for row in decided if row["level"] == "macro")
    assert macro == pytest.approx(sum(shares.values()) / 3)
    known = [row for row in decided if row["low"]]
    assert all(float(row["low"]) - 1e-9 <= float(row["accuracy"]) <= float(row["high"]) + 1e-9 for row in known)


def test_a_file_gives_accuracies_on_request(call: Call, kept: Path, paradigms: Path) -> None:
    rows = table(call("rank", kept, paradigms / "det.jsonl", "--format", "csv").stdout)
    assert [row["level"] for row in rows if row["by"] == "slor"] == [
        "paradigm",
        "phenomenon",
        "macro",
        "micro",
        "known",
    ]
    sets = call("rank", kept, paradigms, "--format", "tsv").stdout.splitlines()
    assert len(sets) == 1 + 16  # and a folder its sets


def test_the_spelling_is_asked_for_and_told(call: Call, kept: Path) -> None:
    text = '{"candidates": ["The cat sleeps.", "Cat the sleeps."], "answer": 0}\n'
    given = call("rank", kept, "--format", "csv", input=text)
    assert [row["unknown"] for row in table(given.stdout) if row["level"] == "micro"] == ["1"] * 4
    assert "Candidates as given." in given.stderr
    spelled = call("rank", kept, "--format", "csv", "--spelling", "ptb", input=text)
    micro = [row for row in table(spelled.stdout) if row["level"] == "micro"]
    assert [row["unknown"] for row in micro] == ["0"] * 4
    assert all("|spelling:ptb|" in row["signature"] and f"|by:{row['by']}|" in row["signature"] for row in micro)
    assert "in the spelling of the Penn Treebank" in spelled.stderr
    assert "the cat sleeps" in call("rank", kept, "--spelling", "ptb", input=text).stdout


def test_the_choice_is_made_on_other_sets(call: Call, kept: Path, paradigms: Path, tmp_path: Path) -> None:
    # a sentence with a word less is always likelier in total; here it is always wrong
    lines = [
        {"candidates": [f"the cat {end}", "the cat sleeps"], "answer": 0}
        for end in ("sleeps in the garden", "runs home near the house")
    ]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    result = call("rank", kept, paradigms, "--by", "auto", "--choose-on", "dev.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "bigram: decided by token, the best of the 2 sets of dev.jsonl (total 0.0%, token 100.0%" in result.stdout
    chosen = call("rank", kept, paradigms / "det.jsonl", "--by", "auto", "--choose-on", "dev.jsonl", "--format", "tsv")
    assert "decided by token" in chosen.stderr


def test_a_phenomenon_may_be_called_as_its_one_paradigm(call: Call, kept: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, pairs in (("order", ORDER), ("verbs", VERB)):
        lines = [json.dumps({"candidates": list(pair), "answer": 0}) for pair in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = [line.split() for line in call("rank", kept, folder).stdout.splitlines()]
    assert [row[:2] for row in rows if row and row[0] in ("order", "verbs")] == [["order", "2"], ["verbs", "2"]]


def test_the_same_sets_in_another_order_are_the_same(call: Call, kept: Path, paradigms: Path, tmp_path: Path) -> None:
    turned = [json.dumps({"candidates": [bad, good], "answer": 1}) for good, bad in ORDER]
    (tmp_path / "dev.jsonl").write_text("\n".join(turned), encoding="utf-8")
    assert "2 of the 2 sets" in complaint(call("rank", kept, paradigms, "--by", "auto", "--choose-on", "dev.jsonl"))


def test_a_choice_that_cannot_be_honest(call: Call, kept: Path, paradigms: Path, tmp_path: Path) -> None:
    assert "belong together" in complaint(call("rank", kept, paradigms, "--by", "auto"))
    assert "belong together" in complaint(call("rank", kept, paradigms, "--choose-on", "dev.jsonl"))
    same = complaint(call("rank", kept, paradigms, "--by", "auto", "--choose-on", paradigms / "verb.jsonl"))
    assert "2 of the 2 sets of" in same
    (tmp_path / "open.txt").write_text("the cat\nthe dog\n", encoding="utf-8")
    assert "cannot be chosen" in complaint(call("rank", kept, paradigms, "--by", "auto", "--choose-on", "open.txt"))


def test_a_unigram_model_for_log_odds(call: Call, kept: Path, paradigms: Path, corpus_file: Path) -> None:
    call("train", "ngram:order=1", "--corpus", corpus_file, "--out", "unigram")
    result = call("rank", kept, paradigms, "--by", "slor", "--unigram", "unigram")
    assert result.exit_code == 0, result.stderr
    assert "What decides: slor." in result.stdout
    assert "reads what stands before" in complaint(call("rank", kept, paradigms, "--unigram", kept))


def test_accuracies_need_answers(call: Call, kept: Path) -> None:
    result = call("rank", kept, "--format", "md", input="the cat sleeps\nsleeps cat the\n")
    assert "has no answers" in complaint(result)


def test_a_masked_model_is_told_apart(call: Call, corpus_file: Path, paradigms: Path) -> None:
    spec = "bert:width=16:layers=1:batch_size=4:sequence_length=8:device=cpu"
    call("train", spec, "--corpus", corpus_file, "--budget", "2steps", "--out", "masked")
    assert "masked reads both sides" in call("rank", "masked", paradigms).stdout
