"""Tokens, padded rows and training rows: nothing lost, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.corpus.batches import Batch, Tokens, TrainingRows, contiguous_rows, windows
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import CorpusError

TOKENIZER = train_tokenizer("word:min_count=1", ["a b c d e f g h"])
ROWS = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12).map(np.array), min_size=1, max_size=8)
UNITS = st.lists(st.lists(st.integers(2, 9), max_size=6), min_size=1, max_size=12)


def stream(units: list[list[int]]) -> Tokens:
    return Tokens(np.array([0] + [i for unit in units for i in (*unit, 0)], np.int32), TOKENIZER)


@given(units=UNITS)
def test_rows_are_the_units_between_their_boundaries(units) -> None:
    tokens = stream(units)
    assert tokens.events == sum(len(unit) + 1 for unit in units)
    assert [row[1:-1].tolist() for row in tokens.rows()] == units
    assert all(row[0] == row[-1] == 0 for row in tokens.rows())
    assert (tokens.ids[tokens.ends] == 0).all()


def test_tokens_open_and_end_with_the_boundary() -> None:
    for ids in ([0], [0, 3], [3, 0], [[0, 0]]):
        with pytest.raises(CorpusError, match="between two boundaries"):
            Tokens(np.array(ids, np.int32), TOKENIZER)


@given(rows=ROWS)
def test_a_batch_holds_its_rows_and_nothing_else(rows) -> None:
    batch = Batch.of(rows)
    assert batch.ids.dtype == np.int64
    assert batch.ids.shape == batch.targets.shape == (len(rows), max(map(len, rows)))
    assert not batch.targets[:, 0].any()
    for b, row in enumerate(rows):
        np.testing.assert_array_equal(batch.ids[b, : len(row)], row)
        assert not batch.ids[b, len(row) :].any()
        assert batch.targets[b].sum() == len(row) - 1
        assert batch.ids[b, batch.last()[b]] == row[-1]


@given(rows=ROWS)
def test_prefixes_ask_for_no_token_of_their_own(rows) -> None:
    batch = Batch.of_prefixes(rows)
    assert not batch.targets.any()
    np.testing.assert_array_equal(batch.ids, Batch.of(rows).ids)


def test_chosen_targets_are_kept_but_never_the_first_column() -> None:
    batch = Batch.of([np.array([0, 5, 6, 0])], [np.array([True, False, True, True])])
    assert batch.targets.tolist() == [[False, False, True, True]]


@given(units=UNITS, rows=st.integers(1, 20))
def test_long_rows_hold_every_event_but_the_remainder(units, rows) -> None:
    tokens = stream(units)
    cut = contiguous_rows(tokens, rows)
    # Row r predicts events r * L + 1 ... (r + 1) * L; what is left over is fewer than one event a row.
    predicted = cut[:, 1:].ravel()
    np.testing.assert_array_equal(predicted, tokens.ids[1 : 1 + len(predicted)])
    assert tokens.events - len(predicted) < len(cut)
    np.testing.assert_array_equal(cut[1:, 0], cut[:-1, -1])
    assert cut[0, 0] == 0


@given(units=UNITS, length=st.integers(1, 5), rows=st.integers(1, 4), offset=st.integers(0, 3), order=st.randoms())
def test_windows_visit_each_place_once_in_the_order_given(units, length, rows, offset, order) -> None:
    tokens = stream(units)
    count = max(0, (tokens.events - offset) // length)
    places = list(range(count))
    order.shuffle(places)
    found = list(windows(tokens, length, rows, np.array(places, np.int64), offset))
    assert len(found) == count // rows
    for batch, chosen in zip(found, (places[i : i + rows] for i in range(0, count, rows)), strict=False):
        assert batch.shape == (rows, length + 1)
        for row, place in zip(batch, chosen, strict=True):
            start = offset + place * length
            np.testing.assert_array_equal(row, tokens.ids[start : start + length + 1])


@given(events=st.integers(1, 90), rows=st.integers(1, 3), length=st.integers(1, 20), number=st.integers(0, 5))
def test_varied_steps_hold_every_event_once_and_go_on_where_they_were(events, rows, length, number) -> None:
    """The number of steps is that of even ones, none is empty, and a pass may be taken up at any of them."""
    tokens = stream([list(np.arange(events - 1) % 8 + 2)])
    even, varied = (TrainingRows(tokens, rows, length, shuffled=False, seed=1, varied=how) for how in (False, True))
    steps = list(varied.epoch(number))
    assert len(steps) == even.steps == varied.steps == len(list(even.epoch(number)))
    joined = np.concatenate([step[:, 1:] for step in steps], 1)
    np.testing.assert_array_equal(joined, varied.rows[:, 1:])
    for step in steps:
        assert 1 <= step.shape[1] - 1 <= length + 2 * (length // 4)
    for rest, step in zip(varied.epoch(number, len(steps) // 2), steps[len(steps) // 2 :], strict=True):
        np.testing.assert_array_equal(rest, step)


def test_varied_steps_differ_from_pass_to_pass() -> None:
    rows = TrainingRows(stream([[2] * 399]), 1, 40, shuffled=False, seed=1, varied=True)
    first, second = ([step.shape[1] - 1 for step in rows.epoch(number)] for number in (0, 1))
    assert first != second
    assert sum(first) == sum(second) == 400
    assert len(set(first)) > 5
