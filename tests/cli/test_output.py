"""Tables and progress: what a terminal shows, and what a pipe gets."""

from __future__ import annotations

import sys

import pytest

from lmbench.cli.progress import Display
from lmbench.cli.tables import print_cells, print_rows

ROWS = [{"model": "lstm", "perplexity": 104.054, "notes": None}, {"model": "一只猫", "perplexity": None, "notes": None}]


def test_plain_text_is_aligned_by_width_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS)
    assert capsys.readouterr().out == "model   perplexity\nlstm        104.05\n一只猫\n"


def test_csv_is_written_in_full_and_markdown_rounded(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, "csv")
    assert capsys.readouterr().out == "model,perplexity\nlstm,104.054\n一只猫,\n"
    print_rows([{"model": "a|b", "x": 1}], "md")
    assert capsys.readouterr().out == "| model | x |\n| --- | ---: |\n| a\\|b | 1 |\n"


def test_a_narrow_terminal_gets_the_table_in_parts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    names = ["model", "perplexity", "parameters", "seconds"]
    print_cells(names, [["lstm", "104.05", "2,000,000", "420"]], [True, False, False, False], drawn=True)
    shown = capsys.readouterr().out
    assert shown.count("lstm") == 3
    assert max(map(len, shown.splitlines())) <= 30


def test_lines_of_progress_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        display.begin("lstm")
        display.step("data", "1,000 events")
        display.update(0.5, step=10, loss=4.0)
        display.note("all is well")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "lstm  data       1,000 events\nlstm  all is well\n"


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Display() as display:
        display.begin("lstm")
        display.step("data", "1,000 events [all of them]")
        display.update(0.5, step=10, loss=4.0, tokens_per_second=2000, seconds_left=61)
        display.begin("gpt")
        display.update(0.1, step=1, loss=float("nan"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1,000 events [all of them]" in captured.err
