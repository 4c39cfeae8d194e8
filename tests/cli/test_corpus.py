"""``lmbench corpus``: what there is, what is in it, and how it comes here."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.corpus import catalog
from tests.cli.conftest import Call, complaint


def test_list_names_every_corpus_and_whether_it_is_here(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMBENCH_DATA", str(tmp_path / "data"))
    for name in ("shakespeare", "diary"):
        (tmp_path / "data" / name).mkdir(parents=True)
    lines = {line.split()[0]: line for line in call("corpus", "list").stdout.splitlines()}
    assert set(catalog.CATALOG) < set(lines)
    assert " made here " in lines["english"]
    assert " yes " in lines["shakespeare"]
    assert "your own" in lines["diary"]


def test_show_describes_a_text(call: Call, corpus_file: Path) -> None:
    result = call("corpus", "show", corpus_file, "--tokenizer", "char")
    assert result.exit_code == 0, result.stderr
    assert "world" in result.stdout
    assert "600" not in result.stdout.splitlines()[0]
    assert "the cat" in result.stdout


def test_nothing_asked_is_answered_with_help(call: Call) -> None:
    result = call("corpus")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stdout.count("\n") > 5


def test_show_names_the_nearest(call: Call) -> None:
    assert "Did you mean 'english'?" in complaint(call("corpus", "show", "engilsh"))


def test_get_takes_a_local_folder(call: Call, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "novel.txt").write_text("It was a dark night.\n" * 50, encoding="utf-8")
    result = call("corpus", "get", "novels", "--from", source)
    assert result.exit_code == 0, result.stderr
    assert list(Path(result.stdout.strip()).rglob("novel.txt"))


def test_get_refuses_what_it_cannot(call: Call) -> None:
    assert "Did you mean 'ptb'?" in complaint(call("corpus", "get", "ptbb"))
    assert "--from PATH" in complaint(call("corpus", "get", "ptb"))
    assert "made on this machine" in complaint(call("corpus", "get", "english"))


def test_a_download_is_told_on_standard_error(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections.abc import Callable

    def obtained(name: str, source: Path | None, progress: Callable[[int, int | None, str], None], again: bool) -> Path:
        progress(0, 3_000_000, f"{name}.zip")
        progress(3_000_000, 3_000_000, f"{name}.zip")
        return tmp_path

    monkeypatch.setattr("lmbench.corpus.download.get", obtained)
    result = call("corpus", "get", "text8")
    assert result.stdout == f"{tmp_path}\n"
    assert result.stderr == "downloading text8.zip (3.0 MB)\n"
