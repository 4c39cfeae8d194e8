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

import numpy as np

from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts
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
        context = grams.context if k > 1 else np.zeros(size, np.int32)  # the one empty history
        taken = np.array([0.0, *(given or FALLBACK)]).take(np.minimum(adjusted, 3))  # (G,), D(a)
        probabilities = adjusted.astype(np.float64)
        total = np.bincount(context, probabilities, len(lower))  # (C,), sum_v a(hv); 0 where h has no children
        mass = np.bincount(context, taken, len(lower))
        backoff = np.divide(mass, total, out=np.ones_like(mass), where=total > 0)
        # (a - D) / total + backoff * lower, in place: touching fresh memory costs more than the arithmetic.
        probabilities -= taken
        probabilities /= np.take(total, context, out=taken, mode="clip")
        lower = lower.take(grams.suffix)
        lower *= np.take(backoff, context, out=taken, mode="clip")
        probabilities += lower
        if k > 1:
            tables[-1] = Grams(tables[-1].keys, tables[-1].log_probs, np.log(backoff))
        tables.append(Grams(grams.keys, np.log(probabilities), np.empty(0)))
        lower = probabilities
    if fallen and note:
        orders = ", ".join(map(str, fallen))
        note(
            f"The counts of order {orders} give no Kneser-Ney discounts (too few n-grams were seen once, twice or "
            f"three times); {', '.join(f'{d:g}' for d in FALLBACK)} stand in for them."
        )
    return Table(tuple(tables), size)
