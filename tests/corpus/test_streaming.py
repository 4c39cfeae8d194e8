"""A streamed file gives the same splits, vocabulary, ids and checksum as the same file held in memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus import streaming
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.streaming import StreamedCorpus, lines_of
from lmbench.errors import CorpusError, UsageError


def text(lines: int, seed: int = 0) -> str:
    random = np.random.default_rng(seed)
    words = [f"w{int(60 * random.random() ** 3)}é" for _ in range(lines * 5)]
    return "\n".join(" ".join(words[i : i + random.integers(0, 9)]) for i in range(lines)) + "\n"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that characters and lines are cut by the blocks in which the file is read."""
    monkeypatch.setattr(lines_of, "__defaults__", (101,))


@pytest.mark.parametrize("spec", ["word", "word:min_count=3:lower=true", "word:size=20", "char", "byte"])
@pytest.mark.parametrize("lines", [12, 100, 730])
def test_equal_to_the_corpus_held_in_memory(spec: str, lines: int, tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_text("\ufeff" + text(lines), encoding="utf-8")
    held, streamed = load_corpus(path), StreamedCorpus.open(path, tmp_path / "ids")
    expected, found = held.tokenize(spec), streamed.tokenize(spec)
    assert found.tokenizer.to_dict() == expected.tokenizer.to_dict()
    np.testing.assert_array_equal(found.train.ids, expected.train.ids)
    np.testing.assert_array_equal(found.valid.ids, expected.valid.ids)
    rest = streamed.held_out()
    assert (rest.name, rest.sha256, rest.line) == (held.name, held.sha256, held.line)
    assert (rest.valid, rest.test) == (held.valid, held.test)


def test_whatever_white_space_and_packing(tmp_path: Path) -> None:
    untidy = "\r\n".join(f" a{i % 7}  b\t{'c ' * (i % 3)}\x0b" if i % 5 else "  " for i in range(200))
    path = tmp_path / "my.txt.gz"
    path.write_bytes(gzip.compress(untidy.encode()))
    held, streamed = load_corpus(path), StreamedCorpus.open(path, tmp_path)
    np.testing.assert_array_equal(streamed.tokenize().train.ids, held.tokenize().train.ids)
    assert streamed.held_out().sha256 == held.sha256


def test_chinese_is_read_by_characters(tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("每位善良的法官喝了水\n法官每天看电视新闻\n" * 20, encoding="utf-8")
    held, streamed = load_corpus(path), StreamedCorpus.open(path, tmp_path)
    assert streamed.tokenize().tokenizer.to_dict() == held.tokenize().tokenizer.to_dict()


def test_what_was_written_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "my.txt"
    path.write_text(text(100), encoding="utf-8")
    streamed = StreamedCorpus.open(path, tmp_path / "ids")
    first = streamed.tokenize()
    ids, vocabulary = first.train.ids.copy(), first.tokenizer.vocabulary
    monkeypatch.setattr(StreamedCorpus, "_train", lambda *_: pytest.fail("trained again"))
    again = streamed.tokenize()
    np.testing.assert_array_equal(again.train.ids, ids)
    assert again.tokenizer.vocabulary == vocabulary
    monkeypatch.undo()
    assert len(streamed.tokenize("char").train.ids) > len(ids)  # another tokenizer: written anew
    path.write_text(text(200), encoding="utf-8")
    assert len(StreamedCorpus.open(path, tmp_path / "ids").tokenize().train.ids) > len(ids)
    streamed.clear()
    assert not (tmp_path / "ids").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one line\n" * 9, "9 lines, and at least 10 are needed"),
        (b"a line\n" * 50 + b"a caf\xe9 here\n", "line 51 holds the byte 0xE9"),
        (b"a line\n" * 50 + b"\0", "line 51 holds the byte NUL"),
        (b"a line\r" * 500, "carriage returns alone"),
        (b"a line\n" * 50 + b"a </s> b\n", r"from line \d+ on, line \d+, holds </s> as a word"),
    ],
)
def test_what_is_no_text_is_told(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        StreamedCorpus.open(path, tmp_path)


def test_a_damaged_or_missing_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "my.txt.gz"
    path.write_bytes(gzip.compress(text(500).encode())[:-20])
    with pytest.raises(CorpusError, match="cannot be read to its end"):
        StreamedCorpus.open(path, tmp_path)
    with pytest.raises(CorpusError, match=r"no file or folder .*none\.txt"):
        StreamedCorpus.open(tmp_path / "none.txt", tmp_path)


def test_merges_are_not_learned_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "my.txt"
    path.write_text(text(100), encoding="utf-8")
    with pytest.raises(UsageError, match="bpe are not learned"):
        StreamedCorpus.open(path, tmp_path).tokenize("bpe")


def test_which_files_can_be_streamed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl", "c.jsonl.gz", "d.grammar"):
        (tmp_path / name).touch()
    names = ("a.txt", "b.jsonl", "c.jsonl.gz", "d.grammar", ".")
    assert [n for n in names if streaming.can_be_streamed(tmp_path / n)] == ["a.txt"]
