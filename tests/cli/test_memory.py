"""``train --memory``: the same model from a text that is read block by block, also after it was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lmbench.models.ngram import runs
from tests.cli.conftest import Call

KILLED = """
import os, signal
from lmbench.cli.application import lmbench
from lmbench.models.ngram import runs
written = runs.write_arrays
def killed(path, arrays):
    if path.name == "run-2.safetensors":
        os.kill(os.getpid(), signal.SIGKILL)
    written(path, arrays)
runs.write_arrays = killed
lmbench()
"""


@pytest.fixture
def options(corpus_file: Path) -> list[object]:
    # Half are kept free; 40 bytes for each of 26 types, 80 for a token: pieces of 89 tokens, some 30 of them.
    return ["train", "ngram:order=3", "--corpus", corpus_file, "--memory", "16K", "--out", "limited"]


def test_the_model_and_what_is_said_of_it_are_the_same(call: Call, corpus_file: Path, options: list[object]) -> None:
    plain = call("train", "ngram:order=3", "--corpus", corpus_file, "--out", "plain")
    limited = call(*options)
    assert limited.exit_code == 0, limited.stderr
    signatures = [result.stdout.splitlines()[-1] for result in (plain, limited)]
    assert signatures[0] == signatures[1]
    assert Path("limited/ngram.safetensors").read_bytes() == Path("plain/ngram.safetensors").read_bytes()
    assert {path.name for path in Path("limited").iterdir()} == {path.name for path in Path("plain").iterdir()}
    assert "600 lines are read block by block" in limited.stderr
    assert call("eval", "limited", "--corpus", corpus_file).exit_code == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_training_goes_on(call: Call, corpus_file: Path, options: list[object]) -> None:
    arguments = [str(option) for option in options]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    counting = Path("limited/counting")
    assert {path.name for path in counting.glob("run-*")} == {"run-0.safetensors", "run-1.safetensors"}
    again = call(*options)
    assert again.exit_code == 0, again.stderr
    assert not counting.exists()
    call("train", "ngram:order=3", "--corpus", corpus_file, "--out", "plain")
    assert Path("limited/ngram.safetensors").read_bytes() == Path("plain/ngram.safetensors").read_bytes()


def test_an_interrupted_counting_says_how_it_goes_on(call: Call, options: list[object], monkeypatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "merge", interrupted)
        result = call(*options)
    assert "is kept in limited. Go on with: " in f"{result.exception} {result.stderr}"
    assert call(*options, "--resume").exit_code == 0


def test_what_does_not_count_takes_no_memory(call: Call, corpus_file: Path) -> None:
    result = call("train", "uniform", "--corpus", corpus_file, "--memory", "1G", "--out", "x")
    assert result.exit_code == 2
    assert "uniform has no such limit" in str(result.exception) + result.stderr
    result = call("train", "ngram", "--corpus", corpus_file, "--memory", "lots", "--out", "x")
    assert "'lots' is no size" in str(result.exception) + result.stderr


def test_a_corpus_that_is_no_single_file_is_held(call: Call) -> None:
    result = call("train", "ngram", "--corpus", "english", "--tokens", 2000, "--memory", "1M", "--out", "x")
    assert result.exit_code == 0, result.stderr
    assert "block by block" not in result.stderr
