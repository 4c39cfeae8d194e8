"""Edits between hypotheses and references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.tasks.error_rates import count_errors, usual_unit


def test_each_kind_of_edit() -> None:
    errors = count_errors(["the cat sat", "a cat", "the cat sat down now", ""], ["the cat sat"] * 4)
    assert errors.substitutions.tolist() == [0, 1, 0, 0]  # "a cat": the -> a, and sat is missing
    assert errors.insertions.tolist() == [0, 0, 2, 0]
    assert errors.deletions.tolist() == [0, 1, 0, 3]
    assert errors.lengths.tolist() == [3, 3, 3, 3]
    assert errors.rate == pytest.approx(7 / 12)
    assert errors.of(np.array([1, 2])).edits.tolist() == [2, 2]


def test_characters_without_spaces() -> None:
    errors = count_errors(["我在看 书"], ["我再看书"], "character")
    assert (errors.edits.tolist(), errors.lengths.tolist()) == ([1], [4])
    assert usual_unit(["我再看一本很长的书", "他们在家里说话"]) == "character"
    assert usual_unit(["the cat sat on the mat"]) == "word"


def slow_distance(a: list[str], b: list[str]) -> int:
    """The textbook's table, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


sentences = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=7)


@given(sentences, sentences)
def test_edits_are_the_levenshtein_distance(said: list[str], heard: list[str]) -> None:
    errors = count_errors([" ".join(heard)], [" ".join(said)])
    assert errors.edits[0] == slow_distance(said, heard)
    assert errors.insertions[0] - errors.deletions[0] == len(heard) - len(said)
