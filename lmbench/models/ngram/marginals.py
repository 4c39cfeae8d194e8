"""``Table`` -> how often each n-gram stands in endless text drawn from it: the marginals of the model itself.

Text drawn from a backoff model is a Markov chain whose state is the longest stored history. With m(g) the share of
positions at which n-gram g ends, ' for what an n-gram is without its oldest word, and b the backoff weights::

    s(h) = m(h) - sum over stored histories x with x' = h of m(x)              the state is h: no longer one is stored
    r(h) = s(h) + sum over x with x' = h of r(x) b(x)                          h is asked, at once or after backing off
    m(hw) = p(w | h) [r(h) - sum over x with x' = h, xw stored, of r(x) b(x)]  who has xw does not back off for w
            + sum over x with x' = h, xw stored, of m(xw)

These equations are followed, a word at a time, from what the chain rule gives until the marginals stay as they are. A
history never holds the boundary but as its first word: text starts anew there. No counts are needed, so a table from a
file has marginals too. They are what the chain rule over the lower orders of a Kneser-Ney model does not give, since
those tell in how many contexts an n-gram stands, not how often.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmbench.compiled import compiled
from lmbench.models.ngram.table import Table

STEPS = 50
"""Words followed at most."""
STILL = 1e-3
"""Sum of the absolute changes of the unigram marginals below which no further step is made."""


def marginals(table: Table, suffixes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each order, float64 (G,): the share of positions of the model's own text at which each n-gram ends.

    ``suffixes``: for each order, int32 (G,), number of the n-gram without its first word, one order below.
    """
    orders = table.orders
    probabilities = [np.exp(grams.log_probs) for grams in orders]
    weights = [np.exp(grams.log_backoffs) for grams in orders]
    shares = [probabilities[0].astype(np.float64)]
    for k in range(1, len(orders)):
        shares.append(np.repeat(shares[-1], np.diff(orders[k].begins)) * probabilities[k])
    for _ in range(STEPS):
        asked = _asked(table, suffixes, weights, shares)
        longer = np.zeros((len(orders[-1]), 2))  # of each n-gram: sums over the longer ones that end in it, see _draw
        renewed = [np.empty(len(grams)) for grams in orders]
        for k in range(len(orders) - 1, -1, -1):
            shorter = np.zeros((len(orders[k - 1]) if k else 1, 2))
            backed_off = asked[k] * weights[k - 1] if k else np.zeros(1)
            arrays = (orders[k].begins, suffixes[k], probabilities[k], asked[k], backed_off, longer)
            _draw(*arrays, shorter, renewed[k])
            longer = shorter
        moved = float(np.abs(renewed[0] - shares[0]).sum())
        shares = [share / renewed[0].sum() for share in renewed]
        if moved < STILL:
            break
    return shares


def _asked(
    table: Table, suffixes: Sequence[np.ndarray], weights: Sequence[np.ndarray], shares: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """r of the histories of each length from 0, float64."""
    asked = [share.copy() for share in shares[:-1]]
    for k in range(len(asked) - 1, 0, -1):
        ends = table.orders[k].words == 0
        asked[k][ends] = 0.0
        _give(suffixes[k], asked[k] * weights[k] - np.where(ends, 0.0, shares[k]), asked[k - 1])
    return [np.array([asked[0] @ weights[0]]) if asked else np.ones(1), *asked]


@compiled
def _give(suffix, amounts, shorter):
    """Add what each n-gram gives to its suffix."""
    for n in range(len(suffix)):
        shorter[suffix[n]] += amounts[n]


@compiled
def _draw(begins, suffix, probabilities, asked, backed_off, longer, shorter, shares):
    """m of the n-grams of one order.

    ``longer``: float64 (G, 2), over the longer n-grams that end in each, the sums of m and of what their contexts do
    not back off for; these n-grams add theirs to ``shorter``.
    """
    for c in range(len(begins) - 1):
        for n in range(begins[c], begins[c + 1]):
            shares[n] = probabilities[n] * max(asked[c] - longer[n, 1], 0.0) + longer[n, 0]
            shorter[suffix[n], 0] += shares[n]
            shorter[suffix[n], 1] += backed_off[c]
