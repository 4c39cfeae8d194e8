"""A small corpus, kept models, and ``lmbench`` called as a user types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmbench.cli.application import lmbench

SUBJECTS = ("the cat", "the dog", "a bird", "the old man", "my sister")
VERBS = ("sleeps", "sees the moon", "eats a fish", "runs home", "reads the book")
WHERE = ("", " today", " near the house", " in the garden")
SENTENCES = [f"{subject} {verb}{where}" for subject in SUBJECTS for verb in VERBS for where in WHERE]

Call = Callable[..., Result]


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    """600 sentences of one small world."""
    return write_world(tmp_path)


def write_world(folder: Path) -> Path:
    """See ``corpus_file``."""
    path = folder / "world.txt"
    lines = [SENTENCES[(7 * i + i // 100) % len(SENTENCES)] for i in range(600)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """``call("score", folder, input="the cat\\n")``: the command, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LMBENCH_DATA", raising=False)

    def run(*arguments: object, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(lmbench, [str(argument) for argument in arguments], input=input)

    return run


@pytest.fixture
def kept(call: Call, corpus_file: Path, tmp_path: Path) -> Path:
    """A kept model: bigrams of the small world."""
    result = call("train", "ngram:order=2", "--corpus", corpus_file, "--out", tmp_path / "bigram")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "bigram"


def command(*arguments: object) -> list[str]:
    """The arguments of a process of its own."""
    return [sys.executable, "-m", "lmbench", *map(str, arguments)]


def process(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run ``lmbench`` as a process of its own."""
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "check": False, **settings}
    return subprocess.run(command(*arguments), **options)  # type: ignore[call-overload, no-any-return]


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start ``lmbench`` as a process of its own."""
    return subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complaint(result: Result) -> str:
    """The one paragraph that a refused command prints; nothing stands on standard output."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    paragraph = result.stderr.splitlines()[-1]
    assert paragraph.startswith("lmbench: ")
    assert "Traceback" not in result.stderr
    return paragraph
