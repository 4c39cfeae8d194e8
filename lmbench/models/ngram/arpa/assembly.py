"""N-grams of each order, in any order of lines -> ``Grams``: sorted, their contexts found, their suffixes completed.

Look-up asks that every context and every suffix of a stored n-gram is stored too. A context must be given, since it
holds the backoff weight; a suffix that was pruned away is put back with the probability that backing off gives it
anyway, so that the distribution stays the same::

    p(w_k | w_2 .. w_{k-1}) = b(w_2 .. w_{k-1}) p(w_k | w_3 .. w_{k-1}),    b(w_2 .. w_k) = 1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from lmbench.compiled import compiled
from lmbench.models.ngram.table import Grams

LARGEST_WEIGHT = 60.0
"""Nats of a backoff weight beyond which a sum is not followed, since it is far from 1 in any case."""
Fault = Callable[[int, int, str], NoReturn]
"""Told the order and the place of an n-gram in its ``Listing``, and what is wrong with it; raises."""


@dataclass(frozen=True)
class Listing:
    """The G n-grams of one order k as they are listed.

    ``words``: int32 (k, G), ids, oldest word first. ``log_probs``, ``log_backoffs``: float32 (G,), nats; a log
    probability that is NaN is to be found by backing off.
    """

    words: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray


def assemble(unigrams: Grams, longer: Sequence[Listing], fault: Fault) -> tuple[tuple[Grams, ...], float]:
    """The n-grams of all orders, by context and word; and the sum of a distribution in them that is farthest from 1.

    ``unigrams``: all V types. ``longer``: listings of order 2, 3 ... ``fault`` is told of an n-gram that is listed
    twice, or whose context is not listed.
    """
    orders, suffixes = _arrange(unigrams, longer, fault)
    if any((suffix < 0).any() for suffix in suffixes):
        orders, suffixes = _arrange(unigrams, _completed(orders, longer), fault)
    return tuple(orders), _worst_sum(orders, suffixes)


def _arrange(unigrams: Grams, longer: Sequence[Listing], fault: Fault) -> tuple[list[Grams], list[np.ndarray]]:
    """The n-grams of each order; and for each the number of its suffix, an n-gram one order below, -1 if not listed."""
    orders, suffixes = [unigrams], [np.zeros(len(unigrams), np.int32)]
    size = len(unigrams)
    for k, listing in enumerate(longer, 2):
        lower = orders[-1]
        contexts = find(orders, listing.words[:-1])
        if (contexts < 0).any():
            fault(k, int((contexts < 0).argmax()), "its context, the n-gram without its last word, is not in the file")
        places, contexts, words = _sorted(contexts, listing.words[-1], size)
        again = np.flatnonzero((contexts[1:] == contexts[:-1]) & (words[1:] == words[:-1]))
        if len(again):
            fault(k, int(places[again + 1].min()), "it stands in the file twice")
        begins = np.zeros(len(lower) + 1, np.int32)
        np.cumsum(np.bincount(contexts, minlength=len(lower)), out=begins[1:])
        suffix = words if k == 2 else _child(lower.begins, lower.words, suffixes[-1][contexts], words)
        suffixes.append(suffix)
        log_probs = listing.log_probs[places]
        filled = np.flatnonzero(np.isnan(log_probs))
        log_probs[filled] = lower.log_backoffs[contexts[filled]] + lower.log_probs[suffix[filled]]
        log_backoffs = listing.log_backoffs[places] if k < len(longer) + 1 else np.empty(0, np.float32)
        orders.append(Grams(begins, words, log_probs, log_backoffs))
    return orders, suffixes


def _worst_sum(orders: Sequence[Grams], suffixes: Sequence[np.ndarray]) -> float:
    """The sum of p(w | h) over all w that is farthest from 1, over all histories h that are stored, the empty one too.

    sum_w p(w | h) = sum p(w | h) + b(h) (sum_w p(w | h') - sum p(w | h')), where the bare sums go over the words that
    are stored after h, and h' is h without its oldest word.
    """
    sums = np.exp(orders[0].log_probs.astype(np.float64)).sum(keepdims=True)
    every = [sums]
    for lower, grams, of_context, of_gram in zip(orders, orders[1:], suffixes, suffixes[1:], strict=False):
        context, size = grams.context, len(lower)
        stored = np.bincount(context, np.exp(grams.log_probs.astype(np.float64)), size)
        backed = np.bincount(context, np.exp(lower.log_probs[of_gram].astype(np.float64)), size)
        weights = np.exp(np.minimum(lower.log_backoffs.astype(np.float64), LARGEST_WEIGHT))
        sums = stored + weights * (sums[of_context] - backed)
        every.append(sums[(lower.words != 0) | (len(every) == 1)])  # nothing follows an n-gram that ends with </s>
    totals = np.concatenate(every)
    return float(totals[np.abs(totals - 1).argmax()])


def _sorted(contexts: np.ndarray, words: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places by context and word, equal ones as they are listed; contexts and words in that order."""
    keys = contexts.astype(np.int64) * size + words
    if (keys[1:] > keys[:-1]).all():
        return np.arange(len(keys)), contexts, np.ascontiguousarray(words)
    places = np.argsort(keys, kind="stable")
    return places, contexts[places], words[places]


def find(orders: Sequence[Grams], words: np.ndarray) -> np.ndarray:
    """int32 (n,): the number of each k-gram, -1 where it is not stored. ``words``: int32 (k, n)."""
    numbers = np.ascontiguousarray(words[0])
    for grams, column in zip(orders[1:], words[1:], strict=False):
        numbers = _child(grams.begins, grams.words, numbers, np.ascontiguousarray(column))
    return numbers


def _completed(orders: Sequence[Grams], longer: Sequence[Listing]) -> list[Listing]:
    """``longer`` with every suffix that is missing, from the highest order down."""
    result = list(longer)
    added = np.empty((len(longer) + 1, 0), np.int32)
    for i in range(len(longer) - 1, 0, -1):
        wanted = np.concatenate((longer[i].words[1:], added[1:]), axis=1)
        wanted = np.unique(wanted[:, find(orders, wanted) < 0], axis=1).astype(np.int32)
        lower, count = longer[i - 1], wanted.shape[1]
        result[i - 1] = Listing(
            np.concatenate((lower.words, wanted), axis=1),
            np.concatenate((lower.log_probs, np.full(count, np.nan, np.float32))),
            np.concatenate((lower.log_backoffs, np.zeros(count, np.float32))),
        )
        added = wanted
    return result


@compiled
def _child(begins, words, contexts, last):
    """int32 (n,): the n-gram that continues each context by each last word; -1 where there is none, or no context."""
    result = np.empty(len(contexts), np.int32)
    for i in range(len(contexts)):
        result[i] = -1
        if contexts[i] < 0:
            continue
        begin, end = begins[contexts[i]], begins[contexts[i] + 1]
        while begin < end:
            middle = (begin + end) >> 1
            if words[middle] < last[i]:
                begin = middle + 1
            else:
                end = middle
        if begin < begins[contexts[i] + 1] and words[begin] == last[i]:
            result[i] = begin
    return result
