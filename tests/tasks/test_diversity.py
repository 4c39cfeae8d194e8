"""Figures of diversity, counted by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.tasks.diversity import diversity


def test_distinct_n_grams_of_all_texts_together() -> None:
    found = diversity(["a b a b", "a b c"])
    # words a b c of 7; pairs ab ba bc of ab ba ab, ab bc = 5; triples aba bab abc, all 3 different
    assert (found["texts"], found["tokens"], found["unit"]) == (2, 7, "word")
    assert (found["distinct_1"], found["distinct_2"], found["distinct_3"]) == pytest.approx((3 / 7, 3 / 5, 1))


def test_repetition_is_within_a_text() -> None:
    # a a a a a a has three 4-grams, one of them different; a b c d e two, both different; a has none
    assert diversity(["a a a a a a", "a b c d e", "a"])["repetition_4"] == pytest.approx((2 / 3 + 0) / 2)


def test_self_bleu_of_equal_and_of_foreign_texts() -> None:
    assert diversity(["the cat sat on the mat"] * 3)["self_bleu"] == pytest.approx(1)
    # against "a b c e" of the same length: 3/4, 2/3, 1/2 of the 1-, 2-, 3-grams; no 4-gram of 1, smoothed to 1/2;
    # the fourth root of their product is (1/8)^(1/4) = 0.5946
    assert diversity(["a b c d", "a b c e"])["self_bleu"] == pytest.approx(0.125**0.25, abs=1e-6)
    assert diversity(["a b c d", "e f g h"])["self_bleu"] < 0.2


def test_chinese_is_counted_by_characters() -> None:
    found = diversity(["法官喝了水", "法官喝了茶"])
    assert (found["unit"], found["tokens"]) == ("character", 10)
    assert found["distinct_1"] == pytest.approx(6 / 10)
    assert diversity(["水 茶"], language="chinese")["tokens"] == 2
    assert diversity(["法官喝了水"], language="english")["tokens"] == 1


def test_what_is_too_short_has_no_figure() -> None:
    found = diversity(["a"])
    assert (found["distinct_1"], found["distinct_2"], found["repetition_4"], found["self_bleu"]) == (
        1,
        None,
        None,
        None,
    )
    assert diversity(["", ""])["distinct_1"] is None
    assert diversity(["a b", ""])["self_bleu"] is None


def test_no_texts() -> None:
    for nothing in ([], "a text"):
        with pytest.raises(UsageError, match="no texts"):
            diversity(nothing)


@settings(deadline=None)  # the first one loads sacrebleu
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=8).map(" ".join), min_size=1, max_size=5))
def test_shares_lie_between_0_and_1_and_order_does_not_matter(texts: list[str]) -> None:
    found = diversity(texts)
    shares = [value for name, value in found.items() if name not in ("texts", "tokens", "unit") and value is not None]
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    again = diversity(texts[::-1])
    assert {key: pytest.approx(value) for key, value in found.items()} == again


def test_sacrebleu_is_loaded_when_it_is_asked_for() -> None:
    source = "import sys, lmbench.tasks.diversity; sys.exit('sacrebleu' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
