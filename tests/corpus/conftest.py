"""Text written for these tests, and a machine without any data folder or cache of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No LMBENCH_DATA, an empty cache, and the test's own folder as the current one."""
    monkeypatch.delenv("LMBENCH_DATA", raising=False)
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def numbered(count: int) -> str:
    """``count`` lines, each another sentence."""
    return "".join(f"sentence number {i} is here\n" for i in range(count))
