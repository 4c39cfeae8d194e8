"""The running interpreter's own documentation -> a corpus of real English, nothing downloaded.

::

    pydoc topics                     the chapters behind help("lambda"), about 65,000 words
    docstrings of the library        read from its source files with ``ast``: no module is imported
    comments in the same files       those that fill whole lines
        | paragraphs                 code, doctests, tables, headings and grammars left out
        | sentences                  mark-up taken off, punctuation set apart as words of its own
        | each sentence once         the first time it occurs, in the order of topics and modules
        v
    documents                        one a topic or top-level module; valid and test are whole ones

Case is kept. Two interpreters of one version can differ in what their packagers left out, so the
name tells the version and ``Corpus.sha256`` tells the text.
"""

from __future__ import annotations

import ast
import inspect
import os
import platform
import re
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from lmbench.corpus import places, reading, splitting
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import CorpusError

EDITION = 2
"""Raised whenever the rules below change the text, so that an older cached copy is not used."""
LEFT_OUT = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "pydoc_data"})
LEAST_WORDS = 4
ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "Mr.", "Dr.", "St.", "resp.", "incl.", "approx.")

# A line with one of these belongs to code, a table, a grammar, a heading's underline or a list of options.
NOT_PROSE = re.compile(r"^\s*(>>>|\.\.\.|[-=*~^#+|_]{3,}|\+-|\||@|\.\. |:\w+:|--?\w)|::=|-->|={4,}|-{4,}|\t|\s{3,}\S")
BULLET = re.compile(r"^\s*(?:[-*+o\u2022]|\d+[.)]|\(\w\))\s+")
MARKUP = re.compile(r":[a-z:]+:`~?([^`<]+)(?: <[^>]*>)?`|``?([^`\n]+)``?|\*\*?([^*\s][^*\n]*?)\*\*?|`([^'\n]+)'")
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]?[A-Z]|[\"'“]\w)")
OPENING = re.compile(r"(?<!\S)([\"'(\[{“]+)(?=\S)")
CLOSING = re.compile(r"([\"'.,;:!?)\]}”]+)(?!\S)")
COMMENT = re.compile(r"(?:^[ \t]*#(?:[ \t].*)?\n)+", re.MULTILINE)
COMMENT_MARK = re.compile(r"^[ \t]*#[ \t]?", re.MULTILINE)
WORD = re.compile(r"[A-Za-z][A-Za-z'-]*$")


def load_pydocs() -> Corpus:
    """The corpus ``pydocs-VERSION``: assembled on first use (some seconds), then read from the cache."""
    name = f"pydocs-{platform.python_version()}"
    cached = places.cache_folder() / "pydocs" / f"{name}-{EDITION}.txt"
    note = ""
    if cached.is_file():
        text = reading.read_text(cached)
    else:
        text = "\n\n".join("\n".join(lines) for lines in assemble())
        note = _keep(cached, text)
    documents = text.split("\n\n")
    parts, how = splitting.hold_out(documents, "sentence", ("valid", "test"), None, name)
    train, valid, test = (Split(split, parts[split]) for split in ("train", "valid", "test"))
    return Corpus(
        name,
        train,
        valid,
        test,
        language="en",
        origin=f"topics, docstrings and comments of Python {platform.python_version()} on this machine",
        notes=tuple(filter(None, (f"Split here: {how}.", "Each sentence occurs once.", note))),
    )


def _keep(path: Path, text: str) -> str:
    """Write ``text`` to the cache, by renaming; what stood in the way becomes a note, for nothing is lost."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".pydocs-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError as error:
        return f"Not cached: {path} cannot be written ({error.strerror or error})."
    return ""


def assemble() -> list[list[str]]:
    """The documents: sentences of each topic and each top-level module, every sentence once.

    Raises CorpusError where this Python came without its library's sources.
    """
    seen: set[str] = set()
    documents = []
    for texts in (*_topics(), *_modules()):
        found = dict.fromkeys(sentence for text in texts for sentence in sentences(text))  # each once, in order
        lines = [sentence for sentence in found if sentence not in seen]
        seen.update(lines)
        if lines:
            documents.append(lines)
    if len(documents) < splitting.PERIOD:
        raise CorpusError(
            f"Python {platform.python_version()} has no library sources in {_library()}, of which pydocs is made. Use "
            "another corpus (lmbench corpus list), or a Python that was installed with its sources."
        )
    return documents


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _topics() -> Iterator[list[str]]:
    """The text of each pydoc topic, by name; none where the packager left them out."""
    for text in _strings(_library() / "pydoc_data" / "topics.py"):
        yield [text]


def _strings(path: Path) -> Iterator[str]:
    """The values of the dictionary in ``path``, in the order of their keys, without importing it."""
    tree = _parse(path)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Dict):
            topics = ast.literal_eval(node)
            yield from (topics[key] for key in sorted(topics))


def _modules() -> Iterator[list[str]]:
    """The docstrings and comments of each top-level module or package, in the order of names."""
    library = _library()
    groups: dict[str, list[Path]] = {}
    for path in sorted(_sources(library)):
        top = path.relative_to(library).parts[0].removesuffix(".py")
        if not top.startswith("_sysconfigdata"):
            groups.setdefault(top, []).append(path)
    for paths in groups.values():
        yield [text for path in paths for text in (*_docstrings(path), *_comments(path))]


def _sources(library: Path) -> Iterator[Path]:
    """The Python files of the library; tests and installed packages are not even looked into."""
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _docstrings(path: Path) -> Iterator[str]:
    tree = _parse(path)
    if tree is None:
        return
    holders: list[ast.AST] = [tree]
    while holders:
        holder = holders.pop(0)
        for node in getattr(holder, "body", []):
            match node:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield inspect.cleandoc(text)
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.If() | ast.Try():
                    holders.append(node)


def _comments(path: Path) -> Iterator[str]:
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for block in COMMENT.finditer(source):
        yield COMMENT_MARK.sub("", block.group())


def _parse(path: Path) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a library file's own invalid escapes are no business of ours
            return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # templates and the like, which are not Python


def sentences(text: str) -> Iterator[str]:
    """The sentences of prose in ``text``, words and punctuation separated by single spaces.

    >>> list(sentences("The *key* must be a string, e.g. ``name``."))
    ['The key must be a string , e.g. name .']
    """
    for paragraph in _paragraphs(text):
        plain = MARKUP.sub(lambda found: next(filter(None, found.groups())), paragraph)
        for sentence in _split(plain):
            words = CLOSING.sub(_apart, OPENING.sub(lambda found: " ".join(found.group(1)) + " ", sentence)).split()
            if _is_prose(words):
                yield " ".join(words)


def _paragraphs(text: str) -> Iterator[str]:
    """Lines joined into paragraphs; a paragraph with anything but prose in it is left out."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = block.split("\n")
        part: list[str] = []
        for line in lines:
            if BULLET.match(line):
                yield " ".join(part)
                part = [BULLET.sub("", line)]
            elif NOT_PROSE.search(line):
                part = []
                break
            else:
                part.append(line.strip())
        yield " ".join(part)


def _split(paragraph: str) -> Iterator[str]:
    """Sentences: from a full stop to the next capital, abbreviations aside."""
    start = 0
    for end in SENTENCE_END.finditer(paragraph):
        if not paragraph[start : end.start()].endswith(ABBREVIATIONS):
            yield paragraph[start : end.end()]
            start = end.end()
    yield paragraph[start:]


def _apart(found: re.Match[str]) -> str:
    """Closing punctuation as words of its own; the dots of ``e.g.`` and ``...`` stay together."""
    marks = found.group(1)
    before = found.string[: found.start()].rsplit(None, 1)
    kept = ""
    if marks[0] == ")" and found.string[found.start() - 1] == "(":
        kept = ")"  # a call, as in len()
    elif marks[0] == "." and before and f"{before[-1]}.".lstrip("(\"'") in ABBREVIATIONS:
        kept = "."
    return kept + "".join(f" {mark}" for mark in re.findall(r"\.{2,}|.", marks[len(kept) :]))


def _is_prose(words: list[str]) -> bool:
    """Long enough, ended like a sentence, and made of words rather than of symbols."""
    plain = sum(WORD.match(word) is not None for word in words)
    if not words or not (words[0][0].isalnum() or words[0][0] in "\"'("):
        return False
    return plain >= LEAST_WORDS and plain >= 0.6 * len(words) and words[-1] in {".", "!", "?", ")", '"', "'", ":"}
