"""Parts of a text: as large as asked for, nested, from all over it, nothing but what stands there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.batches import Tokens
from lmbench.corpus.subsets import RUN, subset
from lmbench.corpus.tokenizers import train_tokenizer

TOKENIZER = train_tokenizer("char", ["abc"])


def tokens(units: list[int]) -> Tokens:
    """A text whose units have these lengths; every token but the boundary is a number that no other has."""
    ids, last = [0], 0
    for length in units:
        ids += [*range(last + 1, last + 1 + length), 0]
        last += length
    return Tokens(np.array(ids, np.int32), TOKENIZER)


def pieces(part: Tokens) -> list[list[int]]:
    """The units of ``part`` without their boundaries."""
    return [row[1:-1].tolist() for row in part.rows()]


texts = st.lists(st.one_of(st.integers(1, 40), st.integers(400, 3000)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=60)
@given(texts, st.data(), st.integers(0, 5))
def test_a_subset_is_as_large_as_asked_for_and_holds_every_smaller_one(
    units: list[int], data: st.DataObject, seed: int
) -> None:
    text = tokens(units)
    sizes = sorted(data.draw(st.lists(st.integers(2, text.events), min_size=2, max_size=4)))
    before: set[int] = set()
    for size in sizes:
        part = subset(text, size, seed)
        assert size - 1 <= part.events <= size
        assert all(pieces(part)), "no unit is empty"
        inside = [number for piece in pieces(part) for number in piece]
        assert inside == sorted(set(inside)), "in the order of the text, nothing twice"
        assert all(piece == list(range(piece[0], piece[-1] + 1)) for piece in pieces(part)), "unbroken pieces of it"
        assert before <= set(inside)
        before = set(inside)


def test_sentences_stay_whole_but_for_the_last() -> None:
    text = tokens([19] * 1000)  # 1000 sentences of 19 words and a boundary
    part = subset(text, 5010, seed=1)
    whole = {tuple(piece) for piece in pieces(text)}
    cut = [piece for piece in pieces(part) if tuple(piece) not in whole]
    # 5010 = 250 x 20 + 10: 250 whole sentences, and 9 words with a boundary of one more
    assert [len(piece) for piece in cut] == [9]
    assert len(pieces(part)) == 251


def test_runs_come_from_all_over_the_text_and_keep_neighbours_together() -> None:
    text = tokens([19] * 5000)  # 100,000 tokens, 95,000 of them words
    starts = np.array([piece[0] for piece in pieces(subset(text, 10_000, seed=1))])
    assert starts.min() < 19_000, "the first fifth"
    assert starts.max() > 76_000, "the last fifth"
    # A run is 500 tokens, 25 sentences: of 500 sentences one in 25 has no neighbour before it, or a few less.
    apart = int((np.diff(starts) > 20).sum())
    assert 10 <= apart < 10_000 / RUN


def test_the_seed_decides() -> None:
    text = tokens([9] * 1000)
    first, again, other = (subset(text, 2000, seed).ids.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("size", [20_000, 10**9])
def test_as_much_as_there_is_is_the_text_itself(size: int) -> None:
    text = tokens([19] * 1000)
    assert subset(text, size, seed=1) is text
