"""How models are written: settings, mixtures, models in parentheses, names."""

from __future__ import annotations

import pytest

from lmbench import specification
from lmbench.errors import UsageError


def test_commas_and_plus_signs_in_parentheses_separate_nothing() -> None:
    text = "neural-cache(dynamic(lstm:hidden=2):segment=5)+ngram:order=2, a=dynamic(gru,lstm),ngram"
    assert specification.split(text) == [
        "neural-cache(dynamic(lstm:hidden=2):segment=5)+ngram:order=2",
        "a=dynamic(gru,lstm)",
        "ngram",
    ]
    assert specification.parts("neural-cache(lstm+gru):size=3+ngram") == ["neural-cache(lstm+gru):size=3", "ngram"]


def test_a_model_is_taken_out_of_its_parentheses() -> None:
    assert specification.wrapped("a(b(c:x=1):y=2):z=3") == ("a:z=3", "b(c:x=1):y=2")
    assert specification.parse("dynamic(lstm:hidden=2):segment=5") == ("dynamic", {"segment": "5"})
    assert specification.families("neural-cache(dynamic(lstm))+ngram") == ["neural-cache", "dynamic", "lstm", "ngram"]
    assert [specification.depth(text) for text in ("a", "a(b)", "a+b", "a(b(c))", "a(b)+c")] == [0, 1, 1, 2, 2]


def test_parentheses_in_a_value_are_part_of_it() -> None:
    text = "kenlm:path=my(old).arpa"
    assert specification.wrapped(text) == (text, None)
    assert specification.parse(text) == ("kenlm", {"path": "my(old).arpa"})


def test_names_stand_for_models_in_parentheses_too() -> None:
    models = ["awd=lstm:hidden=8", "cached=neural-cache(awd):size=9", "cached+ngram", "neural-cache(dynamic(awd))"]
    assert [spec for _, spec in specification.named(models)] == [
        "lstm:hidden=8",
        "neural-cache(lstm:hidden=8):size=9",
        "neural-cache(lstm:hidden=8):size=9+ngram",
        "neural-cache(dynamic(lstm:hidden=8))",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dynamic(lstm", "not closed"),
        ("dynamic(lstm:a=(b)", "not closed"),
        ("lstm)", "not opened"),
        ("dynamic()", "no model in"),
        ("(lstm)", "no name before"),
        ("dynamic(lstm)x", "'x' after"),
        ("dynamic(lstm))", r"'\)' after"),
    ],
)
def test_what_is_wrong_with_parentheses_is_told(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        specification.parse(text)
