"""``Counts`` of one order -> the ``Rule`` of a smoothing method: what it takes from counts, what it adds to histories.

``recursion`` has the equation that all of them share. c counts occurrences; a is Kneser-Ney's count: below the highest
order, in how many different contexts an n-gram stands, but occurrences where it opens a sentence, since nothing can
stand before it. h' is the history h without its oldest word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lmbench.models.ngram.counting import Counts
from lmbench.models.ngram.discounts import FALLBACK, FALLBACK_ONE, estimate_discount, estimate_discounts, katz_discounts
from lmbench.models.ngram.recursion import Rule


@dataclass(frozen=True)
class Given:
    """What a method is told beside the counts, each by the method that needs it.

    ``discounts``: of orders 1, 2, ... where they are not to be estimated. ``added``: k V of add-k. ``weights``: float64
    (K, B), l of Jelinek-Mercer. ``backoff``: whether that is the form: then a discount must not take all of a count,
    since nothing else would give the n-gram a probability. ``fallen``: receives the orders whose counts of counts gave
    no discount.
    """

    discounts: Sequence[Sequence[float]] | None = None
    added: float = 0.0
    weights: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    backoff: bool = False
    fallen: list[int] = field(default_factory=list)


def maximum_likelihood(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = c(hw) / c(h) for the longest history that was seen; an unseen word has probability 0.

    What every other method mends. A text with one unseen word has an infinite perplexity.
    """
    return Rule(counts.orders[order - 1].raw)


def add_k(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = (c(hw) + k) / (c(h) + k V), h being the whole history (Lidstone 1920; k = 1 is Laplace's).

    Nothing is learned from shorter histories: below the full length, every word has 1 / V. A history that begins
    with the sentence is whole, though shorter.
    """
    return Rule(counts.orders[order - 1].raw, constant=given.added)


def good_turing(counts: Counts, order: int, given: Given) -> Rule:
    """Katz (1987): p(w | h) = d_r r / c(h) for a count r = c(hw), and b(h) p(w | h') for words that were not seen.

    d_r comes from Good's (1953) r* = (r + 1) n_{r+1} / n_r, up to r = 7; ``discounts`` has the equation. As SRILM does
    unless told otherwise: n-grams of three words or more that were seen once are dropped, and unigrams keep their
    counts. A history to whose unseen words nothing is left, because no count after it is discounted, is given one
    occurrence that was not seen.
    """
    raw = counts.orders[order - 1].raw
    if order == 1:
        return Rule(raw, reserve=1.0)
    taken, well = katz_discounts(raw)
    if not well:
        given.fallen.append(order)
    return Rule(raw, taken, reserve=1.0)


def witten_bell(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = (c(hw) + T(h) p(w | h')) / (c(h) + T(h)), T(h) being the number of different words seen after h.

    What was new so far will be new as often again: Bell, Cleary & Witten (1990), method C of Witten & Bell (1991).
    As backoff, p(w | h) = c(hw) / (c(h) + T(h)) for seen words.
    """
    return Rule(counts.orders[order - 1].raw, per_type=1.0)


def absolute(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = max(c(hw) - D, 0) / c(h) + D T(h) / c(h) p(w | h'), D = n_1 / (n_1 + 2 n_2).

    Ney, Essen & Kneser (1994); T(h) is the number of different words seen after h. As backoff, the first summand for
    seen words, and the rest of the probability in proportion to p(w | h').
    """
    raw = counts.orders[order - 1].raw
    return Rule(raw, _one_discount(raw, order, given))


def jelinek_mercer(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = l(h) c(hw) / c(h) + (1 - l(h)) p(w | h'), l by the order and c(h), from held-out text.

    Jelinek & Mercer (1980). It is as if c(h) (1 - l) / l more words had been seen, spread like p(w | h'). ``heldout``
    finds l.
    """
    weights = given.weights[order - 1]
    return Rule(counts.orders[order - 1].raw, ratios=(1 - weights) / weights)


def kneser_ney(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = max(a(hw) - D, 0) / sum_v a(hv) + D T(h) / sum_v a(hv) p(w | h'), D = n_1 / (n_1 + 2 n_2).

    Kneser & Ney (1995), whose form is that of backoff: the first summand for seen words, and the rest in proportion to
    p(w | h'). Shorter histories are asked only where longer ones fail, so they count contexts, not occurrences.
    """
    adjusted = counts.of(order)
    return Rule(adjusted, _one_discount(adjusted, order, given))


def modified_kneser_ney(counts: Counts, order: int, given: Given) -> Rule:
    """p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + b(h) p(w | h'), with D_1, D_2 and D_3+ for counts of 1, 2 and more.

    Chen & Goodman (1999): b(h) = sum_v D(a(hv)) / sum_v a(hv), D_j = j - (j + 1) Y n_{j+1} / n_j, and
    Y = n_1 / (n_1 + 2 n_2). Sentence ends and unknown words as in Heafield et al. (2013).
    """
    adjusted = counts.of(order)
    discounts = given.discounts[order - 1] if given.discounts is not None else estimate_discounts(adjusted)
    if discounts is None or (given.backoff and order > 1 and discounts[2] >= 3):
        given.fallen.append(order)
        discounts = FALLBACK
    return Rule(adjusted, np.array([0.0, *discounts]))


def _one_discount(counts: np.ndarray, order: int, given: Given) -> np.ndarray:
    """0 for what was not seen, and the discount of everything else: float64 (2,)."""
    discount = given.discounts[order - 1][0] if given.discounts is not None else estimate_discount(counts)
    if discount is None:
        given.fallen.append(order)
    return np.array([0.0, FALLBACK_ONE if discount is None else discount])


@dataclass(frozen=True)
class Method:
    """One way to smooth: its ``rule``, its ``forms``, the usual one first, and how many ``discounts`` an order has.

    ``singletons``: the first order of which n-grams that were seen once are dropped, unless cutoffs are given.
    """

    rule: Callable[[Counts, int, Given], Rule]
    forms: tuple[str, ...]
    discounts: int = 0
    singletons: int | None = None


BOTH = ("interpolated", "backoff")
METHODS = {
    "mle": Method(maximum_likelihood, ("interpolated",)),
    "add-k": Method(add_k, ("interpolated",)),
    "good-turing": Method(good_turing, ("backoff",), singletons=3),
    "witten-bell": Method(witten_bell, BOTH),
    "absolute": Method(absolute, BOTH, discounts=1),
    "jelinek-mercer": Method(jelinek_mercer, ("interpolated",)),
    "kneser-ney": Method(kneser_ney, BOTH, discounts=1),
    "modified-kneser-ney": Method(modified_kneser_ney, BOTH, discounts=3),
    "stupid-backoff": Method(maximum_likelihood, ("fixed",)),
}
