"""Documentation -> sentences; and the corpus of this very interpreter, made once."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lmbench.corpus import pydocs
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.pydocs import sentences
from lmbench.errors import CorpusError, UsageError

DOCSTRING = """Read the whole file, or as much of it as there is.

    >>> read("x")
    'text'

The *size* may be :class:`int` or ``None``; see :func:`~os.path.join`. It returns
at most that many bytes (e.g. 4096), i.e. fewer at the end. Is "this" kept?

Parameters
----------
size : int

* The first point of the list is here.
* The second point goes on
  in the next line.

+------+------+
| this | not  |
+------+------+
"""


def test_prose_is_kept_and_code_tables_and_headings_are_not() -> None:
    assert list(sentences(DOCSTRING)) == [
        "Read the whole file , or as much of it as there is .",
        "The size may be int or None ; see os.path.join .",
        "It returns at most that many bytes ( e.g. 4096 ) , i.e. fewer at the end .",
        "The first point of the list is here .",
        "The second point goes on in the next line .",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It calls read() first and then it calls close().", ["It calls read() first and then it calls close() ."]),
        ("It waits for a moment... and then goes on.", ["It waits for a moment ... and then goes on ."]),
        ("Take one of the many things that are there now, e.g., the first ([here]).",
         ["Take one of the many things that are there now , e.g. , the first ( [ here ] ) ."]),
        ("The first is a name. 'args' is a list of more names.",
         ["The first is a name .", "' args ' is a list of more names ."]),
        ("Too short.", []),
        ("x = a + b * c / d - e.", []),
        ("One sentence stands here. Another one stands there.",
         ["One sentence stands here .", "Another one stands there ."]),
    ],
)  # fmt: skip
def test_sentences_by_hand(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


def library(folder: Path, modules: int) -> Path:
    for i in range(modules):
        (folder / f"module{i:02d}.py").write_text(
            f'"""This is the module with number {i}."""\nimport does_not_exist\nraise SystemExit\n\n\n'
            f'def work():\n    """The work of module {i} is done here.\n\n    Shared by all of the modules."""\n'
            f"    # A comment of module {i} fills this line.\n    return 1  # and this is left out, being code too.\n"
        )
    (folder / "test").mkdir()
    (folder / "test" / "x.py").write_text('"""This sentence is in a test and stays out."""\n')
    (folder / "broken.py").write_text("def (:\n")
    (folder / "pydoc_data").mkdir()
    (folder / "pydoc_data" / "topics.py").write_text("topics = {'b': 'The topic b is the second one.',\n"
                                                     " 'a': 'The topic a is the first one.'}\n")  # fmt: skip
    return folder


def test_sources_are_read_and_never_run(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = library(bare_machine, 20)
    monkeypatch.setattr(pydocs, "_library", lambda: sources)
    documents = pydocs.assemble()
    assert documents[:3] == [
        ["The topic a is the first one ."],
        ["The topic b is the second one ."],
        [
            "This is the module with number 0 .",
            "The work of module 0 is done here .",
            "Shared by all of the modules .",
            "A comment of module 0 fills this line .",
        ],
    ]
    assert "Shared by all of the modules ." not in documents[3]  # each sentence once
    assert len(documents) == 22


def test_it_is_made_once_and_then_read(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = library(bare_machine, 20)
    monkeypatch.setattr(pydocs, "_library", lambda: sources)
    corpus = load_corpus("pydocs")
    monkeypatch.setattr(pydocs, "assemble", lambda: pytest.fail("the cache was not used"))
    again = load_corpus("pydocs")
    assert again.sha256 == corpus.sha256
    assert corpus.name == again.name == f"pydocs-{platform.python_version()}"
    assert corpus.language == "en"
    assert all(split.units for split in corpus)


def test_a_cache_that_cannot_be_written_is_said_and_nothing_lost(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_machine / "file").write_text("in the way")
    monkeypatch.setenv("LMBENCH_CACHE", str(bare_machine / "file"))
    sources = library(bare_machine, 20)
    monkeypatch.setattr(pydocs, "_library", lambda: sources)
    assert "Not cached" in load_corpus("pydocs").notes[-1]


def test_a_python_without_sources_is_told(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydocs, "_library", lambda: bare_machine)
    with pytest.raises(CorpusError, match="has no library sources"):
        load_corpus("pydocs")
    with pytest.raises(UsageError, match="neither tokens= nor seed="):
        load_corpus("pydocs", seed=1)


def test_this_interpreter_has_enough_to_say() -> None:
    corpus = load_corpus("pydocs")
    units = [unit for split in corpus for unit in split.units]
    assert sum(len(unit.split()) for unit in units) > 100_000
    assert len(set(units)) == len(units)
