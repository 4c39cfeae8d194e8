"""``Table`` + which n-grams stay, or what their loss may cost -> a smaller ``Table``.

Relative-entropy pruning (Stolcke 1998) removes an n-gram where the model hardly changes by it. Let p = p(w | h) and
q = b(h) p(w | h'), what hw would get by backing off; D(h) = 1 - sum of p(v | h') over all v stored after h, and N(h) =
b(h) D(h), what h leaves to words not seen after it. Without hw the weight of h becomes (N + p) / (D + p(w | h')), and
the perplexity of text drawn from the model grows by the factor e^C, m(h) being the share of its positions h precedes::

    C = m(h) [p ln(p / q) - (p + N) ln((N + p) / (N + q))]

m(h) comes from ``marginals``. The chain rule, p(w1) p(w2 | w1) ..., goes wrong where lower orders are no marginals, as
in Kneser-Ney models (Chelba et al. 2010). Valid perplexity of PTB with as many entries, m(h) by the chain rule, from
the counts of the training text, and from ``marginals``; Good-Turing, whose lower orders are marginals, has no choice::

    entries                     all      500,000                   200,000                   100,000
    Kneser-Ney 3-gram        157.77      162.75  161.50  161.00    181.35  172.85  173.01    201.96  187.37  187.17
    Kneser-Ney 5-gram        148.01      160.10  154.11  154.10    181.99  168.29  169.81    203.37  184.82  186.72
    Good-Turing 5-gram       172.20                                180.79          180.79    192.14          192.62
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.errors import UsageError
from lmbench.models.ngram.marginals import marginals
from lmbench.models.ngram.table import Grams, Table

SAME = 1e-6
"""Difference of log probabilities, nats, that is float32 rounding: an n-gram so near to backing off costs nothing."""


def prune_by_entropy(table: Table, threshold: float | None = None, entries: int | None = None) -> Table:
    """Remove what costs least (the module has the equation), highest orders first.

    ``threshold``: an n-gram goes where the perplexity of the model grows by at most this factor less 1, such as 1e-7; 0
    removes what costs nothing. ``entries``: n-grams of all orders that stay at most, all V unigrams among them. With
    both, both hold. Contexts and suffixes of what stays do stay, and backoff weights are made anew, so that every
    context sums to what it did. Raises UsageError where neither is given, or what is given cannot be.
    """
    if threshold is None and entries is None:
        raise UsageError("Nothing says how much to prune: give a threshold such as 1e-7, or a number of entries.")
    if threshold is not None and not threshold >= 0:
        raise UsageError(f"The pruning threshold is a growth of the perplexity, 0 or more, not {threshold}. Try 1e-7.")
    if entries is not None and entries < len(table.orders[0]):
        raise UsageError(
            f"{entries:,} entries were asked for, but the {len(table.orders[0]):,} unigrams, one for each type, always "
            "stay. Ask for more entries, or train with a smaller vocabulary."
        )
    longer = suffixes(table)
    costs = _costs(table, longer)
    limit = -np.inf if threshold is None else threshold
    if entries is not None and entries < table.entries:
        ordered, room = np.concatenate(costs[1:]), entries - len(costs[0])
        last = len(ordered) - room - 1  # in ascending order, the dearest that has no room
        limit = max(limit, float(np.partition(ordered, last)[last]))
    keep = [cost > limit for cost in costs]
    return drop(table, keep, _renewed_backoffs(table, longer, keep))


def drop(table: Table, keep: Sequence[np.ndarray], log_backoffs: Sequence[np.ndarray] | None = None) -> Table:
    """The n-grams of ``keep`` alone, renumbered; highest orders of which none stays are left out.

    ``keep``: for each order, bool (G,), by the numbers of ``table``; unigrams stay whatever it says. ``log_backoffs``:
    new weights, float (G,) by the same numbers, for all orders but the highest; by default those of ``table``, which
    then sums to one no longer. Raises ValueError where a kept n-gram would be left without its context or suffix.
    """
    keep = _masks(table, keep)
    longer = suffixes(table)
    for k, (shorter, mask) in enumerate(pairwise(keep), 2):
        orphans = int((~shorter[table.orders[k - 1].context[mask]] | ~shorter[longer[k - 1][mask]]).sum())
        if orphans:
            raise ValueError(f"{orphans:,} n-grams of order {k} would stay without their context or suffix")
    weights = [g.log_backoffs for g in table.orders] if log_backoffs is None else list(log_backoffs)
    highest = max(k for k, mask in enumerate(keep, 1) if mask.any())
    orders: list[Grams] = []
    contexts = np.ones(1, bool)
    for k, (grams, mask) in enumerate(zip(table.orders[:highest], keep, strict=False), 1):
        numbers = _numbers(mask)
        begins = np.append(numbers[grams.begins[:-1]][contexts], numbers[-1])  # who goes has no children that stay
        log_backoffs_k = weights[k - 1][mask].astype(np.float32) if k < highest else np.empty(0, np.float32)
        orders.append(Grams(begins, grams.words[mask], grams.log_probs[mask], log_backoffs_k))
        contexts = mask
    return Table(tuple(orders), table.vocabulary_size)


def close(table: Table, keep: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``keep`` with the contexts and suffixes of what is kept, and all unigrams: bool (G,) for each order."""
    closed = [mask.copy() for mask in _masks(table, keep)]
    longer = suffixes(table)
    for k in range(len(closed), 1, -1):
        grams, mask, shorter = table.orders[k - 1], closed[k - 1], closed[k - 2]
        numbers = _numbers(mask)
        shorter |= np.diff(numbers[grams.begins]) > 0
        shorter[longer[k - 1][mask]] = True
    return closed


def suffixes(table: Table) -> list[np.ndarray]:
    """For each order, int32 (G,): number of the n-gram without its first word, one order below; 0 for order 1.

    Raises ValueError where one is not stored.
    """
    result = [np.zeros(len(table.orders[0]), np.int32)]
    for k, (lower, grams) in enumerate(pairwise(table.orders), 2):
        found = grams.words if k == 2 else _suffixes(lower, grams, result[-1])
        if len(found) and int(found.min()) < 0:
            raise ValueError(f"the suffix of {int((found < 0).sum()):,} n-grams of order {k} is not stored")
        result.append(found)
    return result


def _suffixes(lower: Grams, grams: Grams, outer: np.ndarray) -> np.ndarray:
    """Those of the k-grams, -1 where it is not stored; ``outer``: those of the (k-1)-grams, their contexts."""
    found = np.empty(len(grams), np.int32)
    _in_parts(_find_suffixes, grams, grams.words, outer, lower.begins, lower.words, found)
    return found


def _costs(table: Table, longer: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each order, float64 (G,): the threshold from which each n-gram goes; infinite for unigrams.

    It cannot go before those whose context or suffix it is, so what they cost is its own cost too.
    """
    shares = marginals(table, longer)
    costs = [np.full(len(table.orders[0]), np.inf)]
    for k, (lower, grams) in enumerate(pairwise(table.orders), 1):
        cost = np.empty(len(grams))
        _in_parts(_cost, grams, longer[k], grams.log_probs, lower.log_probs, lower.log_backoffs, shares[k - 1], cost)
        costs.append(cost)
    for k in range(len(costs) - 1, 0, -1):
        _hold(table.orders[k].begins, longer[k], costs[k], costs[k - 1])
    return costs


def _renewed_backoffs(table: Table, longer: Sequence[np.ndarray], keep: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each order but the highest, float32 (G,), nats: the weights of contexts that keep the n-grams of ``keep``."""
    weights = []
    for k, (lower, grams) in enumerate(pairwise(table.orders), 1):
        renewed = lower.log_backoffs.copy()
        _in_parts(_renew, grams, longer[k], grams.log_probs, lower.log_probs, keep[k], renewed)
        weights.append(renewed)
    return weights


def _masks(table: Table, keep: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``keep``, checked, all unigrams in it."""
    lengths = [len(mask) for mask in keep]
    if lengths != [len(grams) for grams in table.orders]:
        raise ValueError(f"masks of {lengths} n-grams for orders of {[len(grams) for grams in table.orders]}")
    return [np.ones(lengths[0], bool), *keep[1:]]


def _numbers(mask: np.ndarray) -> np.ndarray:
    """int32 (G + 1,): how many of those before each are kept, which is the new number of one that is."""
    numbers = np.zeros(len(mask) + 1, np.int32)
    np.cumsum(mask, out=numbers[1:])
    return numbers


def _in_parts(function: Callable[..., None], grams: Grams, *arrays: np.ndarray) -> None:
    """``function(first, last, grams.begins, *arrays)`` for ranges of contexts with about as many n-grams each."""
    contexts = len(grams.begins) - 1
    cuts = np.searchsorted(grams.begins, np.linspace(0, len(grams), 4 * threads() + 1)[1:-1])
    bounds = np.unique(np.concatenate(([0], np.minimum(cuts, contexts), [contexts]))).tolist()
    in_threads(lambda edges: function(*edges, grams.begins, *arrays), pairwise(bounds))


@compiled
def _find_suffixes(first, last, begins, words, outer, lower_begins, lower_words, found):
    """For each child of contexts ``first`` .. ``last - 1``, that of the context's suffix with the same word, or -1."""
    for c in range(first, last):
        low = lower_begins[outer[c]]
        high = lower_begins[outer[c] + 1]
        for n in range(begins[c], begins[c + 1]):
            end = high
            while low < end:  # the first child whose word is not below the one looked for
                middle = (low + end) >> 1
                if lower_words[middle] < words[n]:
                    low = middle + 1
                else:
                    end = middle
            found[n] = low if low < high and lower_words[low] == words[n] else -1


@compiled
def _cost(first, last, begins, suffix, log_probs, lower, log_backoffs, shares, costs):
    """The cost of each child of contexts ``first`` .. ``last - 1``: e^C - 1, C in a form that cancels nothing.

    With p / (N + p) = 1 / (1 + N / p) and (N + q) / q = 1 + D / p(w | h'), both logarithms of C are of 1 + something.
    """
    for c in range(first, last):
        unseen = 1.0
        for n in range(begins[c], begins[c + 1]):
            unseen -= np.exp(np.float64(lower[suffix[n]]))
        unseen = max(unseen, 0.0)
        weight = np.exp(np.float64(log_backoffs[c]))
        left = weight * unseen
        for n in range(begins[c], begins[c + 1]):
            own, shorter = np.exp(np.float64(log_probs[n])), np.exp(np.float64(lower[suffix[n]]))
            same = abs(np.float64(log_probs[n]) - log_backoffs[c] - lower[suffix[n]]) <= SAME
            if same or own == 0.0 or shares[c] == 0.0:
                costs[n] = 0.0
                continue
            change = own * (np.log1p(unseen / shorter) - np.log1p(left / own))
            if left > 0.0:
                change -= left * np.log((left + own) / (left + weight * shorter))
            costs[n] = np.expm1(shares[c] * max(change, 0.0))


@compiled
def _hold(begins, suffix, costs, lower):
    """Raise what contexts and suffixes cost to what those cost that need them."""
    for c in range(len(begins) - 1):
        for n in range(begins[c], begins[c + 1]):
            lower[c] = max(lower[c], costs[n])
            lower[suffix[n]] = max(lower[suffix[n]], costs[n])


@compiled
def _renew(first, last, begins, suffix, log_probs, lower, keep, log_backoffs):
    """Renew the weights of contexts ``first`` .. ``last - 1``, so that each sums to what it did before."""
    for c in range(first, last):
        unseen, gone, freed = 1.0, 0.0, 0.0
        kept = 0
        for n in range(begins[c], begins[c + 1]):
            shorter = np.exp(np.float64(lower[suffix[n]]))
            unseen -= shorter
            if keep[n]:
                kept += 1
            else:
                gone += shorter
                freed += np.exp(np.float64(log_probs[n]))
        if kept == 0:
            log_backoffs[c] = 0.0
        elif kept < begins[c + 1] - begins[c]:
            unseen = max(unseen, 0.0)
            weight = np.exp(np.float64(log_backoffs[c]))
            log_backoffs[c] = np.log((weight * unseen + freed) / (unseen + gone))
