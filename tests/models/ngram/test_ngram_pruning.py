"""Smaller tables: what is dropped, and what must stay with what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.models.ngram.counting import count
from lmbench.models.ngram.pruning import close, drop, suffixes
from lmbench.models.ngram.smoothing import modified_kneser_ney
from lmbench.models.ngram.table import Table


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
