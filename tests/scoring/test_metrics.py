"""Metrics against arithmetic that is written out beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from lmbench.corpus.text import Split
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.uniform import Uniform
from lmbench.scoring import metrics
from lmbench.scoring.scorer import score

LN2 = math.log(2)


@dataclass
class Sums:
    """Two segments: 4 events at 1/2 each, and 1 event at 1/32. 4 ln 2 + 5 ln 2 = 9 ln 2 over 5 events."""

    nats = np.array([4 * LN2, 5 * LN2])
    events = np.array([4, 1])
    unknowns = np.array([0, 1])
    words = np.array([3, 0])
    characters = np.array([10, 2])
    bytes = np.array([12, 6])
    lossless: bool = True
    normalized: bool = True
    adapts: bool = False


def test_perplexity_is_the_exponential_of_a_ratio_of_sums() -> None:
    # 2 ** (9 / 5), not the mean 18.0 of the segments' perplexities 4 and 32
    assert metrics.perplexity(Sums()) == pytest.approx(2 ** (9 / 5))
    assert metrics.nats_per_event(Sums()) == pytest.approx(9 / 5 * LN2)


def test_bits() -> None:
    assert metrics.bits_per_character(Sums()) == pytest.approx(9 / 12)  # 9 bits over 10 + 2 characters
    assert metrics.bits_per_byte(Sums()) == pytest.approx(9 / 18)  # 9 bits over 12 + 6 bytes
    assert metrics.unknown_rate(Sums()) == 1 / 5


def test_bits_are_not_given_where_tokens_hide_text() -> None:
    assert metrics.bits_per_character(Sums(lossless=False)) is None
    assert metrics.bits_per_byte(Sums(lossless=False)) is None
    assert metrics.perplexity(Sums(lossless=False)) is not None


def test_what_is_no_distribution_has_no_perplexity() -> None:
    sums = Sums(normalized=False)
    assert metrics.perplexity(sums) is None
    assert metrics.bits_per_byte(sums) is None
    assert metrics.pseudo_perplexity(sums) == pytest.approx(2 ** (9 / 5))
    assert metrics.pseudo_perplexity(Sums()) is None


def test_what_learns_from_the_text_has_a_perplexity_of_its_own() -> None:
    sums = Sums(adapts=True)
    assert metrics.adaptive_perplexity(sums) == pytest.approx(2 ** (9 / 5))
    assert metrics.adaptive_perplexity(Sums()) is None
    assert metrics.adaptive_perplexity(Sums(adapts=True, normalized=False)) is None
    assert metrics.perplexity(sums) is None
    assert metrics.pseudo_perplexity(sums) is None
    assert metrics.bits_per_byte(sums) is None


def test_a_broken_model_is_infinitely_bad_and_no_error() -> None:
    assert metrics.exp(1e6) == math.inf
    assert metrics.exp(1.0) == math.e


def uniform(sentences: tuple[str, ...]) -> Uniform:
    model = Uniform()
    model.fit(train_tokenizer("word:min_count=1", sentences).encode(sentences), None)  # type: ignore[arg-type]
    return model


def test_a_uniform_model_scores_exactly_the_vocabulary_size() -> None:
    model = uniform(("a b c", "a d"))
    summary = metrics.summary(score(model, Split("test", ("a b\nd c a",))))
    assert summary["perplexity"] == pytest.approx(6, abs=1e-12)  # </s> <unk> a b c d
    assert summary["events"] == 7  # a b </s> d c a </s>
    assert summary["bits_per_character"] == pytest.approx(7 * math.log2(6) / 10)  # "a b\n" and "d c a\n"
    assert summary["words"] == 5


def test_perplexity_without_unknowns() -> None:
    scores = score(uniform(("a b c", "a d")), ["a x y"])
    assert int(scores.unknowns.sum()) == 2
    assert metrics.perplexity_without_unknowns(scores) == pytest.approx(6)
    assert metrics.bits_per_byte(scores) is None  # <unk> hides x and y
