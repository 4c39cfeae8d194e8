"""``train``, ``eval``, ``rank``, ``generate``: a model is kept in a folder and used from there."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from lmbench.cli.kept import find_models, models_and_file
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.scoring.scorer import score as score_text
from tests.cli.conftest import Call, complaint

TINY = "lstm:hidden=16:batch_size=4:sequence_length=8:device=cpu"


# train -----------------------------------------------------------------------------------------------


def test_train_keeps_a_model_and_says_where(kept: Path) -> None:
    assert registry.load(kept).kind == "ngram"
    assert json.loads((kept / "training.json").read_text(encoding="utf-8"))["model"] == "ngram:order=2"


def test_train_a_network(call: Call, corpus_file: Path) -> None:
    result = call("train", TINY, "--corpus", corpus_file, "--budget", "5steps", "--out", "net", "--tokenizer", "char")
    assert result.exit_code == 0, result.stderr
    assert "valid_perplexity" in result.stdout
    assert not Path("net/checkpoint/checkpoint.safetensors").exists()


def test_train_overwrites_nothing(call: Call, corpus_file: Path, kept: Path) -> None:
    assert "holds a trained model" in complaint(call("train", "uniform", "--corpus", corpus_file, "--out", kept))


def test_train_hides_no_run(call: Call, corpus_file: Path) -> None:
    call("run", "--models", "uniform", "--corpus", corpus_file, "--budget", "1steps", "--out", "out")
    again = call("train", "ngram:order=2", "--corpus", corpus_file, "--out", "out")
    assert "out holds a run of several models" in complaint(again)


def test_train_refuses_what_cannot_be(call: Call, corpus_file: Path) -> None:
    assert "Did you mean 'lstm'?" in complaint(call("train", "lsmt", "--corpus", corpus_file, "--out", "x"))
    assert "--corpus" in complaint(call("train", "lstm", "--out", "x"))
    budget = complaint(call("train", "lstm", "--corpus", corpus_file, "--out", "x", "--budget", "0s"))
    assert "budget" in budget
    assert not Path("x").exists()


# eval ------------------------------------------------------------------------------------------------


def test_eval_prints_the_perplexity_that_the_scorer_gives(call: Call, corpus_file: Path, kept: Path) -> None:
    result = call("eval", kept, "--corpus", corpus_file, "--split", "valid", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(result.stdout))
    from lmbench import load_corpus

    scores = score_text(registry.load(kept), load_corpus(corpus_file), "valid")
    assert float(row["perplexity"]) == pytest.approx(math.exp(scores.nats.sum() / scores.events.sum()))
    assert float(row["low"]) < float(row["perplexity"]) < float(row["high"])


def test_eval_puts_the_better_first_and_signs(call: Call, corpus_file: Path, kept: Path) -> None:
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    lines = call("eval", "flat", kept, "--corpus", corpus_file).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["model", "bigram", "flat", "bigram", "flat"]
    assert all("|events:" in line for line in lines[3:])


def test_eval_warns_where_the_events_differ(call: Call, corpus_file: Path, kept: Path) -> None:
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat", "--tokenizer", "char")
    result = call("eval", "flat", kept, "--corpus", corpus_file)
    assert result.exit_code == 0
    assert "do not predict the same events" in result.stderr


def test_eval_names_the_nearest_split(call: Call, corpus_file: Path, kept: Path) -> None:
    assert "Did you mean 'valid'?" in complaint(call("eval", kept, "--corpus", corpus_file, "--split", "valdi"))


# rank ------------------------------------------------------------------------------------------------

PAIRS = (
    '{"candidates": ["cat the sleeps", "the cat sleeps"], "answer": 1}\n{"candidates": ["home runs", "runs home"]}\n'
)


def test_rank_puts_the_plausible_first(call: Call, kept: Path) -> None:
    result = call("rank", kept, "--format", "tsv", input=PAIRS)
    rows = list(csv.DictReader(io.StringIO(result.stdout), delimiter="\t"))
    assert [(row["set"], row["text"], row["answer"]) for row in rows[:2]] == [
        ("1", "the cat sleeps", "right"),
        ("1", "cat the sleeps", "wrong"),
    ]
    assert rows[2]["answer"] == ""
    assert "1 of 1 (100.0%" in result.stderr


def test_rank_in_other_forms(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(PAIRS, encoding="utf-8")
    assert "leads in 1 of 1" in call("rank", kept, "pairs.jsonl").stdout
    rows = [
        json.loads(line)
        for line in call("rank", kept, "pairs.jsonl", "--format", "jsonl", "--by", "token").stdout.splitlines()
    ]
    assert rows[0]["answer"] is True
    assert rows[0]["log_prob_per_token"] == pytest.approx(rows[0]["log_prob"] / rows[0]["tokens"])


def test_rank_plain_lists(call: Call, kept: Path) -> None:
    result = call("rank", kept, input="the cat sleeps\nsleeps cat the\n\na bird\nbird a\n")
    assert result.exit_code == 0
    name, heading, *rows = result.stdout.splitlines()
    assert name == "bigram"
    assert heading.split() == ["set", "place", "log_prob", "per_token", "answer", "text"]
    assert [row.split()[0] for row in rows if row[5] != " "] == ["1", "2"]
    assert len(rows) == 4
    assert "unknown to" not in result.stderr
    told = call("rank", kept, input="the zebra sleeps\nthe cat sleeps\n").stderr
    assert "1 of the tokens are unknown to bigram (lmbench score names them)." in told


def test_a_candidate_of_two_lines_is_one_row(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"candidates": ["the cat\\nsleeps", "the\\tdog"]}', encoding="utf-8")
    rows = call("rank", kept, "pairs.jsonl", "--format", "tsv").stdout.splitlines()
    assert [row.count("\t") for row in rows] == [7, 7, 7]


def test_rank_refuses_broken_candidates(call: Call, kept: Path) -> None:
    assert "line 2, column 1" in complaint(call("rank", kept, input='{"candidates": ["a", "b"]}\n{"candidates": 7}\n'))
    assert "line 2" in complaint(call("rank", kept, input=b"a\n\xff\n"))
    assert "empty" in complaint(call("rank", kept, input=""))
    assert "nowhere" in complaint(call("rank", kept, "nowhere"))


# generate --------------------------------------------------------------------------------------------


def test_generate_writes_one_text_a_line(call: Call, kept: Path) -> None:
    first = call("generate", kept, "-n", 3, "--prompt", "the cat", "--max-tokens", 8)
    assert first.exit_code == 0
    assert len(first.stdout.splitlines()) == 3
    assert all(line.startswith("the cat") for line in first.stdout.splitlines())
    assert call("generate", kept, "-n", 3, "--prompt", "the cat", "--max-tokens", 8).stdout == first.stdout
    best = call("generate", kept, "--temperature", 0, "--top-k", 5, "--top-p", 0.9, "--seed", 7)
    assert best.exit_code == 0


def test_generate_tells_what_it_does_not_know(call: Call, kept: Path) -> None:
    assert "1 of the prompt's tokens" in call("generate", kept, "--prompt", "the zebra").stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--prompt", "the \udcff"), "character 5"),
        (("--temperature", "-1"), "temperature"),
        (("--top-p", "2"), "top_p"),
        (("--top-k", "0"), "top_k"),
        (("-n", "0"), "number"),
    ],
)
def test_generate_refuses_what_cannot_be(arguments: tuple[str, ...], word: str, call: Call, kept: Path) -> None:
    assert word in complaint(call("generate", kept, *arguments))


# Folders ---------------------------------------------------------------------------------------------


def test_a_run_folder_stands_for_all_its_models(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    call("run", "--models", "uniform,ngram:order=2", "--corpus", corpus_file, "--budget", "1steps", "--out", "out")
    assert set(find_models([tmp_path / "out"])) == {"uniform", "ngram-order=2"}
    assert "holds 2 models and one is needed" in complaint(call("generate", "out"))
    assert call("score", "out", "--format", "tsv", input="the cat").stdout.count("\n") == 3


def test_models_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "lstm").mkdir(parents=True)
        (tmp_path / name / "lstm/model.json").write_text("{}", encoding="utf-8")
    assert list(find_models([tmp_path / "a/lstm", tmp_path / "b/lstm"])) == [f"{tmp_path}/a/lstm", f"{tmp_path}/b/lstm"]


def test_what_is_no_kept_model(call: Call, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    assert "holds no kept model" in complaint(call("generate", "hollow"))
    assert "not a folder" in complaint(call("generate", "nowhere"))
    (tmp_path / "hollow/model.json").write_text("{", encoding="utf-8")
    assert "damaged" in complaint(call("generate", "hollow"))
    with pytest.raises(ModelError, match="not a folder"):
        find_models([tmp_path / "nowhere"])


def test_folders_and_one_file(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert models_and_file([folder]) == ([folder], "-")
    assert models_and_file([folder, "text.txt"]) == ([folder], "text.txt")
    for wrong in (["text.txt"], [folder, "a.txt", "b.txt"], ["-"]):
        with pytest.raises(UsageError):
            models_and_file(wrong)
