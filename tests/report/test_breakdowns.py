"""Where models lose: by frequency, length and position, worked out by hand; the most different sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.benchmark.results import Heldout, Result, RunFolder
from lmbench.errors import ResultsError, UsageError
from lmbench.report.breakdowns import Bin, TokenScores, breakdowns, most_different, read_token_scores
from lmbench.scoring.metrics import LN2
from lmbench.scoring.significance import bootstrap_ratio

TYPES = ("</s>", "<unk>", "a", "b", "c")
COUNTS = (20, 5, 1000, 10, 0)
BITS = (1, 4, 1, 2, 3)
"""What the model of the tests gives each type."""
SHORT, LONG = [2, 3, 0], [2, 4, 1, 3, 3, 3, 0]
"""a b </s>: 1 + 2 + 1 = 4 bits. a c <unk> b b b </s>: 1 + 3 + 4 + 2 + 2 + 2 + 1 = 15 bits."""


def held_out(units: list[list[int]], **fields: object) -> Heldout:
    ids, ends = np.concatenate(units).astype(np.int32), np.cumsum([len(unit) for unit in units])
    given = {
        "ids": ids, "ends": ends, "passages": ends, "segments": ends, "counts": np.array(COUNTS), "types": TYPES,
        "separator": " ", "pieces": None, "line": "sentence", "tokenizer": "word", "unknown": 1, "events": len(ids),
        "events_sha256": "these", **fields,
    }  # fmt: skip
    return Heldout(**given)  # type: ignore[arg-type]


def result(name: str) -> Result:
    return Result(name, None, folder=name, details={"signature": {"events_sha256": "these"}})


def scores(heldout: Heldout, **bits: object) -> TokenScores:
    return TokenScores(heldout, tuple(map(result, bits)), np.array(list(bits.values()), np.float64) * LN2)


@pytest.fixture
def farm() -> TokenScores:
    """Ten short and ten long sentences, in turns: 30 + 70 = 100 events, 40 + 150 = 190 bits."""
    heldout = held_out([SHORT, LONG] * 10)
    return scores(heldout, known=np.array(BITS)[heldout.ids], double=2 * np.array(BITS)[heldout.ids])


def rows(bins: tuple[Bin, ...]) -> dict[str, tuple[int, float]]:
    return {row.name: (row.events, pytest.approx(row.bits)) for row in bins}  # type: ignore[misc]


def test_frequencies_worked_out_by_hand(farm: TokenScores) -> None:
    known, double = breakdowns(farm)
    assert (known.label, double.label) == ("known", "double")
    # c 10 times, b 10 + 30, a 20; <unk> and the boundary stand apart, whatever they were counted
    assert rows(known.frequency) == {
        "unseen": (10, 3), "10-99": (40, 2), "1,000-9,999": (20, 1), "<unk>": (10, 4), "end of sentence": (20, 1),
    }  # fmt: skip
    assert [row.share_of_events for row in known.frequency] == [0.1, 0.4, 0.2, 0.1, 0.2]
    assert [row.share_of_nats for row in known.frequency] == pytest.approx(np.array([30, 80, 20, 40, 20]) / 190)
    for row, other in zip(known.frequency, double.frequency, strict=True):
        assert (row.low, row.high) == (pytest.approx(row.bits), pytest.approx(row.bits)), "it is the same everywhere"
        assert other.bits == pytest.approx(2 * row.bits)
        assert other.share_of_nats == pytest.approx(row.share_of_nats)


def test_lengths_and_positions_worked_out_by_hand(farm: TokenScores) -> None:
    known, _ = breakdowns(farm)
    assert rows(known.length) == {"1-5": (30, 40 / 30), "6 or more": (70, 150 / 70)}
    # 1: a. 2: b or c, (2 + 3) / 2. 3: </s> or <unk>, (1 + 4) / 2. 4, 5: b. 6 and 7: b and </s>
    assert rows(known.position) == {
        "1": (20, 1), "2": (20, 2.5), "3": (20, 2.5), "4": (10, 2), "5": (10, 2), "6 or more": (20, 1.5),
    }  # fmt: skip
    # half the sentences have 4 bits in 3 events, half 15 in 7
    assert list(known.quantiles) == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert list(known.quantiles.values()) == pytest.approx([2 ** (4 / 3)] * 3 + [2 ** (15 / 7)] * 2)


def test_an_interval_is_the_bootstrap_of_its_bin() -> None:
    random = np.random.default_rng(0)
    heldout = held_out([[*random.choice([2, 3, 4], random.integers(1, 6)).tolist(), 0] for _ in range(50)])
    bits = random.random(len(heldout.ids)) * 8
    (found,) = breakdowns(scores(heldout, model=bits))
    middle = {row.name: row for row in found.frequency}["10-99"]
    is_b = heldout.ids == 3
    sums = [np.add.reduceat(values, np.append(0, heldout.ends[:-1])) for values in (bits * is_b, is_b.astype(float))]
    assert (middle.low, middle.high) == pytest.approx(bootstrap_ratio(*sums), rel=1e-9)
    assert middle.low < middle.bits < middle.high


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, 4), max_size=70), min_size=1, max_size=40), st.integers(0, 9))
def test_every_event_is_in_one_bin(units: list[list[int]], seed: int) -> None:
    heldout = held_out([[*unit, 0] for unit in units])
    bits = np.random.default_rng(seed).random(len(heldout.ids)) + 0.1
    (found,) = breakdowns(scores(heldout, model=bits))
    for bins in (found.frequency, found.length, found.position):
        if len(units) < 20 and bins is not found.frequency:
            assert bins == ()
            continue
        assert sum(row.events for row in bins) == len(bits)
        assert sum(row.bits * row.events for row in bins) == pytest.approx(bits.sum())
        assert sum(row.share_of_nats for row in bins) == pytest.approx(1)
        assert len({row.name for row in bins}) == len(bins)
        assert all(row.events > 0 for row in bins)


def test_small_ends_are_joined() -> None:
    """One sentence of 61 events among 199 of 31: by length 61 of 6230 events, 0.98 %, are too few to stand alone; and
    each of the first five places has 200, 3.2 %."""
    heldout = held_out([[2] * 30 + [0]] * 199 + [[2] * 60 + [0]])
    (found,) = breakdowns(scores(heldout, model=np.ones(len(heldout.ids))))
    assert [row.name for row in found.length] == ["1 or more"]
    assert [row.name for row in found.position][-3:] == ["11-20", "21-30", "31 or more"]
    assert found.position[-1].events == 199 + 31


def test_what_a_model_rules_out_is_told_and_spoils_no_other_bin(farm: TokenScores) -> None:
    nats = farm.nats.copy()
    nats[0, farm.heldout.ids == 1] = np.inf
    found, double = breakdowns(replace(farm, nats=nats))
    by_name = {row.name: row for row in found.frequency}
    assert by_name["<unk>"].bits == math.inf
    assert by_name["<unk>"].low is by_name["<unk>"].high is by_name["<unk>"].share_of_nats is None
    assert (by_name["10-99"].low, by_name["10-99"].high) == (pytest.approx(2), pytest.approx(2))
    assert (found.quantiles[0.5], found.quantiles[0.75]) == (pytest.approx(2 ** (4 / 3)), math.inf)
    assert double.frequency == breakdowns(farm)[1].frequency


def test_a_bin_in_a_few_segments_has_no_interval() -> None:
    heldout = held_out([SHORT] * 40 + [[4, 0]] * 4)
    (found,) = breakdowns(scores(heldout, model=np.array(BITS)[heldout.ids]))
    assert [(row.name, row.low is None) for row in found.frequency][:2] == [("unseen", True), ("10-99", False)]


def test_documents_are_no_sentences() -> None:
    heldout = held_out([LONG * 5, LONG * 5], line="text", segments=np.arange(7, 71, 7), passages=np.arange(14, 71, 14))
    (found,) = breakdowns(scores(heldout, model=np.array(BITS)[heldout.ids]))
    assert found.length == found.position == ()
    assert found.frequency[-1].name == "end of document"
    assert found.quantiles[0.5] == pytest.approx(2 ** (15 / 7))


# Differences -----------------------------------------------------------------------------------------


def test_the_most_different_sentences() -> None:
    """The second model gives 1 bit to everything. a b c </s> costs the first (1 + 2 + 3 + 1) / 4 = 1.75, b b b b </s>
    9 / 5 = 1.8, and a a a a </s> is given half a bit each; the short one is not looked at."""
    heldout = held_out([SHORT, [2, 3, 4, 0], [3, 3, 3, 3, 0], [2, 2, 2, 2, 0]])
    first = np.array(BITS)[heldout.ids].astype(float)
    first[-5:] = 0.5
    text = scores(heldout, first=first, flat=np.ones(len(first)))
    likelier, unlikelier = most_different(text, "first", "flat")
    assert [(d.passage, d.text, d.bits) for d in likelier] == [(3, "a a a a", pytest.approx(-0.5))]
    assert [(d.passage, d.text) for d in unlikelier] == [(2, "b b b b"), (1, "a b c")]
    assert [d.bits for d in unlikelier] == pytest.approx([0.8, 0.75])
    assert (unlikelier[1].first, unlikelier[1].second) == (pytest.approx(1.75), pytest.approx(1))
    assert (unlikelier[1].begin, unlikelier[1].end) == (3, 7)
    assert most_different(text, "flat", "first", n=1)[0][0].passage == 2
    assert most_different(text, "flat", "flat") == ([], [])
    with pytest.raises(UsageError, match="Did you mean 'first'"):
        most_different(text, "fist", "flat")


def test_what_one_model_rules_out_is_no_difference(farm: TokenScores) -> None:
    nats = farm.nats.copy()
    nats[:, :9] = np.inf
    nats[1, 13] = np.inf  # of the second long sentence
    found = most_different(replace(farm, nats=nats), "known", "double", n=100)
    assert sorted(d.passage for part in found for d in part) == [5, 7, 9, 11, 13, 15, 17, 19]


# Files -----------------------------------------------------------------------------------------------


def test_it_is_read_from_the_folder(tmp_path: Path, farm: TokenScores) -> None:
    folder = RunFolder(tmp_path)
    folder.create()
    others = [result("kept not"), replace(result("else"), details={"signature": {"events_sha256": "other tokens"}})]
    folder.write_results({}, [*farm.results, *others])
    assert read_token_scores(tmp_path) is None, "as runs of before"
    folder.write_heldout(farm.heldout)
    assert read_token_scores(tmp_path) is None
    for label, nats in zip(farm.labels, farm.nats, strict=True):
        folder.write_token_nats(label, nats)
    folder.write_token_nats("else", np.ones(7))
    found = read_token_scores(folder)
    assert found is not None
    assert found.labels == ["known", "double"]
    np.testing.assert_allclose(found.nats, farm.nats, rtol=1e-6)
    assert [b.length[0].name for b in breakdowns(found)] == ["1-5", "1-5"]
    folder.write_token_nats("double", np.ones(7))
    with pytest.raises(ResultsError, match=r"double.safetensors holds 7 tokens, the test split 100.*--resume"):
        read_token_scores(folder)
