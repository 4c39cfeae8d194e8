"""``score`` as a user types it: sentences, tokens, words; text, tables, JSON; alone, after a prefix, side by side."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
from pathlib import Path

import pytest

from lmbench.models import registry
from lmbench.scoring.scorer import score as score_text
from tests.cli.conftest import Call, command, complaint


def tsv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def train(call: Call, name: str, lines: list[str], model: str, *options: str) -> Path:
    """A model of ``lines``, no more and no less, kept in the folder ``name``."""
    folder = Path(f"{name}-text")
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = call("train", model, "--corpus", folder, "--out", name, "--budget", "2steps", *options)
    assert result.exit_code == 0, result.stderr
    return Path(name)


@pytest.fixture
def counted(call: Call) -> Path:
    """Bigrams as they were counted: p(a | </s>) = 3/4, p(b | </s>) = 1/4; p(b | a) = 2/3, p(c | a) = 1/3; then </s>."""
    return train(
        call, "counted", ["a b", "a b", "a c", "b"], "ngram:order=2:smoothing=mle", "--tokenizer", "word:min_count=1"
    )


# Sentences -------------------------------------------------------------------------------------------


def test_by_hand(call: Call, counted: Path) -> None:
    """p(a b) = 3/4 2/3 = 1/2, p(a c) = 3/4 1/3 = 1/4, p(b) = 1/4: 1, 2 and 2 bits; the end is a token and a word."""
    rows = tsv(call("score", counted, "--base", "2", "--format", "tsv", input="a b\na c\nb\n").stdout)
    assert [row["log2_prob"] for row in rows] == ["-1.000000", "-2.000000", "-2.000000"]
    assert [row["log2_prob_per_token"] for row in rows] == ["-0.333333", "-0.666667", "-1.000000"]
    assert [row["log2_prob_per_word"] for row in rows] == ["-0.333333", "-0.666667", "-1.000000"]
    assert [float(row["perplexity"]) for row in rows] == pytest.approx([2 ** (1 / 3), 2 ** (2 / 3), 2], abs=1e-6)
    assert [(row["tokens"], row["words"], row["unknowns"]) for row in rows] == [
        ("3", "2", "0"),
        ("3", "2", "0"),
        ("2", "1", "0"),
    ]


@pytest.mark.parametrize(
    ("base", "name", "value"),
    [("e", "log_prob", -math.log(4)), ("2", "log2_prob", -2), ("10", "log10_prob", -math.log10(4))],
)
def test_the_logarithms_say_their_base(call: Call, counted: Path, base: str, name: str, value: float) -> None:
    row = json.loads(call("score", counted, "--base", base, "--format", "jsonl", input="b").stdout)
    assert row[name] == pytest.approx(value)
    assert row[f"{name}_per_token"] == pytest.approx(value / 2)
    assert row["perplexity"] == pytest.approx(2)


def test_what_cannot_be(call: Call, counted: Path) -> None:
    """A c never opens a sentence."""
    result = call("score", counted, "--format", "jsonl", input="c\n")
    row = json.loads(result.stdout)
    assert (row["log_prob"], row["perplexity"]) == ("-inf", "inf")
    assert tsv(call("score", counted, "--format", "tsv", input="c\n").stdout)[0]["log_prob"] == "-inf"


def test_words_are_counted_alike_whatever_the_tokens(call: Call) -> None:
    """So that what is said per word compares models of different tokens: 3 words and an end."""
    for spec in ("word:min_count=1", "char", "byte", "bpe:size=270"):
        folder = train(call, spec[:4], ["the cat sleeps", "猫睡了睡了"], "uniform", "--tokenizer", spec)
        rows = tsv(call("score", folder, "--format", "tsv", input="the cat sleeps\n猫 睡 了\n").stdout)
        assert [row["words"] for row in rows] == ["3", "3"], spec
        if not spec.startswith("word"):
            (row,) = tsv(call("score", folder, "--format", "tsv", input="猫睡了\n").stdout)
            assert row["words"] == "3", spec
        assert float(rows[0]["log_prob_per_word"]) == pytest.approx(float(rows[0]["log_prob"]) / 4, abs=1e-6)


def test_unknown_words_are_named(call: Call, kept: Path) -> None:
    result = call("score", kept, "--format", "jsonl", input="the zebra sees an okapi\nthe zebra <unk>\n")
    rows = list(map(json.loads, result.stdout.splitlines()))
    assert [row["unknown_words"] for row in rows] == [["zebra", "an", "okapi"], ["zebra"]]
    assert [row["unknowns"] for row in rows] == [3, 2]
    assert "unknown to bigram: zebra (2), an, okapi" in result.stderr


def test_unknown_characters_are_named(call: Call) -> None:
    folder = train(call, "zh", ["那只猫睡了", "那只狗在叫"], "ngram:order=2", "--tokenizer", "char")
    result = call("score", folder, "--format", "jsonl", input="那只鱼睡了")
    assert json.loads(result.stdout)["unknown_words"] == ["鱼"]


def test_a_model_that_reads_both_sides_has_no_perplexity(call: Call) -> None:
    model = "bert:width=16:heads=2:layers=1:sequence_length=8:batch_size=2:device=cpu"
    folder = train(call, "bert", ["the cat sleeps", "the dog runs"] * 9, model)
    result = call("score", folder, "--format", "tsv", input="the cat sleeps")
    (row,) = tsv(result.stdout)
    assert row["perplexity"] == ""
    assert float(row["log_prob"]) < 0
    assert "pseudo-perplexity of bert" in result.stderr
    tokens = tsv(call("score", folder, "--format", "tsv", "--per-token", input="the cat sleeps").stdout)
    assert {(row["rank"], row["entropy"]) for row in tokens} == {("", "")}
    assert sum(float(row["surprisal"]) for row in tokens) == pytest.approx(-float(row["log_prob"]), abs=1e-5)


def test_mere_text_has_newlines_around_it_and_no_end(call: Call) -> None:
    """Trained on running text: a newline stands before, and one is scored after it: 3 characters, each 1 / V."""
    Path("running.txt").write_text("ab\nba\n" * 200, encoding="utf-8")
    call("train", "uniform", "--corpus", "running.txt", "--line", "text", "--tokenizer", "char", "--out", "running")
    size = len(registry.load(Path("running")).tokenizer.vocabulary)
    (row,) = tsv(call("score", "running", "--line", "text", "--format", "tsv", input="ab\n").stdout)
    assert row["tokens"] == "3"
    assert float(row["log_prob"]) == pytest.approx(-3 * math.log(size), abs=1e-5)


# Tokens and words ------------------------------------------------------------------------------------


def test_tokens_by_hand(call: Call, counted: Path) -> None:
    """At the beginning H(3/4, 1/4) = 0.811278 bits, after a H(2/3, 1/3) = 0.918296, then nothing is open."""
    rows = tsv(call("score", counted, "--per-token", "--base", "2", "--format", "tsv", input="a c\n").stdout)
    assert [row["token"] for row in rows] == ["a", "c", "</s>"]
    assert [float(row["surprisal"]) for row in rows] == pytest.approx([math.log2(4 / 3), math.log2(3), 0], abs=1e-6)
    assert [row["rank"] for row in rows] == ["1", "2", "1"]
    assert [row["entropy"] for row in rows] == ["0.811278", "0.918296", "0.000000"]


def test_sub_words_are_gathered_to_words(call: Call) -> None:
    folder = train(
        call, "bpe", ["unbelievable cats", "believable dogs"], "ngram:order=2", "--tokenizer", "bpe:size=262"
    )
    text = "believable cats unable"
    tokens = tsv(call("score", folder, "--per-token", "--format", "tsv", input=text).stdout)
    words = tsv(call("score", folder, "--per-word", "--format", "tsv", input=text).stdout)
    assert len(tokens) > len(words) + 5
    assert [row["word"] for row in words] == ["believable", "cats", "unable", "</s>"]
    assert sum(int(row["tokens"]) for row in words) == len(tokens)
    first = int(words[0]["tokens"])
    summed = sum(float(row["surprisal"]) for row in tokens[:first])
    assert float(words[0]["surprisal"]) == pytest.approx(summed, abs=1e-5)
    row = json.loads(call("score", folder, "--words", "--format", "jsonl", input=text).stdout)
    assert [word for word, _ in row["word_surprisals"]] == ["believable", "cats", "unable", "</s>"]
    assert sum(value for _, value in row["word_surprisals"]) == pytest.approx(-row["log_prob"])


@pytest.mark.parametrize("spec", ["char", "byte", "bpe:size=258"])
def test_chinese_characters_are_words(call: Call, spec: str) -> None:
    folder = train(call, "zh", ["那只猫在看月亮", "我用 GPT 写字"], "ngram:order=2", "--tokenizer", spec)
    rows = tsv(call("score", folder, "--per-word", "--format", "tsv", input="猫用 GPT 写字\n").stdout)
    assert [row["word"] for row in rows] == ["猫", "用", "GPT", "写", "字", "</s>"]
    assert [row["position"] for row in rows] == list("123456")


def test_tokens_or_words(call: Call, kept: Path) -> None:
    assert "do not go together" in complaint(call("score", kept, "--per-token", "--per-word", input="a"))
    assert "do not go together" in complaint(call("score", kept, "--prefix", "a", "--prefix-field", "b", input="a"))


# After a prefix --------------------------------------------------------------------------------------


def test_a_prefix_is_read_and_not_scored(call: Call, counted: Path) -> None:
    """p(b | a) = 2/3, then the end is certain; after "a b" the end alone; p(c </s> | a) = 1/3."""
    rows = tsv(call("score", counted, "--prefix", "a", "--format", "tsv", input="b\nc\n").stdout)
    assert [float(row["log_prob"]) for row in rows] == pytest.approx([math.log(2 / 3), math.log(1 / 3)], abs=1e-6)
    assert [row["tokens"] for row in rows] == ["2", "2"]
    (row,) = tsv(call("score", counted, "--prefix", "a b", "--format", "tsv", input="\n").stdout)
    assert (row["log_prob"], row["tokens"]) == ("0.000000", "1")


def test_each_line_may_have_its_own(call: Call, counted: Path) -> None:
    content = "before\ttext\tid\na\tb\t7\n\tb\t8\n"
    rows = tsv(
        call("score", counted, "--input", "tsv", "--prefix-field", "before", "--format", "tsv", input=content).stdout
    )
    assert [float(row["log_prob"]) for row in rows] == pytest.approx([math.log(2 / 3), math.log(1 / 4)], abs=1e-6)
    assert [(row["before"], row["id"], row["line"]) for row in rows] == [("a", "7", "2"), ("", "8", "3")]
    json_rows = '{"before": "a", "text": "b"}\n{"before": null, "text": "b"}\n{"before": "a", "text": "c"}\n'
    result = call(
        "score", counted, "--input", "jsonl", "--prefix-field", "before", "--format", "jsonl", input=json_rows
    )
    assert [json.loads(row)["line"] for row in result.stdout.splitlines()] == [1, 3]
    assert "line 2 of standard input is left out: 'before' is no text but null" in result.stderr


def test_chinese_follows_without_a_space(call: Call) -> None:
    """ln p(猫睡 | 那只) = ln p(那只猫睡) - ln p(那只), the ends aside: the chain rule, read off the tokens."""
    folder = train(call, "zh", ["那只猫睡了", "那只狗在叫"], "ngram:order=3", "--tokenizer", "char")
    (after,) = tsv(call("score", folder, "--prefix", "那只", "--format", "tsv", input="猫睡\n").stdout)
    tokens = tsv(call("score", folder, "--per-token", "--format", "tsv", input="那只猫睡\n").stdout)
    assert [row["token"] for row in tokens] == ["那", "只", "猫", "睡", "</s>"]
    assert float(after["log_prob"]) == pytest.approx(-sum(float(row["surprisal"]) for row in tokens[2:]), abs=1e-5)


def test_a_token_that_reaches_across_is_told(call: Call) -> None:
    folder = train(call, "zh", ["那只"] * 9, "ngram:order=2", "--tokenizer", "bpe:size=262")
    result = call("score", folder, "--prefix", "那", "--format", "tsv", "--per-token", input="只\n")
    assert [row["token"] for row in tsv(result.stdout)] == ["那只", "</s>"]
    assert "In 1 line one token reaches from the prefix into the text" in result.stderr


# Tables and JSON in ----------------------------------------------------------------------------------


def test_other_columns_are_carried_along(call: Call, counted: Path) -> None:
    Path("items.tsv").write_text("id\tsentence\ttokens\n7\ta b\tx\n8\tb\ty\n", encoding="utf-8")
    rows = tsv(call("score", counted, "items.tsv", "--format", "tsv").stdout)
    assert [(row["id"], row["text"], row["tokens"], row["input_tokens"]) for row in rows] == [
        ("7", "a b", "3", "x"),
        ("8", "b", "2", "y"),
    ]
    tokens = tsv(call("score", counted, "items.tsv", "--format", "tsv", "--per-token").stdout)
    assert [(row["id"], row["token"]) for row in tokens] == [
        ("7", "a"),
        ("7", "b"),
        ("7", "</s>"),
        ("8", "b"),
        ("8", "</s>"),
    ]
    (row, _) = map(json.loads, call("score", counted, "items.tsv", "--format", "jsonl").stdout.splitlines())
    assert (row["id"], row["input_tokens"], row["tokens"]) == ("7", "x", 3)


def test_keys_of_any_kind_are_carried_along(call: Call, counted: Path) -> None:
    rows = '{"text": "a b", "n": [1, {"x": null}], "note": "tab\\there"}\n{"text": "b"}\n'
    Path("items.jsonl").write_text(rows, encoding="utf-8")
    first, second = map(json.loads, call("score", counted, "items.jsonl", "--format", "jsonl").stdout.splitlines())
    assert (first["n"], first["note"]) == ([1, {"x": None}], "tab\there")
    assert "n" not in second
    first, second = tsv(call("score", counted, "items.jsonl", "--format", "tsv").stdout)
    assert (first["n"], first["note"], second["n"]) == ('[1, {"x": null}]', "tab here", "")


def test_a_column_that_is_not_there(call: Call, counted: Path) -> None:
    Path("items.tsv").write_text("id\tsentence\n7\ta b\n", encoding="utf-8")
    assert "Did you mean 'sentence'?" in complaint(call("score", counted, "items.tsv", "--field", "sentense"))
    assert "--input tsv" in complaint(call("score", counted, "--field", "sentence", input="a"))


# Side by side ----------------------------------------------------------------------------------------


@pytest.fixture
def flat(call: Call) -> Path:
    return train(call, "flat", ["a b", "a b", "a c", "b"], "uniform", "--tokenizer", "word:min_count=1")


def test_models_side_by_side(call: Call, counted: Path, flat: Path) -> None:
    result = call("score", counted, flat, "--wide", "--base", "2", input="a b\nb\n")
    above, heading, first, second = result.stdout.splitlines()
    assert above.split() == ["counted", "flat"]
    assert heading.split() == ["line", "log2_prob", "perplexity", "log2_prob", "perplexity", "text"]
    # uniform over 5 types: 3 tokens, 2 tokens
    assert first.split() == ["1", "-1.0000", "1.260", f"{-3 * math.log2(5):.4f}", "5.000", "a", "b"]
    assert second.split()[1:5] == ["-2.0000", "2.000", f"{-2 * math.log2(5):.4f}", "5.000"]
    rows = tsv(call("score", counted, flat, "--wide", "--format", "tsv", input="a b\nb\n").stdout)
    assert [row["text"] for row in rows] == ["a b", "b"]
    assert float(rows[0]["flat.log_prob"]) == pytest.approx(-3 * math.log(5), abs=1e-6)
    assert list(map(float, (row["counted.log_prob"] for row in rows))) == pytest.approx(
        [-math.log(2), -math.log(4)], abs=1e-6
    )
    row = json.loads(call("score", counted, flat, "--wide", "--format", "jsonl", input="b").stdout)
    assert list(row) == ["line", "text", "models"]
    assert row["models"]["counted"]["log_prob"] == pytest.approx(-math.log(4))


def test_tokens_side_by_side(call: Call, counted: Path, flat: Path) -> None:
    rows = tsv(call("score", counted, flat, "--wide", "--per-token", "--format", "tsv", input="a c\n").stdout)
    assert [row["token"] for row in rows] == ["a", "c", "</s>"]
    assert [row["counted.rank"] for row in rows] == ["1", "2", "1"]
    assert {row["flat.rank"] for row in rows} == {"3"}  # the middle of five
    assert {float(row["flat.entropy"]) for row in rows} == {round(math.log(5), 6)}


def test_words_of_different_tokens_stand_side_by_side_and_tokens_do_not(call: Call, counted: Path) -> None:
    pieces = train(call, "pieces", ["a b", "a c"], "uniform", "--tokenizer", "byte")
    rows = tsv(call("score", counted, pieces, "--wide", "--per-word", "--format", "tsv", input="a b\n").stdout)
    assert [row["word"] for row in rows] == ["a", "b", "</s>"]
    assert [row["pieces.tokens"] for row in rows] == ["1", "2", "1"]
    result = call("score", counted, pieces, "--wide", "--per-token", input="a b\n")
    assert result.exit_code == 2
    assert "cut line 1 into different tokens" in result.stderr


def test_a_word_that_one_model_does_not_know_stands_in_its_row(call: Call, counted: Path) -> None:
    wider = train(call, "wider", ["a z", "z z"], "uniform", "--tokenizer", "word:min_count=1")
    rows = tsv(call("score", counted, wider, "--wide", "--per-token", "--format", "tsv", input="a z\nb q\n").stdout)
    assert [row["token"] for row in rows] == ["a", "z", "</s>", "b", "<unk>", "</s>"]


def test_a_line_that_cannot_stand_side_by_side_is_left_out(call: Call, counted: Path) -> None:
    pieces = train(call, "pieces", ["a", "b", "a b"], "uniform", "--tokenizer", "char")
    result = call("score", counted, pieces, "--wide", "--per-token", "--format", "tsv", input="a\na b\nb\n")
    assert result.exit_code == 2
    assert [row["token"] for row in tsv(result.stdout)] == ["a", "</s>", "b", "</s>"]
    told = "left out of the table: lines 2. counted and pieces cut line 2 into different tokens"
    assert told in result.stderr
    empty = call("score", counted, pieces, "--wide", "--format", "tsv", input="a\n\nb\n")
    assert [row["text"] for row in tsv(empty.stdout)] == ["a", "", "b"]


def test_a_key_without_a_column_is_told(call: Call, counted: Path) -> None:
    lines = '{"text": "a b"}\n{"text": "b", "id": 7}\n{"text": "b", "id": 8}\n'
    result = call("score", counted, "--input", "jsonl", "--format", "tsv", input=lines)
    assert len(tsv(result.stdout)) == 3
    assert result.stderr.count("The key 'id' of line 2 has no column") == 1


# Faults, streams -------------------------------------------------------------------------------------


def test_strict_stops_at_the_first_bad_line(call: Call, counted: Path) -> None:
    content = b"a b\nb \xff\na c\n"
    result = call("score", counted, "--strict", "--format", "tsv", input=content)
    assert result.exit_code == 2
    assert [row["text"] for row in tsv(result.stdout)] == ["a b"]
    assert (
        "lmbench: Line 2 of standard input cannot be read: byte 3 (0xff) is not UTF-8. Without --strict"
        in result.stderr
    )
    assert [row["text"] for row in tsv(call("score", counted, "--format", "tsv", input=content).stdout)] == [
        "a b",
        "a c",
    ]


def test_many_lines_keep_their_order(call: Call, counted: Path) -> None:
    lines = [["a b", "b", "a c"][number % 3] for number in range(3000)]
    rows = tsv(call("score", counted, "--format", "tsv", input="\n".join(lines)).stdout)
    assert [row["text"] for row in rows] == lines
    assert [int(row["line"]) for row in rows] == list(range(1, 3001))
    assert {(row["text"], row["log_prob"]) for row in rows} == {
        ("a b", "-0.693147"),
        ("b", "-1.386294"),
        ("a c", "-1.386294"),
    }


def test_gives_what_the_scorer_gives(call: Call, kept: Path) -> None:
    lines = ["the cat sleeps", "", "the zebra sees the moon today"]
    result = call("score", kept, "--format", "tsv", input="\n".join(lines))
    rows = list(csv.DictReader(io.StringIO(result.stdout), delimiter="\t"))
    expected = score_text(registry.load(kept), lines)
    assert [float(row["log_prob"]) for row in rows] == pytest.approx(-expected.nats, abs=1e-5)
    assert [row["text"] for row in rows] == lines
    assert [int(row["tokens"]) for row in rows] == [4, 1, 7]
    assert [int(row["unknowns"]) for row in rows] == [0, 0, 1]
    assert "3 lines scored; perplexity of bigram" in result.stderr


def test_per_token_adds_up(call: Call, kept: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sleeps\n", encoding="utf-8")
    whole = json.loads(call("score", kept, "text.txt", "--format", "jsonl").stdout)
    parts = json.loads(call("score", kept, "text.txt", "--format", "jsonl", "--per-token").stdout)
    assert [token for token, _ in parts["token_surprisals"]] == ["the", "cat", "sleeps", "</s>"]
    assert sum(value for _, value in parts["token_surprisals"]) == pytest.approx(-whole["log_prob"])
    table = call("score", kept, "text.txt", "--per-token").stdout.splitlines()
    assert len(table) == 5
    tsv = call("score", kept, "text.txt", "--per-token", "--format", "tsv").stdout.splitlines()
    assert tsv[4].split("\t")[:4] == ["1", "bigram", "4", "</s>"]


def test_per_token_says_the_length_of_the_n_gram_that_was_found(call: Call, corpus_file: Path, kept: Path) -> None:
    """``the cat`` and ``zebra`` were seen and never heard of; ``cat home`` was not seen together."""
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    arguments = ("score", kept, "flat", "--per-token", "--format")
    rows = list(csv.DictReader(io.StringIO(call(*arguments, "tsv", input="the cat home zebra").stdout), delimiter="\t"))
    assert [row["order"] for row in rows] == ["2", "2", "1", "0", "1", "", "", "", "", ""]
    bigram, flat = map(json.loads, call(*arguments, "jsonl", input="the cat home zebra").stdout.splitlines())
    assert (bigram["token_orders"], flat["token_orders"]) == ([2, 2, 1, 0, 1], None)
    table = call(*arguments, "table", input="the cat home zebra").stdout.splitlines()
    assert [line.split()[6] for line in table[1:6]] == ["2-gram", "2-gram", "1-gram", "OOV", "1-gram"]


def test_reports_bad_lines_and_goes_on(call: Call, kept: Path) -> None:
    result = call(
        "score", kept, "-", "--format", "tsv", input=b"the cat sleeps\nthe \xff cat\nthe \0 dog\nthe dog runs home"
    )
    assert result.exit_code == 2
    assert [line.split("\t")[0] for line in result.stdout.splitlines()[1:]] == ["1", "4"]
    assert "line 2 of standard input is left out: byte 5 (0xff) is not UTF-8" in result.stderr
    assert "line 3 of standard input is left out: character 5 is NUL" in result.stderr


def test_goes_on_after_a_line_that_holds_the_boundary(call: Call, kept: Path) -> None:
    result = call("score", kept, "--format", "tsv", input="the cat sleeps\nthe </s> cat\nthe dog runs home\n")
    assert result.exit_code == 2
    assert [line.split("\t")[0] for line in result.stdout.splitlines()[1:]] == ["1", "3"]
    assert "line 2 of standard input is left out: " in result.stderr


def test_of_a_missing_file_writes_no_heading(call: Call, kept: Path) -> None:
    assert "missing.txt cannot be read" in complaint(call("score", kept, "missing.txt"))


def test_answers_line_by_line(kept: Path) -> None:
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


def test_of_nothing(call: Call, kept: Path) -> None:
    result = call("score", kept, "--format", "jsonl", input="")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no line to score" in result.stderr
