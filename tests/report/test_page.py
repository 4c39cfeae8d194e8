"""``report.html``: what stands in it, what does not, and that nothing of a corpus becomes markup."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lmbench.benchmark.results import Heldout, RunFolder
from lmbench.errors import ResultsError
from lmbench.report.breakdowns import TokenScores
from lmbench.report.islands import different, island, reader
from lmbench.report.page import TEMPLATES, page, write_page, write_report
from tests.report.made_run import CHINESE, Write, made

EVIL = "</script><script>alert(1)</script>"
RESULTS = [made("gpt", 99.0), made("ngram", 120.0)]


class Outline(HTMLParser):
    """Elements, identifiers and references of a page; complains of what is not closed."""

    VOID = frozenset({"meta", "link", "br", "wbr", "input", "col", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[str] = []
        self.identifiers: list[str] = []
        self.languages: set[str] = set()
        self.addresses: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        given = dict(attrs)
        self.identifiers += [given["id"] or ""] if "id" in given else []
        self.languages.add(given.get("lang") or "")
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def data_of(text: str) -> dict[str, object]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def sections(text: str) -> list[str]:
    return re.findall(r'<section id="([^"]+)"', text)


def test_a_page_is_sound_and_needs_nothing_else(write_run: Write) -> None:
    text = write_page(write_run(RESULTS)).read_text(encoding="utf-8")
    outline = Outline(text)
    assert len(outline.identifiers) == len(set(outline.identifiers))
    inner = {address[1:] for address in outline.addresses if address.startswith("#")}
    assert inner <= set(outline.identifiers)
    assert {address for address in outline.addresses if not address.startswith("#")} == {"data:,"}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)
    assert outline.elements.count("h1") == 1


def test_sections_in_their_order(write_run: Write) -> None:
    text = page(RunFolder(write_run(RESULTS)))
    assert sections(text) == [
        "ranking", "perplexity", "cost", "curves", "phenomena", "reader", "samples", "settings",
    ]  # fmt: skip


def test_a_run_of_an_earlier_version_has_fewer_sections(write_run: Write) -> None:
    path = write_run(RESULTS)
    for name in ("reader.json", "samples.json", "heldout.json", "environment.json", "recipe.toml"):
        (path / name).unlink()
    assert sections(page(RunFolder(path))) == ["ranking", "perplexity", "cost", "curves", "phenomena", "settings"]


def test_a_run_in_which_all_failed_has_a_page(write_run: Write) -> None:
    text = page(RunFolder(write_run([made("gpt", status="failed", reason="no <room>", comparison="", details={})])))
    assert "No model has numbers to rank." in text
    assert "gpt failed: no &lt;room&gt;" in text
    assert "perplexity" not in sections(text)


def test_nothing_of_a_run_becomes_markup(write_run: Write) -> None:
    """A corpus, a model and a reason may hold whatever they like."""
    results = [made(f"gpt={EVIL}", 99.0), made("b", status="failed", reason=EVIL, comparison="")]
    text = page(RunFolder(write_run(results, tokens=("the", EVIL, "<!--", "<img src=x>", "</s>"))))
    outline = Outline(text)
    assert outline.elements.count("script") == 2
    assert "img" not in outline.elements
    assert "alert(1)</script>" not in text
    shown = data_of(text)["reader"]
    assert shown["sentences"][0]["tokens"][1] == EVIL  # type: ignore[index]


def test_an_island_cannot_be_left() -> None:
    content = {"text": "</script> <!-- & \u2028", "number": 1.5}
    text = str(island(content))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == content


def test_chinese_is_marked_as_such(write_run: Write) -> None:
    text = page(RunFolder(write_run(RESULTS, language="zh", tokens=CHINESE)))
    outline = Outline(text)
    assert "zh" in outline.languages
    assert data_of(text)["language"] == "zh"
    assert data_of(text)["reader"]["sentences"][0]["text"] == "老猫睡了"  # type: ignore[index]


def test_the_same_files_give_the_same_page_in_every_process(write_run: Write) -> None:
    """Sets of texts have another order in each process."""
    levels = [made(f"level{number}", 100.0 + number, details={}) for number in range(8)]
    path = write_run([*RESULTS, *levels])
    code = f"from lmbench.report.page import write_page; write_page({str(path)!r})"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert (path / "report.html").read_text(encoding="utf-8") == page(RunFolder(path))


def test_rows_of_other_events_stand_apart(write_run: Write) -> None:
    text = page(RunFolder(write_run([*RESULTS, made("bytes", 3.0, comparison="two")])))
    assert text.count('<table class="sortable">') == 2
    assert "must not be compared" in text


def test_everything_is_written(write_run: Write) -> None:
    path = write_run(RESULTS)
    names = {str(file.relative_to(path)) for file in write_report(path)}
    assert {"table.md", "table.csv", "table.tex", "report.html", "plots/perplexity.svg"} <= names
    assert all((path / name).is_file() for name in names)


def test_a_damaged_file_is_named(write_run: Write) -> None:
    path = write_run(RESULTS)
    (path / "reader.json").write_text("[", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"reader\.json"):
        write_report(path)
    with pytest.raises(ResultsError, match="not the folder of a run"):
        write_report(path / "nowhere")


def test_the_reader_keeps_what_it_needs() -> None:
    entry = {
        "nats": [1.23456, float("inf")],
        "rank": [1, 9],
        "entropy": None,
        "top": [[["a", 0.12345]], [["b", 0.1], ["a", 0.05]]],
    }
    kept = {"sentences": [{"unit": 3, "tokens": ["a", "b"]}], "models": {"x": [entry], "gone": [entry], "none": None}}
    assert reader(kept, ["none", "x"], " ") == {
        "labels": ["x"],
        "sentences": [{"tokens": ["a", "b"], "text": "a b"}],
        "models": [[{"nats": [1.235, None], "rank": [1, 9], "top": [[[0, 0.123]], [[1, 0.1], [0, 0.05]]]}]],
        "types": ["a", "b"],
        "pieces": False,
    }
    words = {"words": ["ab"], "starts": [0]}
    pieces = {"sentences": [{**kept["sentences"][0], **words}], "models": {"x": [entry]}}  # type: ignore[index]
    shown = reader(pieces, ["x"], " ")
    assert shown is not None
    assert shown["pieces"]
    assert shown["sentences"] == [{"tokens": ["a", "b"], "text": "a b", **words}]
    assert reader(None, ["x"], " ") is None
    assert reader({"sentences": [], "models": {}}, ["x"], " ") is None


def scores_of(nats: dict[str, list[float]]) -> TokenScores:
    """Passages of four events each, every event of a passage with the same nats under a model."""
    passages = len(next(iter(nats.values())))
    ids, ends = np.arange(1, 4 * passages + 1, dtype=np.int32) % 7, np.arange(1, passages + 1) * 4
    heldout = Heldout(ids, ends, ends, ends, np.ones(7, np.int64), tuple("</s> a b c d e f".split()), " ", None,
                      "sentence", "word", None, 4 * passages, "e")  # fmt: skip
    return TokenScores(heldout, tuple(made(name, 9.0) for name in nats), np.repeat(list(nats.values()), 4, axis=1))


def test_each_pair_finds_its_most_different_sentences() -> None:
    nats = {"x": [1.0, 9.0] + 30 * [5.0], "y": [9.0, 1.0] + 30 * [5.0], "z": 31 * [5.0] + [1.0]}
    found = different(scores_of(nats), ["z", "x", "y", "gone"])
    assert found is not None
    assert found["labels"] == ["z", "x", "y"]
    assert [5.0, 1.0, 9.0] in [sentence["nats"] for sentence in found["sentences"]]
    assert [1.0, 5.0, 5.0] in [sentence["nats"] for sentence in found["sentences"]]
    assert len(found["sentences"]) == 3  # all others are even
    assert different(scores_of({"x": [1.0]}), ["x"]) is None
    assert different(None, ["x", "y"]) is None


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2."""
    digits = color.lstrip("#")
    whole = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(whole[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read(theme: int) -> None:
    """At least 4.5:1 (WCAG 2 AA), in the heat map and elsewhere."""
    style = (Path(__file__).parents[2] / "lmbench/report" / TEMPLATES / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colors = dict(re.findall(r"--([\w-]+): (#\w+)", blocks[theme]))
    for step in range(9):
        text = colors["dark-text" if step < 6 else "light-text"]
        assert contrast(colors[f"h{step}"], text) >= 4.5, step
    for name in ("ink", "muted", "accent"):
        assert contrast(colors[name], colors["paper"]) >= 4.5
        assert contrast(colors[name], colors["shade"]) >= 4.5
