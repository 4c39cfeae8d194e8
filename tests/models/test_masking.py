"""Which tokens make a word, and what is hidden of a text, by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.corpus.words import word_openings
from lmbench.models.masking import hide, masked_copies, spread

TEXT = ["the cats sat", "那只猫 sat\tdown"]
ROWS = st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=4).map(torch.tensor)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("word:min_count=1", ["the", "cats", "sat"]),
        ("char", ["the", " cats", " sat"]),
        ("byte", ["the", " cats", " sat"]),
        ("bpe:size=260", ["the", " cats", " sat"]),
    ],
)
def test_a_word_opens_with_its_white_space(spec, words):
    tokenizer = train_tokenizer(spec, TEXT)
    assert _words(tokenizer, "the cats sat") == words


@pytest.mark.parametrize("spec", ["char", "byte", "bpe:size=260"])
def test_each_chinese_character_is_a_word(spec):
    assert _words(train_tokenizer(spec, TEXT), "那只猫 sat\tdown") == ["那", "只", "猫", " sat", "\tdown"]


def _words(tokenizer, text):
    ids = tokenizer.encode([text]).ids
    opens = word_openings(tokenizer)
    assert opens[0]
    edges = [1, *(i for i in range(2, len(ids)) if opens[ids[i]])]
    return [tokenizer.decode(ids[a:b]) for a, b in pairwise(edges)]


def test_every_sentence_has_boundaries_of_its_own():
    spaced = spread(torch.tensor([[5, 0, 6, 7, 0, 8], [0, 1, 2, 3, 4, 5]]))
    assert spaced.ids.tolist() == [[5, 0, 0, 6, 7, 0, 0, 8], [0, 1, 2, 3, 4, 5, 0, 0]]
    assert spaced.sentence.tolist() == [[0, 0, 1, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 0, 1, 1]]  # 1: padding
    # events: every token of the row but its first, each once
    assert spaced.events.int().tolist() == [[0, 1, 0, 1, 1, 1, 0, 1], [0, 1, 1, 1, 1, 1, 0, 0]]


@given(ROWS)
def test_the_events_of_spread_rows_are_those_of_the_rows(rows):
    spaced = spread(rows)
    for row, ids, events in zip(rows, spaced.ids, spaced.events, strict=True):
        assert ids[events].tolist() == row[1:].tolist()


@given(ROWS)
def test_a_sentence_opens_and_ends_with_a_boundary_unless_it_is_cut_off(rows):
    spaced = spread(rows)
    for row, ids, sentence in zip(rows, spaced.ids, spaced.sentence, strict=True):
        inner = int((row[1:-1] == 0).sum())
        for number in range(1, inner + 1):
            part = ids[sentence == number]
            assert part[0] == 0
            assert number == inner or part[-1] == 0
            assert (part[1:-1] != 0).all()


def test_what_follows_a_hidden_token_in_its_word_is_hidden():
    opens = torch.tensor([True, True, False])  # 2 goes on with a word
    rows = spread(torch.tensor([[0, 1, 2, 2, 1, 2, 0]]).repeat(4000, 1))
    torch.manual_seed(1)
    hidden, asked = hide(rows, opens, 0.2)
    assert (hidden == asked).all()
    # a token is hidden where it is drawn, or one before it in its word: 1 - 0.8^k for the k-th of a word
    expected = [0, 0.2, 0.36, 0.488, 0.2, 0.36, 0.2]
    np.testing.assert_allclose(hidden.float().mean(0), expected, atol=0.03)  # 4 standard deviations of 4000 draws
    assert (hidden[:, 1] <= hidden[:, 2]).all()
    assert (hidden[:, 2] <= hidden[:, 3]).all()


def test_the_cut_end_of_a_row_is_not_asked_for_but_a_boundary_is():
    opens = torch.ones(9, dtype=torch.bool)
    for last, asked_for in ((5, False), (0, True)):
        rows = spread(torch.tensor([[0, 1, 0, 3, last]]))
        hidden, asked = hide(rows, opens, 0.999)
        # </s> 1 </s> | </s> 3 last: neither the first token nor the doubled boundary is an event
        assert asked.tolist() == [[False, True, True, False, True, asked_for]]
        assert (hidden | ~asked).all()


def test_validation_hides_the_same_tokens_each_time_and_something_of_the_shortest_row():
    opens = torch.ones(9, dtype=torch.bool)
    rows = spread(torch.tensor([[0, *[1] * 20]]))
    _, asked = hide(rows, opens, None)
    assert asked.nonzero()[:, 1].tolist() == [1, 8, 15]
    _, asked = hide(spread(torch.tensor([[1, 2]])), opens, None)
    assert asked.tolist() == [[False, True]]


def test_each_token_has_a_copy_of_its_sentence():
    opens = np.ones(9, bool)
    copies = masked_copies(Batch.of([np.array([0, 5, 6, 0, 7, 0]), np.array([0, 8])]), opens, 16)
    # row 0 is two sentences of 4 and 3 tokens, which share a boundary; row 1 is cut off after its first word
    found = sorted(zip(*(part.tolist() for part in copies), strict=True))
    assert found == [
        (0, 1, 0, 4, 1), (0, 2, 0, 4, 2), (0, 3, 0, 4, 3), (0, 4, 3, 3, 4), (0, 5, 3, 3, 5), (1, 1, 0, 2, 1),
    ]  # fmt: skip
    assert (np.diff(copies.length) >= 0).all()


def test_a_copy_hides_the_rest_of_the_word_and_no_more():
    opens = np.array([True, True, False])
    row = np.array([0, 1, 2, 2, 1, 0, 2, 2, 0])
    copies = masked_copies(Batch.of([row]), opens, 16)
    hidden_to = dict(zip(copies.column.tolist(), copies.hidden_to.tolist(), strict=True))
    # words: 1 2 2 (columns 1 to 3), 1, </s>, and 2 2, which opens a sentence and so a word
    assert hidden_to == {1: 3, 2: 3, 3: 3, 4: 4, 5: 5, 6: 7, 7: 7, 8: 8}


def test_a_long_sentence_is_seen_through_a_window_around_the_token():
    row = np.array([0, *range(1, 12), 0])
    copies = masked_copies(Batch.of([row]), np.ones(13, bool), 5)
    assert set(copies.length.tolist()) == {5}
    start = dict(zip(copies.column.tolist(), copies.start.tolist(), strict=True))
    assert start == {1: 0, 2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6, 9: 7, 10: 8, 11: 8, 12: 8}
