"""Sentences in the spelling of the Penn Treebank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.spelling import penn_treebank, spelling
from lmbench.errors import UsageError


@pytest.mark.parametrize(
    ("written", "spelled"),
    [
        ("Every dog barks.", "every dog barks"),
        ("Who can't they see?", "who ca n't they see"),
        ("It\u2019s Kim's, and we'll wait!", "it 's kim 's and we 'll wait"),
        ("The dogs' owner cannot sleep.", "the dogs ' owner can not sleep"),
        ("Dr. Hill paid $5.50 for 1,200 eggs", "dr. hill paid $ N for N eggs"),
        ("Prices fell 3.5% at 7:30.", "prices fell N N at N"),
        ("The 30-year-old came in the 1980s", "the 30-year-old came in the 1980s"),
        ('"No," she said -- (twice).', "no she said twice"),
        ("They live in the U.S.", "they live in the u.s."),
        ("a well-known o'brien", "a well-known o'brien"),
    ],
)
def test_penn_treebank(written: str, spelled: str) -> None:
    assert penn_treebank(written) == spelled


@given(st.text(alphabet="aBs'. ,?5%n t$-", max_size=30))
def test_what_is_spelled_so_has_single_spaces_and_no_capitals_but_n(text: str) -> None:
    spelled = penn_treebank(text)
    assert spelled == " ".join(spelled.split())
    assert not any(letter.isupper() and letter != "N" for letter in spelled)
    assert not set(spelled) & set('"()?;:!')


def test_names_of_spellings() -> None:
    respell, told = spelling("given")
    assert (respell("A b."), told) == ("A b.", "as given")
    with pytest.raises(UsageError, match="Did you mean 'ptb'"):
        spelling("ptp")
