"""Smaller tables: what is dropped, and what must stay with what is kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.errors import UsageError
from lmbench.models.ngram.arpa.reading import read_arpa
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.files import load_table, save_table
from lmbench.models.ngram.marginals import marginals
from lmbench.models.ngram.methods import METHODS
from lmbench.models.ngram.pruning import close, drop, prune_by_entropy, suffixes
from lmbench.models.ngram.smoothing import estimate, modified_kneser_ney
from lmbench.models.ngram.table import Grams, Table


def text(length: int = 400, types: int = 9, seed: int = 0) -> np.ndarray:
    """int32 ids, the frequent ones low, opening and ending with the boundary."""
    random = np.random.default_rng(seed)
    ids = np.minimum(random.geometric(0.3, length) - 1, types - 1).astype(np.int32)
    ids[[0, -1]] = 0
    return ids


def estimated(order: int = 4, seed: int = 0, length: int = 400) -> Table:
    return modified_kneser_ney(count(text(length, seed=seed), 9, order))


def grams_of(table: Table) -> dict[tuple[int, ...], tuple[float, float]]:
    """Words -> ln p and log backoff weight (0 at the highest order), one n-gram at a time."""
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    contexts: list[tuple[int, ...]] = [()]
    for grams in table.orders:
        words = [(*contexts[c], int(w)) for c, w in zip(grams.context, grams.words, strict=True)]
        weights = grams.log_backoffs if len(grams.log_backoffs) else np.zeros(len(grams))
        found |= {w: (float(p), float(b)) for w, p, b in zip(words, grams.log_probs, weights, strict=True)}
        contexts = words
    return found


def test_suffixes_are_those_that_counting_numbers() -> None:
    counts = count(text(), 9, 5)
    for found, grams in zip(suffixes(modified_kneser_ney(counts)), counts.orders, strict=True):
        np.testing.assert_array_equal(found, grams.suffix)


def test_dropping_keeps_the_entries_of_the_masks() -> None:
    table, counts = estimated(), count(text(), 9, 4)
    keep = close(table, [grams.raw > 1 for grams in counts.orders])
    smaller = drop(table, keep)
    smaller.check()
    before, after = grams_of(table), grams_of(smaller)
    kept = dict(zip(before, np.concatenate(keep).tolist(), strict=True))
    assert set(after) == {words for words in before if kept[words]}
    assert all(before[words] == after[words] for words in after)
    assert 9 < smaller.entries < table.entries


def test_closing_adds_contexts_and_suffixes() -> None:
    table = estimated()
    names = list(grams_of(table))
    lone = next(i for i, words in enumerate(names) if len(words) == 4)
    a, b, c, d = names[lone]
    keep = [np.zeros(len(grams), bool) for grams in table.orders]
    keep[3][lone - sum(map(len, table.orders[:3]))] = True
    closed = np.concatenate(close(table, keep)).tolist()
    stays = {names[i] for i in np.flatnonzero(closed)}
    assert stays == {*names[:9], (a, b, c, d), (a, b, c), (b, c, d), (a, b), (b, c), (c, d)}
    with pytest.raises(ValueError, match="1 n-grams of order 4 would stay without their context or suffix"):
        drop(table, keep)


def test_an_order_without_n_grams_goes() -> None:
    table = estimated()
    keep = [np.full(len(grams), k < 2) for k, grams in enumerate(table.orders)]
    smaller = drop(table, keep)
    smaller.check()
    assert len(smaller.orders) == 2
    with pytest.raises(ValueError, match="masks of"):
        drop(table, keep[:2])


# Relative entropy ------------------------------------------------------------------------------------


class Slow:
    """A table as a dictionary: the definitions, word by word."""

    def __init__(self, table: Table) -> None:
        self.types, self.highest = table.vocabulary_size, len(table.orders)
        self.p = {words: math.exp(p) for words, (p, _) in grams_of(table).items()}
        self.b = {words: math.exp(b) for words, (_, b) in grams_of(table).items() if len(words) < self.highest}

    def probability(self, history: tuple[int, ...], word: int) -> float:
        """p(w | h), by backing off."""
        if (*history, word) in self.p:
            return self.p[*history, word]
        return self.b.get(history, 1.0) * self.probability(history[1:], word)

    def state(self, words: tuple[int, ...]) -> tuple[int, ...]:
        """The longest stored history that ``words`` end in; nothing is remembered from before a boundary."""
        words = words[-(self.highest - 1) :] if words[-1] else (0,)
        while words not in self.b:
            words = words[1:]
        return words

    def marginals(self, steps: int) -> dict[tuple[int, ...], float]:
        """m of every stored n-gram, after ``steps`` words drawn from the boundary on, over states of all histories."""
        states = {(0,): 1.0}
        for _ in range(steps):
            following: dict[tuple[int, ...], float] = {}
            shares: dict[tuple[int, ...], float] = {}
            for history, share in states.items():
                for word in range(self.types):
                    drawn = share * self.probability(self.state(history), word)
                    window = (*history, word)
                    for length in range(1, len(window) + 1):
                        shares[window[-length:]] = shares.get(window[-length:], 0.0) + drawn
                    state = window[-(self.highest - 1) :] if word else (0,)
                    following[state] = following.get(state, 0.0) + drawn
            states = following
        return {words: shares.get(words, 0.0) for words in self.p}

    def pruned(self, threshold: float, shares: dict[tuple[int, ...], float]) -> dict[tuple[int, ...], float]:
        """What stays: highest orders first, each n-gram judged by itself (Stolcke 1998, equations of section 3)."""
        kept = dict(self.p)
        for order in range(self.highest, 1, -1):
            needed = {words[:-1] for words in kept if len(words) > order}
            needed |= {words[1:] for words in kept if len(words) > order}
            for words in [words for words in self.p if len(words) == order and words not in needed]:
                history, word = words[:-1], words[-1]
                children = [w for w in range(self.types) if (*history, w) in self.p]
                lower = self.probability(history[1:], word)
                left = 1 - sum(self.p[*history, w] for w in children)
                unseen = 1 - sum(self.probability(history[1:], w) for w in children)
                weight = (left + self.p[words]) / (unseen + lower)
                change = self.p[words] * (math.log(lower * weight) - math.log(self.p[words]))
                change += left * (math.log(weight) - math.log(self.b[history]))
                if math.expm1(-shares[history] * change) <= threshold:
                    del kept[words]
        return kept


def sums(table: Table) -> np.ndarray:
    """What each context sums to, all words asked."""
    contexts = [(), *(words for words in grams_of(table) if len(words) < len(table.orders))]
    return np.exp(table.next_log_probs([np.array(words, np.int64) for words in contexts if words])).sum(1)


def test_marginals_are_those_of_text_drawn_from_the_model() -> None:
    table = estimated(3, length=150)
    expected = Slow(table).marginals(60)
    found = np.concatenate(marginals(table, suffixes(table)))
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-3)
    assert found[:9].sum() == pytest.approx(1)


@pytest.mark.parametrize("threshold", [1e-3, 2e-3, 5e-3])
def test_what_goes_is_what_the_definition_says(threshold: float) -> None:
    table = estimated(4, length=120, seed=3)
    shares = dict(zip(grams_of(table), np.concatenate(marginals(table, suffixes(table))).tolist(), strict=True))
    smaller = prune_by_entropy(table, threshold)
    smaller.check()
    assert set(grams_of(smaller)) == set(Slow(table).pruned(threshold, shares))
    assert 9 < smaller.entries < table.entries
    np.testing.assert_allclose(sums(smaller), 1, atol=2e-6)


def test_a_weight_made_anew() -> None:
    """Three types; p = 1/2, 1/4, 1/4; after type 1: p(0) = 3/4, p(1) = 1/8, so b = (1/8) / (1/4) = 1/2.

    Without (1, 1) the weight of 1 is (1/8 + 1/8) / (1/4 + 1/4) = 1/2: backing off gives 1/2 * 1/4 = 1/8 as before; it
    costs nothing. (1, 0) would have backed off to 1/4 instead of 3/4.
    """
    unigrams = Grams(
        np.array([0, 3], np.int32), np.arange(3, dtype=np.int32), np.log([1 / 2, 1 / 4, 1 / 4]).astype(np.float32),
        np.log([1.0, 1 / 2, 1.0]).astype(np.float32),
    )  # fmt: skip
    pairs = Grams(
        np.array([0, 0, 2, 2], np.int32), np.array([0, 1], np.int32), np.log([3 / 4, 1 / 8]).astype(np.float32),
        np.empty(0, np.float32),
    )  # fmt: skip
    smaller = prune_by_entropy(Table((unigrams, pairs), 3), 0.0)
    assert smaller.orders[1].words.tolist() == [0]
    np.testing.assert_allclose(np.exp(smaller.orders[0].log_backoffs), [1, 1 / 2, 1])
    assert len(prune_by_entropy(Table((unigrams, pairs), 3), 1.0).orders) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000), st.floats(-7, -1), st.integers(2, 12))
def test_every_context_sums_to_one_and_more_pruning_leaves_less(order, seed, exponent, types) -> None:
    table = modified_kneser_ney(count(text(200, types, seed), types, order))
    small, smaller = prune_by_entropy(table, 10**exponent), prune_by_entropy(table, 3 * 10**exponent)
    assert table.entries >= small.entries >= smaller.entries
    assert set(grams_of(smaller)) <= set(grams_of(small))
    for pruned in (small, smaller):
        pruned.check()
        np.testing.assert_allclose(sums(pruned), 1, atol=5e-6)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"stupid-backoff"}))
def test_tables_of_every_method_are_pruned(method: str) -> None:
    ids = text()
    for form in METHODS[method].forms:
        table = estimate(count(ids, 9, 4), method, form, held_out=text(100, seed=1))
        smaller = prune_by_entropy(table, entries=table.entries // 2)
        smaller.check()
        assert table.entries // 2 - 12 < smaller.entries <= table.entries // 2
        np.testing.assert_allclose(sums(table), 1, atol=5e-6)
        np.testing.assert_allclose(sums(smaller), 1, atol=5e-6)


@pytest.mark.parametrize("entries", [9, 10, 60, 100, 10_000])
def test_no_more_entries_than_asked_for(entries: int) -> None:
    table = estimated()
    smaller = prune_by_entropy(table, entries=entries)
    assert min(entries, table.entries) - 12 < smaller.entries <= entries
    assert prune_by_entropy(table, 1e-3, entries).entries == min(smaller.entries, prune_by_entropy(table, 1e-3).entries)


def test_a_table_from_a_file_is_pruned_without_counts(tmp_path: Path) -> None:
    table = estimated()
    save_table(tmp_path / "table", table)
    loaded = prune_by_entropy(load_table(tmp_path / "table", 9), 1e-3)
    assert grams_of(loaded) == grams_of(prune_by_entropy(table, 1e-3))


@pytest.mark.parametrize("name", ["toy.o3.arpa.gz", "toy.o3.prune001.arpa.gz"])
def test_a_model_that_another_program_made(name: str) -> None:
    table = read_arpa(Path(__file__).parent / name).table
    smaller = prune_by_entropy(table, entries=table.entries - 40)
    assert table.entries - 46 < smaller.entries <= table.entries - 40
    contexts = [words for words in grams_of(smaller) if len(words) < len(smaller.orders)]
    before, after = (np.exp(t.next_log_probs([np.array(words) for words in contexts])).sum(1) for t in (table, smaller))
    np.testing.assert_allclose(after, before, atol=5e-6)


def test_what_cannot_be_pruned_to() -> None:
    table = estimated()
    with pytest.raises(UsageError, match="8 entries were asked for, but the 9 unigrams"):
        prune_by_entropy(table, entries=8)
    with pytest.raises(UsageError, match="not nan"):
        prune_by_entropy(table, math.nan)
    with pytest.raises(UsageError, match="Nothing says how much"):
        prune_by_entropy(table)
    assert prune_by_entropy(estimated(1), 1.0).entries == 9
