"""Sampling: its options, its seed, its end, on models that are tables."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from table_models import Bigram, unigram

from lmbench.errors import ModelError, UsageError
from lmbench.tasks.generation import generate


@pytest.fixture
def alphabet() -> Any:
    """</s> -> a -> b -> c -> </s>, without a choice."""
    table = np.zeros((5, 5))
    for last, following in ((0, 2), (2, 3), (3, 4), (4, 0)):
        table[last, following] = 1
    table[1, 0] = 1
    return Bigram("a b c", table)


def test_a_model_without_a_choice(alphabet: Any) -> None:
    assert generate(alphabet, n=3) == ["a b c"] * 3
    assert generate(alphabet, "a b") == ["a b c"]
    assert generate(alphabet, "c") == ["c"]  # the boundary comes next
    assert generate(alphabet, max_tokens=2) == ["a b"]


def test_drawn_as_often_as_they_are_likely() -> None:
    # the first token of 2000 texts: a in 0.5, b in 0.3, none in 0.2; three standard deviations are 0.034
    texts = generate(unigram(end=0.2, a=0.5, b=0.3), n=2000, max_tokens=1)
    shares = {text: count / 2000 for text, count in Counter(texts).items()}
    assert shares == pytest.approx({"a": 0.5, "b": 0.3, "": 0.2}, abs=0.034)


def test_temperature() -> None:
    model = unigram(end=0.2, a=0.5, b=0.3)
    assert set(generate(model, n=20, temperature=0, max_tokens=1)) == {"a"}
    # weights squared at temperature 1/2: 0.25, 0.09, 0.04 of 0.38
    texts = Counter(generate(model, n=2000, temperature=0.5, max_tokens=1))
    assert texts["a"] / 2000 == pytest.approx(0.25 / 0.38, abs=0.034)


def test_top_k_and_top_p() -> None:
    model = unigram(end=0.2, a=0.5, b=0.3)
    assert set(generate(model, n=100, top_k=1, max_tokens=1)) == {"a"}
    assert set(generate(model, n=100, top_k=2, max_tokens=1)) == {"a", "b"}
    assert set(generate(model, n=100, top_p=0.5, max_tokens=1)) == {"a"}
    assert set(generate(model, n=100, top_p=0.51, max_tokens=1)) == {"a", "b"}
    assert set(generate(model, n=100, top_p=1.0, max_tokens=1)) == {"a", "b", ""}
    assert set(generate(model, n=100, top_k=99, top_p=0.81, max_tokens=1)) == {"a", "b", ""}


def test_of_equal_ones_those_with_the_lower_ids_are_kept() -> None:
    model = unigram(end=0.25, a=0.25, b=0.25, c=0.25)  # ids: </s> <unk> a b c
    assert set(generate(model, n=100, top_k=2, max_tokens=1)) == {"", "a"}
    assert set(generate(model, n=100, top_p=0.7, max_tokens=1)) == {"", "a", "b"}


def test_the_seed_decides_and_each_text_has_its_own() -> None:
    model = unigram(end=0.2, a=0.4, b=0.4)
    five = generate(model, n=5)
    assert five == generate(model, n=5)
    assert five[:2] == generate(model, n=2)
    assert five != generate(model, n=5, seed=2)
    assert len(set(five)) > 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"n": 0}, "at least 1"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_out_of_range(alphabet: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        generate(alphabet, **options)


def test_a_model_that_reads_both_sides_does_not_write(alphabet: Any) -> None:
    alphabet.reads = "both"
    with pytest.raises(ModelError, match="reads both sides"):
        generate(alphabet)
