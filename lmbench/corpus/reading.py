"""A path -> the text in it, checked: decompressed, UTF-8, no NUL, lines normalised.

Everything that can be wrong with a file is found here, once, and told in one paragraph: what was
asked, what was found and where, what to do. Places are counted from 1, as in editors: the byte of the file, the
line, the byte of the line.
"""

from __future__ import annotations

import bz2
import difflib
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lmbench.corpus.vocabulary import BOUNDARY
from lmbench.errors import CorpusError

BlankLines = Literal["drop", "keep"]
COMPRESSED = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00"}
"""Suffix of a compressed file -> the bytes that it opens with."""
TEXT_SUFFIXES = frozenset({"", ".txt", ".text", ".tokens", ".raw", ".tok", ".sent", ".lines", ".char", ".jsonl"})
"""Suffixes of files that a folder is searched for. A file named itself is read whatever its suffix."""
ASIDE = ("readme", "license", "licence", "copying", "changelog", "source.json")
"""Files that stand beside a text and are not part of it."""
TEXT_KEYS = ("text", "content", "sentence", "sentence_good")
"""Keys under which JSON lines hold their text; the last is that of minimal pairs."""
SPACE, NEWLINE = 32, 10
ONE_SPACE = bytes.maketrans(b"\t\r\x0b\x0c", b"    ")
BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_bytes(path: Path) -> bytes:
    """The content of ``path``, decompressed where it is gz, bz2 or xz (told by its first bytes).

    Raises CorpusError where it is missing, a folder, unreadable, damaged or empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing(path) from None
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder where a text file was expected. Name a file in it.") from None
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read: {error.strerror or error}. Check its permissions (ls -l '{path}')."
        ) from None
    kind = next((suffix for suffix, magic in COMPRESSED.items() if data.startswith(magic)), None)
    if kind is None and path.suffix in COMPRESSED and data:
        raise CorpusError(
            f"{path} is not a {path.suffix[1:]} file although its name says so: it opens with the bytes "
            f"{data[:4].hex(' ')}. Compress it again, or take the suffix away if it is plain text."
        )
    if kind is not None:
        data = _decompress(path, data, kind)
    if not data:
        raise CorpusError(f"{path} is empty (0 bytes of text). Give a file that holds text.")
    return data


def _decompress(path: Path, data: bytes, kind: str) -> bytes:
    unpack = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}[kind]
    try:
        return unpack(data)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise CorpusError(
            f"{path} is a damaged {kind[1:]} file: of {len(data):,} bytes not all can be unpacked ({error}). "
            "Copy or download it again."
        ) from None


def read_text(path: Path) -> str:
    """The text of ``path``: UTF-8, its byte-order mark dropped, otherwise verbatim. Raises CorpusError as
    ``read_bytes`` and ``decoded`` do."""
    return decoded(read_bytes(path), path)


def decoded(data: bytes, path: Path) -> str:
    """The text that is written in ``data``, which came from ``path``.

    Raises CorpusError with the position for a NUL byte, another encoding, or invalid UTF-8.
    """
    if data[:2] in BYTE_ORDER_MARKS:
        raise CorpusError(
            f"{path} is written in {BYTE_ORDER_MARKS[data[:2]]} (it opens with the bytes {data[:2].hex(' ')}), and "
            f"text is read as UTF-8. Convert it: iconv -f UTF-16 -t UTF-8 '{path}' > new.txt"
        )
    where = data.find(b"\0")
    if where >= 0:
        packed = data.startswith(b"PK") or ".tar" in path.suffixes or path.suffix == ".tgz"
        advice = (
            "It is an archive: unpack it and name the folder."
            if packed
            else "Name a plain text file; if this one is UTF-16, convert it with iconv -f UTF-16 -t UTF-8."
        )
        raise CorpusError(f"{path} is no text file: {_place(data, where)} is NUL. {advice}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # utf-8-sig counts from after the byte-order mark.
        where = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise CorpusError(
            f"{path} is not valid UTF-8: {_place(data, where)} is 0x{data[where]:02X}. Convert the "
            f"file, for example with iconv -f LATIN1 -t UTF-8 or -f GB18030 for Chinese, or remove that byte."
        ) from None
    if data and not text:
        raise CorpusError(f"{path} is empty: it holds a byte-order mark and no text. Give a file that holds text.")
    return text


def unify_newlines(text: str) -> tuple[str, bool]:
    r"""``text`` with lines ended by ``\n`` alone, and whether they were ended otherwise (``\r\n``, ``\r``).

    >>> unify_newlines("one\r\ntwo\r\n")
    ('one\ntwo\n', True)
    """
    if "\r" not in text:
        return text, False
    unified = text.replace("\r\n", "\n")
    if "\n" not in unified:
        unified = unified.replace("\r", "\n")  # the line ends of old Macintosh files
    return unified, unified != text


def _place(data: bytes, where: int) -> str:
    """In words, the place of ``data[where]``, counted from 1."""
    line = data.count(b"\n", 0, where) + 1
    return f"byte {where + 1:,} (line {line:,}, byte {where - data.rfind(bytes([10]), 0, where):,} of it)"


def missing(path: Path) -> CorpusError:
    """The error for a path that does not exist: how much of it does, and the nearest name there."""
    path = path.absolute()
    parent = next((folder for folder in path.parents if folder.is_dir()), Path(path.anchor))
    absent = path.parts[len(parent.parts)]
    try:
        near = difflib.get_close_matches(absent, os.listdir(parent), n=1)
    except OSError:
        near = []
    hint = f"Did you mean {parent / near[0]}?" if near else "Check the path."
    return CorpusError(f"There is no file or folder {path}: the folder {parent} holds no '{absent}'. {hint}")


def sentences(text: str, blank_lines: BlankLines, path: Path | str) -> tuple[str, int]:
    """One sentence a line, white space (ASCII) in it reduced to single spaces, none at its ends.

    Gives the lines joined by newlines, and how many blank ones were dropped. Whole-text operations
    only: a loop over lines would take longer than everything else that is done to them.
    Raises CorpusError, with the line, where the text holds the boundary symbol as a word.

    >>> sentences(" the  cat\\n\\n sat\\n", "drop", "cat.txt")
    ('the cat\\nsat', 1)
    """
    if BOUNDARY in text:
        _refuse_boundary(text, path)
    text = text.removesuffix("\n").strip(" ")
    if _is_tidy(text):
        return text, 0
    # In UTF-8 a byte of white space is never part of another character, and bytes are compared many at a time.
    data = np.frombuffer(text.encode("utf-8", "surrogatepass").translate(ONE_SPACE), np.uint8)
    data = data[(data != SPACE) | ~np.append(_is_white(data[1:]), True)]  # the last of some spaces stays, before a word
    data = data[(data != SPACE) | ~_after_newline(data)]
    lines = int((data == NEWLINE).sum()) + 1
    if blank_lines == "drop":
        data = data[(data != NEWLINE) | ~_after_newline(data)]
        data = data[:-1] if len(data) and data[-1] == NEWLINE else data
    kept = int((data == NEWLINE).sum()) + 1 if blank_lines == "keep" or len(data) else 0
    return data.tobytes().decode("utf-8", "surrogatepass"), lines - kept


def _is_white(data: np.ndarray) -> np.ndarray:
    return (data == SPACE) | (data == NEWLINE)


def _after_newline(data: np.ndarray) -> np.ndarray:
    """bool (n,): whether a byte is the first of a line."""
    return np.concatenate(([True], data[:-1] == NEWLINE))[: len(data)]


def _is_tidy(text: str, block: int = 1 << 20) -> bool:
    """Whether no white space stands beside white space or at an end, and none but spaces and newlines.

    A look at pairs of bytes takes a fraction of the time in which text is searched for pairs of characters.
    """
    if text[:1] in ("", " ", "\n") or text[-1] in " \n" or any(space in text for space in "\t\r\x0b\x0c"):
        return False
    for start in range(0, len(text), block):
        low = np.frombuffer(text[start : start + block + 1].encode("utf-8", "surrogatepass"), np.uint8) <= 32
        if (low[1:] & low[:-1]).any():
            return False
    return True


def json_lines(text: str, path: Path | str) -> list[str]:
    """The documents of a ``.jsonl`` file: of each line's object the first of ``TEXT_KEYS`` that it has.

    Raises CorpusError, with line and column, where a line is no JSON object or holds no text.

    >>> json_lines('{"text": "a cat"}\\n{"text": "a dog"}', "pets.jsonl")
    ['a cat', 'a dog']
    """
    documents = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(
                f"{path}, line {number:,}, column {error.colno}, is not JSON ({error.msg}). A .jsonl file holds one "
                'object a line: {"text": "..."}.'
            ) from None
        found = [record[key] for key in TEXT_KEYS if isinstance(record, dict) and isinstance(record.get(key), str)]
        if not found:
            raise CorpusError(
                f"{path}, line {number:,}, holds no text under any of {', '.join(TEXT_KEYS)}. A .jsonl file holds one "
                'object a line: {"text": "..."}.'
            )
        documents.append(found[0])
    return documents


def _refuse_boundary(text: str, path: Path | str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if BOUNDARY in line.split():
            raise CorpusError(
                f"{path}, line {number:,}, holds {BOUNDARY} as a word, which is the symbol that marks sentence ends "
                f"here. Remove it from the text (sed 's:{BOUNDARY}::g'): sentence ends are added by the reader."
            )


def text_files(folder: Path) -> list[Path]:
    """The text files under ``folder``, in the order of their names: hidden ones, READMEs and other kinds aside.

    Raises CorpusError for a folder that is empty, cannot be listed, or holds no text file.
    """
    try:
        os.listdir(folder)  # rglob would pass over a folder that may not be read
        found = sorted(path for path in folder.rglob("*") if not _is_aside(path.relative_to(folder)))
        files = [path for path in found if path.is_file()]
    except OSError as error:
        raise CorpusError(
            f"The folder {folder} cannot be listed: {error.strerror or error}. Check its rights."
        ) from None
    chosen = [path for path in files if is_text_name(path)]
    if chosen:
        return chosen
    if not files:
        raise CorpusError(f"The folder {folder} is empty. Put text files into it, or name another folder.")
    raise CorpusError(
        f"The folder {folder} holds no text file: {_listing(files, folder)}. A text file ends in .txt, .text, .tokens, "
        ".raw, .tok, .jsonl or nothing at all (.gz, .bz2 or .xz may follow). Rename it, or name the file itself."
    )


def _listing(files: Sequence[Path], folder: Path, shown: int = 3) -> str:
    names = [str(path.relative_to(folder)) for path in files[:shown]]
    more = len(files) - len(names)
    return f"{len(files)} files such as {', '.join(names)}" if more else f"only {', '.join(names)}"


def _is_aside(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name.lower().startswith(ASIDE)


def is_text_name(path: Path) -> bool:
    """Whether the name of ``path`` is that of a text file, compressed or not; a split's name is enough."""
    plain = path.with_suffix("") if path.suffix in COMPRESSED else path
    return plain.suffix.lower() in TEXT_SUFFIXES or plain.suffix.lower()[1:] in SPLIT_WORDS


SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""A word in a file's name -> the split that it means."""
