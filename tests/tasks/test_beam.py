"""The beam: greedy at 1, exhaustive when it is wide enough."""

from __future__ import annotations

from itertools import product
from math import log

import numpy as np
import pytest
from table_models import Bigram, unigram

from lmbench.errors import ModelError, UsageError
from lmbench.tasks.beam import Beam, beam_search
from lmbench.tasks.generation import generate


def made(seed: int) -> Bigram:
    """Any bigram model of a, b, c and the end."""
    table = np.random.default_rng(seed).dirichlet(np.ones(5), 5)
    table[:, 1] = 0  # <unk>
    return Bigram("a b c", table / table.sum(1, keepdims=True))


def every_text(model: Bigram, begin: list[int], longest: int) -> list[tuple[tuple[int, ...], float]]:
    """The new tokens of every text of at most so many, and their log probability."""
    found = []
    for length in range(1, longest + 1):
        for tokens in product((0, 2, 3, 4), repeat=length):
            if 0 in tokens[:-1] or (tokens[-1] != 0 and length < longest):
                continue
            path = [*begin, *tokens]
            found.append(
                (
                    tokens,
                    sum(model.table[a, b] for a, b in zip(path[len(begin) - 1 :], path[len(begin) :], strict=False)),
                )
            )
    return found


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_wide_beam_finds_the_best_of_all_texts(seed: int, exponent: float) -> None:
    model, how = made(seed), Beam(max_tokens=4, width=200, exponent=exponent)
    texts = beam_search(model, ["a"], 5, how)
    best = sorted(
        (log_prob / len(tokens) ** exponent for tokens, log_prob in every_text(model, [0, 2], 4)), reverse=True
    )
    assert [how.score(text.log_prob, text.tokens) for text in texts] == pytest.approx(best[:5])
    assert [text.number for text in texts] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_of_one_without_normalisation_is_greedy(seed: int) -> None:
    model = made(seed)
    (text,) = beam_search(model, [""], 1, Beam(max_tokens=6, width=1, exponent=0))
    assert text.text == generate(model, temperature=0, max_tokens=6)[0]


def test_length_decides_by_the_exponent() -> None:
    model = unigram(end=0.4, a=0.6)
    # the end at once has ln 0.4; aa and the limit 2 ln 0.6 = -1.02; per token ln 0.4 = -0.92 against ln 0.6 = -0.51
    (short,) = beam_search(model, [""], 1, Beam(max_tokens=2, exponent=0))
    (long,) = beam_search(model, [""], 1, Beam(max_tokens=2))
    assert (short.text, short.ended, short.log_prob) == ("", "end", pytest.approx(log(0.4)))
    assert (long.text, long.ended, long.log_prob) == ("a a", "length", pytest.approx(2 * log(0.6)))


def test_prompts_side_by_side_are_as_alone() -> None:
    model, prompts = made(7), ["a b", "", "c", "b a", "a b"]
    together = beam_search(model, prompts, 2, Beam(max_tokens=5, width=3))
    assert together == [text for prompt in prompts for text in beam_search(model, [prompt], 2, Beam(5, width=3))]


def test_a_stop_text_ends_a_text() -> None:
    table = np.zeros((5, 5))
    for last, following in ((0, 2), (1, 0), (2, 3), (3, 4), (4, 2)):  # a b c a b c ...
        table[last, following] = 1
    (text,) = beam_search(Bigram("a b c", table), [""], 1, Beam(stop=("c",)))
    assert (text.text, text.ended, text.tokens, text.log_prob) == ("a b ", "stop", 3, 0)


def test_fewer_texts_than_were_asked_for() -> None:
    table = np.zeros((3, 3))
    table[[0, 1, 2], [2, 0, 0]] = 1
    assert [text.text for text in beam_search(Bigram("a", table), [""], 4)] == ["a"]


def test_what_cannot_be() -> None:
    model = unigram(end=0.5, a=0.5)
    for settings, reason in (
        ({"width": 0}, "at least 1"),
        ({"exponent": -1.0}, "exponent"),
        ({"max_tokens": 0}, "max_tokens"),
    ):
        with pytest.raises(UsageError, match=reason):
            Beam(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="does not hold 6"):
        beam_search(model, [""], 6)
    model.reads = "both"
    with pytest.raises(ModelError, match="reads both sides"):
        beam_search(model, [""])
