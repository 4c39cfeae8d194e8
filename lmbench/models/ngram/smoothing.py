"""``Counts`` -> ``Table``: interpolated modified Kneser-Ney estimates, exact, all orders in closed form.

Kneser & Ney (1995): lower orders count in how many different contexts an n-gram stands, not how often. Chen &
Goodman (1999): modified, that is three discounts an order, and interpolated at every order. Sentence ends and unknown
words are treated as in Heafield et al. (2013). For a history h, h' without its oldest word, a from ``Counts.of``::

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv)  +  b(h) p(w | h')
    b(h)     = sum_v D(a(hv)) / sum_v a(hv)                   p(w | h') below the unigrams is 1 / V
    D(a)     = D_min(a, 3),    D_j = j - (j + 1) Y n_{j+1} / n_j,    Y = n_1 / (n_1 + 2 n_2)

where n_j is the number of n-grams of the order with count j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts, GramCounts
from lmbench.models.ngram.table import Grams, Table

Discounts = tuple[float, float, float]
"""D_1, D_2, D_3+: what is taken from an n-gram seen once, twice, more often."""

FALLBACK: Discounts = (0.5, 1.0, 1.5)
"""Discounts of an order whose counts of counts give none, as small corpora and long or character n-grams do."""


def estimate_discounts(counts: np.ndarray) -> Discounts | None:
    """D_1, D_2, D_3+ from the counts of one order, int (G,) (Chen & Goodman 1999; the module gives the equation).

    None where n_1, n_2 or n_3 is 0, or some D_j is not above 0 and at most j: then there is no estimate.

    >>> estimate_discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4]))  # Y = 4 / (4 + 2 * 2) = 1/2
    (0.5, 1.25, 1.0)
    >>> estimate_discounts(np.array([1, 1, 3])) is None
    True
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).tolist()
    if not (n[1] and n[2] and n[3]):
        return None
    share = n[1] / (n[1] + 2 * n[2])
    first, second, third = (j - (j + 1) * share * n[j + 1] / n[j] for j in (1, 2, 3))
    discounts = (first, second, third)
    return discounts if _valid(discounts) else None


def _valid(discounts: Discounts) -> bool:
    # A discount of 0 would leave nothing to unseen words after a context whose words all have that count.
    return all(0 < taken <= j for j, taken in enumerate(discounts, 1))


def _check(discounts: Sequence[Discounts], orders: int) -> None:
    if len(discounts) < orders:
        raise UsageError(f"Discounts are given for {len(discounts)} orders, but there are n-grams of {orders}.")
    for k, given in enumerate(discounts, 1):
        if len(given) != 3 or not _valid(given):
            raise UsageError(
                f"The discounts {given} of order {k} cannot be: give three numbers above 0 and at most 1, 2 and 3."
            )


def modified_kneser_ney(
    counts: Counts, discounts: Sequence[Discounts] | None = None, note: Callable[[str], None] | None = None
) -> Table:
    """Interpolated modified Kneser-Ney estimates of all orders.

    ``discounts``: those of orders 1, 2, ... if they are to be taken as given. ``note`` is told, once, at which
    orders the fallback discounts were used. Raises UsageError where given discounts are too few, or a D_j is not
    above 0 and at most j.
    """
    if discounts is not None:
        _check(discounts, len(counts.orders))
    size = counts.vocabulary_size
    fallen: list[int] = []
    tables: list[Grams] = []
    lower = np.full(1, 1 / size)  # p(w | h') of the order below, float64 by n-gram number
    for k, grams in enumerate(counts.orders, 1):
        adjusted = counts.of(k)
        given = discounts[k - 1] if discounts is not None else estimate_discounts(adjusted)
        if given is None:
            fallen.append(k)
        probabilities, log_probs = np.empty(len(grams)), np.empty(len(grams), np.float32)
        log_backoffs = np.empty(len(grams.begins) - 1, np.float32)
        taken = np.array([0.0, *(given or FALLBACK)])
        outputs = (probabilities, log_probs, log_backoffs)
        _in_parts(grams, (adjusted, taken, grams.suffix, lower), outputs)
        if k > 1:
            tables[-1] = replace(tables[-1], log_backoffs=log_backoffs)
        tables.append(Grams(grams.begins, grams.words, log_probs, np.empty(0, np.float32)))
        lower = probabilities
    if fallen and note:
        orders = ", ".join(map(str, fallen))
        note(
            f"The counts of order {orders} give no Kneser-Ney discounts (too few n-grams were seen once, twice or "
            f"three times); {', '.join(f'{d:g}' for d in FALLBACK)} stand in for them."
        )
    return Table(tuple(tables), size)


def _in_parts(grams: GramCounts, inputs: tuple[np.ndarray, ...], outputs: tuple[np.ndarray, ...]) -> None:
    """``_estimate`` over contexts cut into parts of about as many n-grams each."""
    *by_gram, by_context = outputs
    contexts = len(grams.begins) - 1
    cuts = np.searchsorted(grams.begins, np.linspace(0, len(grams), 4 * threads() + 1)[1:-1])
    bounds = np.unique(np.concatenate(([0], np.minimum(cuts, contexts), [contexts]))).tolist()

    def part(edges: tuple[int, int]) -> None:
        first, last = edges
        _estimate(grams.begins[first : last + 1], *inputs, *by_gram, by_context[first:last])

    in_threads(part, pairwise(bounds))


@compiled
def _estimate(begins, counts, taken, suffix, lower, probabilities, log_probs, log_backoffs):
    """(a - D(a)) / total + backoff * lower for the children of each context, whose ``log_backoffs`` are filled."""
    for c in range(len(begins) - 1):
        total = 0.0
        mass = 0.0
        for n in range(begins[c], begins[c + 1]):
            total += counts[n]
            mass += taken[min(counts[n], 3)]
        backoff = mass / total if total > 0 else 1.0
        log_backoffs[c] = np.log(backoff)
        for n in range(begins[c], begins[c + 1]):
            kept = (counts[n] - taken[min(counts[n], 3)]) / total if total > 0 else 0.0
            probabilities[n] = kept + backoff * lower[suffix[n]]
            log_probs[n] = np.log(probabilities[n])
