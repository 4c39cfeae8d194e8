"""``train``, ``eval``, ``score``, ``rank``, ``generate``: a model is kept in a folder and used from there."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from pathlib import Path

import pytest

from lmbench.cli.kept import find_models, models_and_file
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.scoring.scorer import score as score_text
from tests.cli.conftest import Call, command, complaint

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


# score -----------------------------------------------------------------------------------------------


def test_score_gives_what_the_scorer_gives(call: Call, kept: Path) -> None:
    lines = ["the cat sleeps", "", "the zebra sees the moon today"]
    result = call("score", kept, "--format", "tsv", input="\n".join(lines))
    rows = list(csv.DictReader(io.StringIO(result.stdout), delimiter="\t"))
    expected = score_text(registry.load(kept), lines)
    assert [float(row["log_prob"]) for row in rows] == pytest.approx(-expected.nats, abs=1e-5)
    assert [row["text"] for row in rows] == lines
    assert [int(row["tokens"]) for row in rows] == [4, 1, 7]
    assert [int(row["unknowns"]) for row in rows] == [0, 0, 1]
    assert "3 lines scored; perplexity of bigram" in result.stderr


def test_score_per_token_adds_up(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sleeps\n", encoding="utf-8")
    whole = json.loads(call("score", kept, "text.txt", "--format", "jsonl").stdout)
    parts = json.loads(call("score", kept, "text.txt", "--format", "jsonl", "--per-token").stdout)
    assert [token for token, _ in parts["token_log_probs"]] == ["the", "cat", "sleeps", "</s>"]
    assert sum(value for _, value in parts["token_log_probs"]) == pytest.approx(whole["log_prob"])
    table = call("score", kept, "text.txt", "--per-token").stdout.splitlines()
    assert len(table) == 5
    tsv = call("score", kept, "text.txt", "--per-token", "--format", "tsv").stdout.splitlines()
    assert tsv[4].split("\t")[:4] == ["1", "bigram", "4", "</s>"]


def test_score_per_token_says_the_length_of_the_n_gram_that_was_found(
    call: Call, corpus_file: Path, kept: Path
) -> None:
    """``the cat`` and ``zebra`` were seen and never heard of; ``cat home`` was not seen together."""
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    arguments = ("score", kept, "flat", "--per-token", "--format")
    rows = list(csv.DictReader(io.StringIO(call(*arguments, "tsv", input="the cat home zebra").stdout), delimiter="\t"))
    assert [row["order"] for row in rows] == ["2", "2", "1", "0", "1", "", "", "", "", ""]
    bigram, flat = map(json.loads, call(*arguments, "jsonl", input="the cat home zebra").stdout.splitlines())
    assert (bigram["token_orders"], flat["token_orders"]) == ([2, 2, 1, 0, 1], None)
    table = call(*arguments, "table", input="the cat home zebra").stdout.splitlines()
    assert [line.split()[4] for line in table[1:6]] == ["2-gram", "2-gram", "1-gram", "OOV", "1-gram"]


def test_score_reports_bad_lines_and_goes_on(call: Call, kept: Path) -> None:
    result = call(
        "score", kept, "-", "--format", "tsv", input=b"the cat sleeps\nthe \xff cat\nthe \0 dog\nthe dog runs home"
    )
    assert result.exit_code == 2
    assert [line.split("\t")[0] for line in result.stdout.splitlines()[1:]] == ["1", "4"]
    assert "line 2 of standard input is left out: byte 5 (0xff) is not UTF-8" in result.stderr
    assert "line 3 of standard input is left out: character 5 is NUL" in result.stderr


def test_score_goes_on_after_a_line_that_holds_the_boundary(call: Call, kept: Path) -> None:
    result = call("score", kept, "--format", "tsv", input="the cat sleeps\nthe </s> cat\nthe dog runs home\n")
    assert result.exit_code == 2
    assert [line.split("\t")[0] for line in result.stdout.splitlines()[1:]] == ["1", "3"]
    assert "line 2 of standard input is left out: " in result.stderr


def test_score_of_a_missing_file_writes_no_heading(call: Call, kept: Path) -> None:
    assert "missing.txt cannot be read" in complaint(call("score", kept, "missing.txt"))


def test_score_answers_line_by_line(kept: Path) -> None:
    """The first answer is there before the second line is sent."""
    with subprocess.Popen(
        command("score", kept, "--format", "tsv"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stdout.readline().startswith("line\t")
        for number, line in enumerate(["the cat sleeps", "the dog runs home"], 1):
            running.stdin.write(f"{line}\n")
            running.stdin.flush()
            assert running.stdout.readline().startswith(f"{number}\tbigram\t")
        running.stdin.close()
        assert running.wait() == 0


def test_score_of_nothing(call: Call, kept: Path) -> None:
    result = call("score", kept, "--format", "jsonl", input="")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no line to score" in result.stderr


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
    assert len(result.stdout.splitlines()) == 5


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
