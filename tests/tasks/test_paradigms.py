"""Accuracies by paradigm and phenomenon."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.spelling import penn_treebank
from lmbench.corpus.tokenizers import WordConfig, WordTokenizer
from lmbench.errors import UsageError
from lmbench.tasks.candidates import CandidateSet, read_candidates, respelled
from lmbench.tasks.paradigms import accuracy_rows, letters, signature
from lmbench.tasks.ranking import Ranking


def made(sets: list[tuple[str, str, bool]], unknown: list[int] | None = None) -> Ranking:
    """A ranking of pairs of (phenomenon, paradigm, whether it is right)."""
    chosen = tuple(CandidateSet(("x", "y"), 0, p, paradigm=q, field="syntax") for p, q, _ in sets)
    log_probs = np.array([value for *_, right in sets for value in ((-1.0, -2.0) if right else (-2.0, -1.0))])
    unknowns = None if unknown is None else np.array([n for count in unknown for n in (count, 0)])
    return Ranking(chosen, log_probs, np.ones(len(log_probs), int), unknowns=unknowns)


def test_rows_in_their_order_with_macro_and_micro() -> None:
    ranking = made(
        [("b", "b2", True), ("b", "b1", True), ("b", "b1", False), ("b", "b1", False), ("a", "a", True)],
        unknown=[0, 1, 0, 2, 0],
    )
    rows = accuracy_rows(ranking)
    assert [(row.level, row.phenomenon, row.paradigm, row.paradigms) for row in rows] == [
        ("phenomenon", "a", "", 1),
        ("paradigm", "b", "b1", 1),
        ("paradigm", "b", "b2", 1),
        ("phenomenon", "b", "", 2),
        ("macro", "", "", 3),
        ("micro", "", "", 3),
        ("known", "", "", 0),
    ]
    # b1: 1 of 3; b: 2 of 4; mean of 1, 1/3, 1 is 7/9; all: 3 of 5; without unknown words: 2 of 3
    assert [row.share for row in rows] == pytest.approx([1, 1 / 3, 1, 2 / 4, 7 / 9, 3 / 5, 2 / 3])
    assert [row.accuracy.unknown for row in rows if row.accuracy] == [0, 2, 0, 2, 2, 0]
    assert {row.field for row in rows[:4]} == {"syntax"}
    assert ranking.summary()["macro_accuracy"] == pytest.approx(7 / 9)
    assert ranking.summary()["paradigms"]["b1"]["sets"] == 3


def test_without_paradigms_or_answers() -> None:
    assert [row.level for row in accuracy_rows(made([("a", "", True), ("", "", True)]))] == ["phenomenon", "micro"]
    nothing = Ranking((CandidateSet(("x", "y")),), np.array([-1.0, -2.0]), np.ones(2, int))
    assert accuracy_rows(nothing) == []


def test_letters_of_models_that_differ() -> None:
    # of 20 sets all are right, all but one, none: McNemar's p is 1, of either and the last 2^-19, 2^-18
    sets = [("", "", True)] * 20
    models = [
        made([("", "", right) for right in rights]) for rights in ([True] * 20, [True] * 19 + [False], [False] * 20)
    ]
    assert letters(models) == ["a", "a", "b"]
    assert letters(models[::-1]) == ["b", "a", "a"]
    assert letters([made(sets)]) == ["a"]


def test_a_signature_changes_with_what_was_asked() -> None:
    tokenizer = WordTokenizer.train(["x y"], WordConfig(min_count=1))
    ranking = made([("b", "b2", True), ("b", "b1", False)], unknown=[0, 1])
    written = signature(ranking, tokenizer, "ptb")
    assert written.startswith("rank|sets:2@")
    # V: </s>, <unk>, x, y; 1 of 4 tokens is unknown
    assert "|by:total|spelling:ptb|line:sentence|unit:word|vocab:4@" in written
    assert "|unk:25.0%|v:" in written
    other = made([("b", "b2", True)])
    assert signature(other, tokenizer).split("|")[1] != written.split("|")[1]
    assert "|by:token|" in signature(ranking.ordered_by("token"), tokenizer)


def pair(good: str, bad: str, **about: str) -> str:
    return json.dumps({"sentence_good": good, "sentence_bad": bad, **about}) + "\n"


def test_a_folder_of_paradigms(tmp_path: Path) -> None:
    about = {"UID": "order_1", "linguistics_term": "order", "field": "syntax"}
    (tmp_path / "b.jsonl").write_text(pair("A dog barks.", "Dog a barks.", **about), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(pair("x", "y"), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no candidates", encoding="utf-8")
    assert read_candidates(tmp_path) == [
        CandidateSet(("x", "y"), 0, "a", 1, "a"),
        CandidateSet(("A dog barks.", "Dog a barks."), 0, "order", 1, "order_1", "syntax"),
    ]


def test_a_folder_without_paradigms(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file in it whose name ends in \.jsonl"):
        read_candidates(tmp_path)
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"broken\.jsonl has 1 broken line: line 1"):
        read_candidates(tmp_path)


def test_candidates_in_another_spelling() -> None:
    before = CandidateSet(("Dogs can't purr.", "Cats can't bark?"), 1, "order", 7, "order_1")
    assert respelled([before], penn_treebank) == [
        CandidateSet(("dogs ca n't purr", "cats ca n't bark"), 1, "order", 7, "order_1")
    ]
    with pytest.raises(UsageError, match="Line 3 of the candidates"):
        respelled([CandidateSet(("Well.", "?!"), line=3)], penn_treebank)
