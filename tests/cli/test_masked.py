"""A masked model on the command line: what it answers, and what it refuses."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint

TINY = "bert:width=16:layers=1:batch_size=4:sequence_length=16:device=cpu"


@pytest.fixture
def masked(call: Call, corpus_file: Path, tmp_path: Path) -> Path:
    trained = call("train", TINY, "--corpus", corpus_file, "--out", tmp_path / "bert", "--budget", "20steps")
    assert trained.exit_code == 0, trained.stderr
    assert "pseudo_valid_perplexity" in trained.stdout
    return tmp_path / "bert"


def test_its_numbers_stand_apart(call: Call, corpus_file: Path, kept: Path, masked: Path) -> None:
    evaluated = call("eval", masked, kept, "--corpus", corpus_file, "--format", "csv")
    ngram, bert = csv.DictReader(io.StringIO(evaluated.stdout))
    assert (ngram["pseudo_perplexity"], bert["perplexity"], bert["bits_per_byte"]) == ("", "", "")
    assert float(bert["pseudo_perplexity"]) > 1
    assert "|reads:both|" in bert["signature"]
    assert "reads" not in ngram["signature"]
    scored = call("score", masked, kept, input="the cat sleeps\n")
    assert "; pseudo-perplexity of bert: " in scored.stderr
    assert "; perplexity of bigram: " in scored.stderr


def test_candidates_are_ranked(call: Call, masked: Path) -> None:
    ranked = call("rank", masked, input="the cat sleeps today\ntoday today cat the\n")
    assert ranked.exit_code == 0, ranked.stderr
    assert "the cat sleeps today" in ranked.stdout


def test_what_it_cannot_do_is_refused(call: Call, corpus_file: Path, kept: Path, masked: Path) -> None:
    assert "reads both sides" in complaint(call("generate", masked))
    assert "reads both sides" in complaint(call("next", masked, "--prompt", "the"))
    assert "reads both sides" in complaint(call("mix", kept, masked, "--corpus", corpus_file, "--out", "mix"))
    mixed = call("run", "--models", f"ngram+{TINY}", "--corpus", corpus_file, "--budget", "2steps", "--out", "run")
    assert "reads both sides" in complaint(mixed)
