"""Sampling: its options, its seed, its end, on models that are tables."""

from __future__ import annotations

from collections import Counter
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_models import Bigram, unigram

from lmbench.errors import ModelError, UsageError
from lmbench.tasks.generation import Generated, Sampling, generate, sample


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


def test_min_p() -> None:
    model = unigram(end=0.2, a=0.5, b=0.3)
    # a share of the likeliest, 0.5: 0.3 is 0.6 of it, 0.2 is 0.4
    assert set(generate(model, n=100, min_p=0.39, max_tokens=1)) == {"a", "b", ""}
    assert set(generate(model, n=100, min_p=0.41, max_tokens=1)) == {"a", "b"}
    assert set(generate(model, n=100, min_p=0.61, max_tokens=1)) == {"a"}
    # after the temperature: at 1/2 the weights are as 0.25, 0.09, 0.04, and 0.09 is 0.36 of the likeliest
    assert set(generate(model, n=100, min_p=0.39, temperature=0.5, max_tokens=1)) == {"a"}
    assert set(generate(model, n=100, min_p=0.39, top_k=2, max_tokens=1)) == {"a", "b"}


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=9),
    st.sampled_from([None, 1, 3, 20]),
    st.sampled_from([None, 0.3, 1.0]),
    st.sampled_from([None, 0.2, 1.0]),
)
def test_what_is_drawn_was_left_by_every_setting(
    weights: list[float], top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    log_probs = np.log(np.array(weights) / sum(weights))
    probabilities = np.exp(log_probs)  # those that are told apart by what is drawn from
    settings = Sampling(top_k=top_k, top_p=top_p, min_p=min_p)
    for seed in range(5):
        chosen = settings.draw(log_probs, np.random.default_rng(seed))
        likelier = probabilities[log_probs > log_probs[chosen]]
        assert len(likelier) < (top_k or 99)
        assert likelier.sum() < (top_p or 2)
        assert probabilities[chosen] >= (min_p or 0) * probabilities.max() * (1 - 1e-9)


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
        ({"min_p": 0.0}, "min_p"),
        ({"min_p": 1.1}, "min_p"),
        ({"stop": [""]}, "stop text"),
        ({"stop": "a text"}, "stop text"),
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


def test_what_is_told_of_each_text() -> None:
    model = unigram(end=0.5, a=0.25, b=0.25)
    texts = sample(model, ["a", ""], 2, Sampling(max_tokens=3, temperature=0))
    # the end is always the likeliest: ln 1/2
    assert texts == [
        Generated("a", 1, "a", log(0.5), 1, "end", ""), Generated("a", 2, "a", log(0.5), 1, "end", ""),
        Generated("", 1, "", log(0.5), 1, "end", ""), Generated("", 2, "", log(0.5), 1, "end", ""),
    ]  # fmt: skip
    drawn = sample(model, [""], 50, Sampling(max_tokens=2, top_k=3))
    for text in drawn:
        words = text.text.split()
        assert text.tokens == len(words) + (text.ended == "end")
        assert text.log_prob == pytest.approx(len(words) * log(0.25) + (text.ended == "end") * log(0.5))
        assert (text.ended == "length") == (len(words) == 2)


def test_a_stop_text_is_cut_off(alphabet: Any) -> None:
    assert generate(alphabet, stop=["b"]) == ["a "]
    assert generate(alphabet, stop=["c", "b c"]) == ["a "]  # both are there at once: what begins first
    assert generate(alphabet, "a b", stop=["b"]) == ["a b c"]  # the prompt is not searched
    (text,) = sample(alphabet, [""], 1, Sampling(stop=("b",)))
    assert (text.tokens, text.ended) == (2, "stop")


def test_a_text_depends_on_its_prompt_and_number_alone() -> None:
    model = unigram(end=0.1, a=0.3, b=0.3, c=0.3)
    prompts = ["a", "", "b c a", "b", "a"]
    together = [text.text for text in sample(model, prompts, 3)]
    assert together == [text for prompt in prompts for text in generate(model, prompt, n=3)]
    assert together[:3] == together[-3:]
    suffixes = [text[len(prompt) :] for prompt, text in zip(["a", "b"], [together[0], together[9]], strict=True)]
    assert suffixes[0] != suffixes[1]


def test_no_prompts() -> None:
    assert sample(unigram(end=0.5, a=0.5), []) == []
