"""A file -> its text, or one paragraph that says what is wrong with it and where."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.reading import json_lines, read_text, sentences, text_files, unify_newlines
from lmbench.errors import CorpusError

TEXT = "the cat sat\nZoë 我们\n"


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "pack"), [("a.txt", bytes), ("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.txt.xz", lzma.compress)]
)
def test_compressed_text_is_read_as_plain(bare_machine: Path, name: str, pack) -> None:
    assert read_text(write(bare_machine, name, pack(TEXT.encode()))) == TEXT


def test_compression_is_told_by_content_not_by_name(bare_machine: Path) -> None:
    assert read_text(write(bare_machine, "a.txt", gzip.compress(b"text"))) == "text"


def test_marks_and_line_ends_of_other_systems(bare_machine: Path) -> None:
    assert read_text(write(bare_machine, "a", b"\xef\xbb\xbfone\r\ntwo\r\n")) == "one\r\ntwo\r\n"
    assert unify_newlines("one\r\ntwo\r\n") == ("one\ntwo\n", True)
    assert unify_newlines("one\rtwo\r") == ("one\ntwo\n", True)
    assert unify_newlines("one\ntw\ro\n") == ("one\ntw\ro\n", False)  # white space, no line end


BAD = {  # bytes and lines are counted from 1
    "empty": (b"", "is empty", "0 bytes"),
    "mark only": (b"\xef\xbb\xbf", "is empty", "byte-order mark"),
    # line 2 is "fo\0o": its third byte, after the 4 of the first line: 4 + 3
    "nul": (b"one\nfo\0o", r"byte 7 \(line 2, byte 3 of it\) is NUL", "plain text file"),
    # "\xe9" alone is Latin-1 for é: fourth byte of line 2, 4 + 4
    "latin1": (b"one\ncaf\xe9 x", r"byte 8 \(line 2, byte 4 of it\) is 0xE9", "iconv -f LATIN1"),
    # the mark is 3 bytes of line 1: "ab" ends at byte 5
    "latin1 after a mark": (b"\xef\xbb\xbfab\xe9", r"byte 6 \(line 1, byte 6 of it\) is 0xE9", "iconv"),
    "cut character": ("我们".encode()[:5], r"byte 4 \(line 1, byte 4 of it\) is 0xE4", "UTF-8"),
    "utf-16": ("text".encode("utf-16"), "is written in UTF-16", "iconv -f UTF-16"),
    "zip": (b"PK\x03\x04\0", r"byte 5 .* is NUL", "It is an archive: unpack it and name the folder"),
    "damaged gz": (gzip.compress(b"some text" * 99)[:-9], "is a damaged gz file", "Copy or download it again"),
    "damaged bz2": (bz2.compress(b"some text" * 99)[:-9], "is a damaged bz2 file", "Copy or download it again"),
    "damaged xz": (lzma.compress(b"some text" * 99)[:-9], "is a damaged xz file", "Copy or download it again"),
    "gz of nothing": (gzip.compress(b""), "is empty", "holds text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_told_with_their_place(bare_machine: Path, case: str) -> None:
    content, found, advice = BAD[case]
    path = write(bare_machine, "bad.txt", content)
    with pytest.raises(CorpusError, match=found) as error:
        read_text(path)
    assert str(path) in str(error.value)
    assert advice in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_lies_about_compression(bare_machine: Path) -> None:
    with pytest.raises(CorpusError, match=r"is not a gz file although its name says so.*74 65 78 74"):
        read_text(write(bare_machine, "a.gz", b"text"))  # t e x t = 74 65 78 74


def test_missing_files_say_which_part_of_the_path_exists(bare_machine: Path) -> None:
    (bare_machine / "data").mkdir()
    with pytest.raises(CorpusError, match=r"no file or folder .*data/ptb/train.txt: the folder .*data holds no 'ptb'"):
        read_text(bare_machine / "data" / "ptb" / "train.txt")
    write(bare_machine, "data/novel.txt", TEXT)
    with pytest.raises(CorpusError, match=r"Did you mean .*data/novel\.txt\?"):
        read_text(bare_machine / "data" / "novl.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_say_so(bare_machine: Path) -> None:
    path = write(bare_machine, "a.txt", TEXT)
    path.chmod(0)
    with pytest.raises(CorpusError, match="cannot be read: Permission denied"):
        read_text(path)


def test_an_error_of_the_disk_is_told(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CorpusError, match=r"cannot be read: Permission denied\. Check its permissions"):
        read_text(bare_machine / "a.txt")


def test_a_folder_is_no_file(bare_machine: Path) -> None:
    with pytest.raises(CorpusError, match="is a folder where a text file was expected"):
        read_text(bare_machine)


def test_white_space_in_a_sentence_is_single() -> None:
    # 7 lines, of which the 3 blank ones (one of spaces, two empty) are dropped.
    text = " a  b\t\tc \n \nd\u00a0e\x0cf\n\n\ng\rh\n i"
    assert sentences(text, "drop", "x") == ("a b c\nd\u00a0e f\ng h\ni", 3)
    assert sentences(text, "keep", "x") == ("a b c\n\nd\u00a0e f\n\n\ng h\ni", 0)


def test_a_final_newline_ends_a_line_and_opens_none() -> None:
    assert sentences("a\n\n", "keep", "x") == ("a\n", 0)  # two lines, the second blank
    assert sentences(" \n a \n", "keep", "x")[0] == "\na"  # as wikitext begins
    assert sentences("\n\n \n", "drop", "x") == ("", 3)


@given(text=st.text(st.sampled_from("ab \t\n\r\x0b\x0c\u00a0é"), max_size=60))
def test_sentences_are_what_a_loop_over_lines_would_give(text: str) -> None:
    lines = [b" ".join(line.encode().split()).decode() for line in text.removesuffix("\n").split("\n")]
    assert sentences(text, "keep", "x")[0] == "\n".join(lines)
    kept = [line for line in lines if line]
    assert sentences(text, "drop", "x") == ("\n".join(kept), len(lines) - len(kept))


@given(
    words=st.lists(st.sampled_from(["a", "é", "\u00a0", "我"]), min_size=1), ends=st.sampled_from(["", "\n", "\n\n"])
)
def test_a_tidy_text_stays_what_it_is(words: list[str], ends: str) -> None:
    text = " ".join(words).replace("é ", "é\n")
    assert sentences(text + ends, "drop", "x") == (text, len(ends) // 2)


def test_the_boundary_as_a_word_is_refused_with_its_line() -> None:
    with pytest.raises(CorpusError, match=r"toy.txt, line 2, holds </s> as a word"):
        sentences("a\nb </s> c", "drop", "toy.txt")
    assert sentences("x</s>y", "drop", "toy.txt")[0] == "x</s>y"  # part of a word is a word like any other


def test_json_lines_give_their_text() -> None:
    text = '{"text": "a\\nb", "sentence": "no"}\n\n{"sentence_good": "c", "sentence_bad": "d"}\n'
    assert json_lines(text, "x.jsonl") == ["a\nb", "c"]
    with pytest.raises(CorpusError, match=r"x.jsonl, line 2, column 10, is not JSON"):
        json_lines('{"text": "a"}\n{"text": }', "x.jsonl")
    with pytest.raises(CorpusError, match=r"x.jsonl, line 1, holds no text under any of text, content"):
        json_lines('{"title": "a"}', "x.jsonl")


def test_folders_are_searched_for_text_alone(bare_machine: Path) -> None:
    for name in ("b.txt", "a.txt.gz", "sub/c.tokens", "train", "README.md", "LICENSE", ".hidden", "x.png", "news.dev"):
        write(bare_machine, name, TEXT)
    names = [str(path.relative_to(bare_machine)) for path in text_files(bare_machine)]
    assert names == ["a.txt.gz", "b.txt", "news.dev", "sub/c.tokens", "train"]


def test_folders_without_text_say_what_they_hold(bare_machine: Path) -> None:
    empty = bare_machine / "empty"
    empty.mkdir()
    with pytest.raises(CorpusError, match=r"empty is empty"):
        text_files(empty)
    for i in range(5):
        write(bare_machine, f"pictures/{i}.png", b"\x89PNG\0")
    with pytest.raises(CorpusError, match=r"holds no text file: 5 files such as 0.png, 1.png, 2.png"):
        text_files(bare_machine / "pictures")
