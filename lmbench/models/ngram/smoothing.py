"""``Counts`` + the name of a smoothing method -> ``Table``: one pass over the orders serves every method.

``methods`` says what each does with the counts of an order, ``recursion`` turns that into probabilities on top of the
order below, ``heldout`` finds the settings that only other text can tell. Here they are put together, n-grams that a
cutoff drops are left out, and the distribution below the unigrams is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts
from lmbench.models.ngram.discounts import FALLBACK, FALLBACK_ONE, Discounts, check_discounts, estimate_discounts
from lmbench.models.ngram.heldout import interpolation_weights, sightings
from lmbench.models.ngram.methods import METHODS, Given
from lmbench.models.ngram.pruning import drop
from lmbench.models.ngram.recursion import Allocate, apply
from lmbench.models.ngram.table import Grams, Table

__all__ = [
    "FALLBACK",
    "METHODS",
    "Discounts",
    "base_distribution",
    "estimate",
    "estimate_discounts",
    "modified_kneser_ney",
]

STUPID_WEIGHT = 0.4
"""What an unseen word keeps of its score under the shorter history (Brants et al. 2007)."""


def modified_kneser_ney(
    counts: Counts, discounts: Sequence[Discounts] | None = None, note: Callable[[str], None] | None = None
) -> Table:
    """Interpolated modified Kneser-Ney estimates of all orders.

    ``discounts``: those of orders 1, 2, ... if they are to be taken as given. ``note`` is told, once, at which
    orders the fallback discounts were used. Raises UsageError where given discounts are too few, or a D_j is not
    above 0 and at most j.
    """
    return estimate(counts, "modified-kneser-ney", discounts=discounts, note=note)


def estimate(
    counts: Counts,
    name: str,
    form: str | None = None,
    *,
    discounts: Sequence[Sequence[float]] | None = None,
    k: float = 1.0,
    types: int | None = None,
    base: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
    cutoffs: Sequence[int] | None = None,
    note: Callable[[str], None] | None = None,
    allocate: Allocate = np.empty,
) -> Table:
    """Estimates of all orders by the method ``name`` of ``METHODS``, in its ``form``, by default its usual one.

    ``discounts``: of orders 1, 2, ..., for the methods that have them, if they are to be taken as given. ``k``: what
    add-k adds for each of the ``types``, by default V. ``base``: float64 (V,), the distribution below the unigrams, by
    default uniform. ``held_out``: int32 (N,), tokens for the weights of Jelinek-Mercer. ``cutoffs``: n-grams of order
    1, 2, ... seen no more often than that are dropped, the last holding for all further orders. ``note`` is told, once,
    at which orders a fallback was used. ``allocate`` makes the arrays of the table.

    Raises UsageError for discounts that are too few or impossible, and where a method needs held-out text it lacks.
    """
    method = METHODS[name]
    form = form or method.forms[0]
    base = np.full(counts.vocabulary_size, 1 / counts.vocabulary_size) if base is None else base
    if discounts is not None:
        check_discounts(discounts, len(counts.orders), method.discounts, whole=form != "backoff")
    given = Given(discounts=discounts, backoff=form == "backoff", added=k * (types or counts.vocabulary_size))
    if name == "jelinek-mercer":
        if held_out is None:
            raise UsageError("The weights of jelinek-mercer come from held-out text: give the tokens of a valid split.")
        given = replace(given, weights=interpolation_weights(sightings(counts, held_out), base))
    cuts = _cutoffs(cutoffs, method.singletons, len(counts.orders))
    tables: list[Grams] = []
    lower = base  # p(w | h') of the order below, by n-gram number; of words, below the unigrams
    for order, (grams, cutoff) in enumerate(zip(counts.orders, cuts, strict=True), 1):
        rule = method.rule(counts, order, given)
        ways = "interpolated" if order == 1 else form, grams.suffix if order > 1 else grams.words
        probabilities, log_probs, log_backoffs = apply(
            rule, grams, ways[1], lower, ways[0], cutoff=cutoff, weight=STUPID_WEIGHT, allocate=allocate
        )
        if name == "add-k" and order < counts.order:
            _forget(counts, order, base, probabilities, log_probs, log_backoffs)
        if name == "stupid-backoff" and order == 1:
            _stupid_unigrams(grams.raw, base, probabilities, log_probs)
        if order > 1:
            tables[-1] = replace(tables[-1], log_backoffs=log_backoffs)
        tables.append(Grams(grams.begins, grams.words, log_probs, np.empty(0, np.float32)))
        lower = probabilities
    if given.fallen and note:
        note(_fallback(name, method.discounts, given.fallen))
    table = Table(tuple(tables), counts.vocabulary_size)
    return drop(table, [o.raw > cut for o, cut in zip(counts.orders, cuts, strict=True)]) if any(cuts) else table


def base_distribution(
    counts: Counts, unknown: int | None, *, floor: bool = True, closed: bool = False, types: int | None = None
) -> np.ndarray:
    """What stands below the unigrams, float64 (V,), summing to one.

    Uniform over all V types, as KenLM has it. With more ``types`` than V, uniform over those, of which ``unknown``
    (``<unk>``) stands for all that are not ours. ``closed``: ``<unk>`` has nothing. Without a ``floor``, all goes to
    ``<unk>``, as with lmplz --interpolate_unigrams 0; where there is none, to each word by its count.
    """
    size = counts.vocabulary_size
    raw = counts.orders[0].raw
    base = np.zeros(size)
    if not floor and not closed and unknown is not None:
        base[unknown] = 1.0
    elif not floor:
        base = raw / raw.sum(dtype=np.int64)
    else:
        base[:] = 1.0
        if unknown is not None:
            base[unknown] = 0.0 if closed else (types or size) - size + 1
        base /= base.sum()
    return base


def _forget(
    counts: Counts, order: int, base: np.ndarray, probabilities: np.ndarray, log_probs: np.ndarray, backoffs: np.ndarray
) -> None:
    """Leave ``base`` to all n-grams of an order below the highest whose history is not that of a whole sentence."""
    grams = counts.orders[order - 1]
    probabilities[grams.opening :] = base[grams.words[grams.opening :]]
    with np.errstate(divide="ignore"):
        log_probs[grams.opening :] = np.log(probabilities[grams.opening :])
    if order > 1:
        backoffs[1 if order == 2 else counts.orders[order - 2].opening :] = 0.0


def _stupid_unigrams(raw: np.ndarray, base: np.ndarray, scores: np.ndarray, log_scores: np.ndarray) -> None:
    """c(w) / N, and for words that were not seen the weight times ``base``."""
    scores[raw == 0] = STUPID_WEIGHT * base[raw == 0]
    with np.errstate(divide="ignore"):
        log_scores[:] = np.log(scores)


def _cutoffs(given: Sequence[int] | None, singletons: int | None, orders: int) -> list[int]:
    """The cutoff of each order."""
    if not given:
        return [int(singletons is not None and order >= singletons) for order in range(1, orders + 1)]
    return [given[min(order, len(given)) - 1] for order in range(1, orders + 1)]


def _fallback(name: str, discounts: int, fallen: list[int]) -> str:
    """The one note on orders whose counts of counts gave no discount."""
    orders = ", ".join(map(str, fallen))
    if name == "good-turing":
        return (
            f"The counts of order {orders} give no Good-Turing discount for some count (too few n-grams were seen that "
            "often, or more were seen once more): n-grams with such a count keep it whole."
        )
    numbers = ", ".join(f"{d:g}" for d in FALLBACK) if discounts == 3 else f"{FALLBACK_ONE:g}"
    kind, stand = ("discount", "stands") if discounts == 1 else ("discounts", "stand")
    title = "absolute" if name == "absolute" else "Kneser-Ney"
    seen = "once, twice or three times" if discounts == 3 else "once or twice"
    return (
        f"The counts of order {orders} give no {title} {kind} (too few n-grams were seen {seen}); "
        f"{numbers} {stand} in for {'it' if discounts == 1 else 'them'}."
    )
