"""``lmbench convert`` as a user types it: out to ARPA, in again, and through KenLM."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint

LINES = "the cat sleeps\nthe zebra runs home\n\n"


def log_probs(call: Call, folder: object) -> list[float]:
    """What ``lmbench score`` says of the lines."""
    result = call("score", folder, "--format", "tsv", input=LINES)
    assert result.exit_code == 0, result.stderr
    return [float(row["log_prob"]) for row in csv.DictReader(io.StringIO(result.stdout), delimiter="\t")]


@pytest.mark.parametrize("name", ["out.arpa", "out.arpa.gz"])
def test_out_and_in_again(name: str, call: Call, kept: Path, corpus_file: Path) -> None:
    out = call("convert", kept, name)
    assert out.exit_code == 0, out.stderr
    assert out.stdout.startswith(f"{name}: ")
    assert " n-grams (" in out.stdout
    back = call("convert", name, "models/back")
    assert back.exit_code == 0, back.stderr
    assert back.stdout.startswith("models/back: ngram, order 2, V = ")
    assert log_probs(call, "models/back") == log_probs(call, kept)
    assert call("generate", "models/back", "-n", 2).exit_code == 0
    assert "perplexity" in call("eval", "models/back", "--corpus", corpus_file).stdout


def test_through_kenlm(call: Call, kept: Path) -> None:
    pytest.importorskip("kenlm")
    call("convert", kept, "out.arpa")
    result = call("convert", "out.arpa", "through", "--kenlm")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("through: kenlm, order 2, V = ")
    assert log_probs(call, "through") == pytest.approx(log_probs(call, kept), abs=1e-5)
    assert call("generate", "through").exit_code == 0
    Path("words.txt").write_text("cat\nzebra\n", encoding="utf-8")
    assert "The words given for out.arpa are 3 of its" in complaint(
        call("convert", "out.arpa", "x", "--kenlm", "--vocabulary", "words.txt")
    )


def test_what_is_noted(call: Call, kept: Path) -> None:
    call("convert", kept, "out.arpa")
    text = Path("out.arpa").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "\t<unk>" in line)
    words = int(text.splitlines()[1].partition("=")[2])
    closed = text.replace(f"{line}\n", "").replace(f"ngram 1={words}", f"ngram 1={words - 1}")
    Path("closed.arpa").write_text(closed, encoding="utf-8")
    assert "closed.arpa knows no <unk>" in call("convert", "closed.arpa", "closed").stderr


def test_nothing_is_overwritten(call: Call, kept: Path) -> None:
    assert call("convert", kept, "out.arpa").exit_code == 0
    before = Path("out.arpa").read_bytes()
    assert "out.arpa is there already" in complaint(call("convert", kept, "out.arpa"))
    assert Path("out.arpa").read_bytes() == before
    assert "is there already" in complaint(call("convert", "out.arpa", kept))


def test_what_cannot_be_converted(call: Call, kept: Path, corpus_file: Path) -> None:
    assert "name it kn5.arpa" in complaint(call("convert", kept, "kn5"))
    assert "There is no nowhere" in complaint(call("convert", "nowhere", "x"))
    assert "There is no folder missing" in complaint(call("convert", kept, "missing/x.arpa"))
    assert "Name a folder" in complaint(call("convert", corpus_file, "x.arpa"))
    assert "holds no line \\data\\" in complaint(call("convert", corpus_file, "x"))
    assert "--kenlm belongs to" in complaint(call("convert", kept, "x.arpa", "--kenlm"))
    call("train", "uniform", "--corpus", corpus_file, "--out", "flat")
    assert "only n-grams" in complaint(call("convert", "flat", "flat.arpa"))
    call("convert", kept, "out.arpa")
    assert "Leave --vocabulary out" in complaint(call("convert", "out.arpa", "x", "--vocabulary", "out.arpa"))
    assert not Path("x").exists()


def test_damage_is_told_with_its_line(call: Call, kept: Path) -> None:
    call("convert", kept, "out.arpa")
    lines = Path("out.arpa").read_text(encoding="utf-8").splitlines()
    lines[10] = lines[10].replace("-", "", 1)
    Path("out.arpa").write_text("\n".join(lines), encoding="utf-8")
    assert "out.arpa, line 11: the log10 probability" in complaint(call("convert", "out.arpa", "x"))
    assert not Path("x").exists()


def test_scores_that_are_no_probabilities_are_named_so(call: Call, corpus_file: Path) -> None:
    spec = "ngram:order=2:smoothing=stupid-backoff"
    assert call("train", spec, "--corpus", corpus_file, "--out", "stupid").exit_code == 0
    assert "do not sum to one" in call("convert", "stupid", "stupid.arpa").stderr
    assert "holds no distribution" in call("convert", "stupid.arpa", "back").stderr
    scored = call("score", "back", input="the cat\n").stderr
    assert "pseudo-perplexity of back" in scored
    assert "; perplexity" not in scored
