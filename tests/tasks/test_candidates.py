"""Files of candidates: what they may look like, and what is said where they are broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from lmbench.corpus.minimal_pairs import MinimalPair
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import CorpusError, UsageError
from lmbench.tasks.candidates import CandidateSet, candidate_sets, parse_candidates, read_candidates


def test_json_lines() -> None:
    text = '{"candidates": ["a b", "b a"], "answer": 0, "phenomenon": "order"}\n\n{"candidates": ["x", "y", "z"]}\n'
    assert parse_candidates(text) == [
        CandidateSet(("a b", "b a"), 0, "order", 1),
        CandidateSet(("x", "y", "z"), None, "", 3),
    ]


def test_text_lists_separated_by_blank_lines() -> None:
    assert parse_candidates("\n a b \nb a\n\n \nx\ny\nz") == [
        CandidateSet(("a b", "b a"), line=2),
        CandidateSet(("x", "y", "z"), line=6),
    ]


def test_blimp_lines() -> None:
    text = '{"sentence_good": "a b", "sentence_bad": "b a", "UID": "order"}'
    assert parse_candidates(text) == [CandidateSet(("a b", "b a"), 0, "order", 1, "order")]


def test_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(gzip.compress('{"candidates": ["好", "坏"], "answer": 1}'.encode()))
    assert read_candidates(path) == [CandidateSet(("好", "坏"), 1, "", 1)]


GOOD = '{"candidates": ["a", "b"]}\n'


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ('{"candidates": ["a", "b"', 25, "not JSON"),
        ('{"candidates" ["a", "b"]}', 15, "not JSON"),
        ("plain text", 1, "not JSON"),
        ('["a", "b"]', 1, "an object with"),
        ('{"sentences": ["a", "b"]}', 1, "nothing of that name"),
        ('{"candidates": "a"}', 1, "here is a text"),
        ('{"candidates": ["a"]}', 1, "at least 2"),
        ('{"candidates": ["a", ""]}', 1, "candidate 1 is ''"),
        ('{"candidates": ["a", 3]}', 1, "candidate 1 is 3"),
        ('{"candidates": ["a", "b"], "answer": 2}', 1, "numbered 0 to 1"),
        ('{"candidates": ["a", "b"], "answer": -1}', 1, "numbered 0 to 1"),
        ('{"candidates": ["a", "b"], "answer": true}', 1, "index of the right"),
        ('{"candidates": ["a", "b"], "answer": "a"}', 1, "index of the right"),
        ('{"candidates": ["a", "b"], "anser": 1}', 1, 'Did you mean "answer"'),
        ('{"candidates": ["a", "b"], "phenomenon": 7}', 1, "a number"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, column: int, reason: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(GOOD + line + "\n" + GOOD, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_candidates(path)
    message = str(caught.value)
    assert f"{path} has 1 broken line: line 2, column {column}: " in message
    assert reason in message
    assert "\n" not in message


def test_every_broken_line_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"7 broken lines: line 2, .*line 3, .*; and 2 more lines"):
        parse_candidates(GOOD + "{\n" * 7)


def test_a_lonely_candidate_in_a_text_file() -> None:
    with pytest.raises(UsageError, match="line 4, column 1: a list needs at least 2"):
        parse_candidates("a\nb\n\nlonely\n")


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no candidates"):
        parse_candidates(" \n\n")
    with pytest.raises(CorpusError, match=r"missing\.txt"):
        read_candidates(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"a\nb\xff\n")
    with pytest.raises(CorpusError, match="not valid UTF-8"):
        read_candidates(tmp_path / "latin.txt")


def test_a_corpus_brings_its_pairs_or_corrupted_copies() -> None:
    splits = [Split(name, ("one two three four\nfive six seven eight nine",)) for name in ("train", "valid", "test")]
    plain = candidate_sets(Corpus("toy", *splits))
    assert {s.phenomenon for s in plain} == {"swap", "replace"}  # two sentences, kinds in turn
    assert all(s.answer == 0 and s.candidates[0] != s.candidates[1] for s in plain)
    paired = Corpus("toy", *splits, pairs=(MinimalPair("order", "a b", "b a"),))
    assert candidate_sets(paired) == [CandidateSet(("a b", "b a"), 0, "order")]
