"""A pretrained folder on the command line: named as it is, in a run, and its tokens shared with other models."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint
from tests.models import pretrained_models as made

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return made.gpt2(tmp_path_factory.mktemp("made") / "tiny")


def test_the_folder_itself_is_a_model(call: Call, folder: Path, corpus_file: Path, kept: Path) -> None:
    scored = call("score", folder, kept, "--format", "jsonl", input="the old cat sleeps\n老猫在门口睡觉。\n")
    assert (scored.exit_code, [json.loads(line)["model"] for line in scored.stdout.splitlines()]) == (
        0,
        ["tiny", "bigram"] * 2,
    )
    ranked = call("rank", folder, input="the cat sleeps\nsleeps cat the\n")
    assert ranked.exit_code == 0, ranked.stderr
    assert "the cat sleeps" in ranked.stdout
    written = call("generate", folder, "--prompt", "the old", "-n", 2, "--max-tokens", 5)
    assert written.exit_code == 0, written.stderr
    assert [line.startswith("the old") for line in written.stdout.splitlines()[:1]] == [True]
    evaluated = call("eval", folder, "--corpus", corpus_file, "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(evaluated.stdout))
    assert float(row["perplexity"]) > 1
    assert float(row["bits_per_character"]) > 0
    assert "|unit:huggingface|" in row["signature"]


def test_in_a_run_it_stands_beside_models_of_its_tokens(call: Call, folder: Path, corpus_file: Path) -> None:
    own = ("--models", f"ngram:order=2,pretrained:path={folder}", "--corpus", corpus_file, "--format", "csv")
    apart = call("run", *own, "--out", "apart")
    assert apart.exit_code == 0, apart.stderr
    assert len({row["signature"].partition("|unit:")[2] for row in rows(apart.stdout)}) == 2
    shared = call("run", *own, "--tokenizer", f"huggingface:path={folder}", "--out", "shared")
    assert shared.exit_code == 0, shared.stderr
    assert next(row["model"] for row in rows(shared.stdout)) == "ngram:order=2"  # the other has random weights
    assert len({row["events"] for row in rows(shared.stdout)}) == 1
    again = call("eval", "shared", "--corpus", corpus_file, "--format", "csv")
    assert {row["perplexity"] for row in rows(again.stdout)} == {row["perplexity"] for row in rows(shared.stdout)}


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_what_is_no_model_is_told(call: Call, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "nor the config.json of a pretrained one" in complaint(call("score", tmp_path / "empty", input="a\n"))
    assert "no model.safetensors in it" in complaint(call("score", bare(folder, tmp_path), input="a\n"))
    missing = call("run", "--models", "pretrained:path=nowhere", "--corpus", "english", "--out", "run")
    assert "there is no config.json in it" in complaint(missing)


def bare(folder: Path, tmp_path: Path) -> Path:
    """The folder without its weights."""
    target = tmp_path / "bare"
    target.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    return target
