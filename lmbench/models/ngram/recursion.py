"""Counts of one order, what is taken from them and what is added -> probabilities and backoff weights of that order.

Every smoothing method answers the same two questions: how much of a history's probability its seen words keep, and how
what is left reaches the shorter history h', which is h without its oldest word. With c the counts, ``taken`` a discount
for each count, and e(h) occurrences that are added without being seen::

    kept(w | h) = (c(hw) - taken(c(hw))) / (sum_v c(hv) + e(h))         left(h) = 1 - sum_v kept(v | h)

    interpolated    p(w | h) = kept(w | h) + left(h) p(w | h')          b(h) = left(h)
    backoff         p(w | h) = kept(w | h)  where hw is stored,         b(h) = left(h) / (1 - sum_v p(v | h')),
                               b(h) p(w | h')  elsewhere                v over the stored words after h

The sum takes in all words seen after h, those too that a cutoff drops: their whole count is left to h'. Below the
unigrams stands ``base``, a distribution that says what an unseen word is worth; unigrams are always interpolated
with it, so that both forms know every word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from lmbench.compiled import compiled, in_threads, threads
from lmbench.models.ngram.counting import GramCounts

Allocate = Callable[[int, Any], np.ndarray]
"""Length and type -> a large array, ``np.empty`` unless it is to lie elsewhere, as in a file."""

INTERPOLATED, BACKOFF, FIXED = 0, 1, 2
FORMS = {"interpolated": INTERPOLATED, "backoff": BACKOFF, "fixed": FIXED}
"""``fixed``: as ``backoff``, but every b(h) is the same given number, so that nothing sums to one."""
NOTHING = np.zeros(1)
TINY = 1e-9
"""What the words not seen after a history have under the shorter one, below which it counts as nothing."""


@dataclass(frozen=True)
class Rule:
    """What a method does with the n-grams of one order.

    ``counts``: int32 (G,), c. ``taken``: float64 (m,), discount of a count of 0, 1, ... and, in the last place, of
    all higher ones. What is added to a history that was followed by n words, T different ones, is ``constant`` +
    ``per_type`` T + ``ratios[j]`` n, where j is the number of binary digits of n less one, at most the last: float64
    (B,). ``reserve`` is added where nothing would be left although the shorter history knows further words.
    """

    counts: np.ndarray
    taken: np.ndarray = field(default_factory=lambda: NOTHING)
    constant: float = 0.0
    per_type: float = 0.0
    ratios: np.ndarray = field(default_factory=lambda: NOTHING)
    reserve: float = 0.0


def apply(
    rule: Rule,
    grams: GramCounts,
    shorter: np.ndarray,
    lower: np.ndarray,
    form: str = "interpolated",
    *,
    cutoff: int = 0,
    weight: float = 1.0,
    allocate: Allocate = np.empty,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(probabilities, log_probs, log_backoffs)`` of one order: float64 (G,), float32 (G,), float32 (C,) by context.

    ``shorter``: int32 (G,), for each n-gram hw the place of p(w | h') in ``lower``, float64: its suffix in what this
    function gave for the order below, or its last word in ``base``.
    ``cutoff``: n-grams seen no more often than that are dropped; what is given for them means nothing. ``weight``:
    b(h) of the form ``fixed``. Threads share the contexts, so numbers do not depend on them.
    """
    probabilities = allocate(len(grams), np.float64)
    log_probs, log_backoffs = allocate(len(grams), np.float32), allocate(len(grams.begins) - 1, np.float32)
    by_gram = [np.asarray(a) for a in (rule.counts, grams.raw, shorter)]
    method = (rule.taken, float(rule.constant), float(rule.per_type), rule.ratios, float(rule.reserve))
    settings = (int(cutoff), FORMS[form], float(weight))
    outputs = [np.asarray(a) for a in (probabilities, log_probs, log_backoffs)]
    begins, contexts = np.asarray(grams.begins), len(grams.begins) - 1
    cuts = np.searchsorted(begins, np.linspace(0, len(grams), 4 * threads() + 1)[1:-1])
    bounds = np.unique(np.concatenate(([0], np.minimum(cuts, contexts), [contexts]))).tolist()

    def part(edges: tuple[int, int]) -> None:
        first, last = edges
        _estimate(begins[first : last + 1], *by_gram, lower, *method, *settings, *outputs[:2], outputs[2][first:last])

    in_threads(part, pairwise(bounds))
    return probabilities, log_probs, log_backoffs


@compiled
def _estimate(
    begins, counts, raw, suffix, lower, taken, constant, per_type, ratios, reserve, cutoff, form, weight,
    probabilities, log_probs, log_backoffs,
):  # fmt: skip
    """The equations of this module, for the children of each context."""
    top = len(taken) - 1
    plain = (
        form == INTERPOLATED and cutoff == 0
    )  # a method that only takes, as Kneser-Ney does, needs no more than seen
    plain = plain and constant == 0 and per_type == 0 and reserve == 0 and len(ratios) == 1
    for c in range(len(begins) - 1):
        begin, end = begins[c], begins[c + 1]
        seen, left = 0.0, 0.0
        for n in range(begin, end):
            seen += counts[n]
            left += taken[min(counts[n], top)]
        if seen == 0:
            scale, share, backoff = 1.0, 1.0, 1.0  # all is left to the shorter history
        elif plain:
            scale = 1 / seen
            share = left * scale
            backoff = share
        else:
            scale, share, backoff = _settle(
                counts[begin:end], raw[begin:end], suffix[begin:end], lower, taken,
                constant, per_type, ratios, reserve, cutoff, form, weight, seen, left,
            )  # fmt: skip
        log_backoffs[c] = np.log(backoff)
        below = share if form == INTERPOLATED else 0.0
        for n in range(begin, end):
            probabilities[n] = (counts[n] - taken[min(counts[n], top)]) * scale + below * lower[suffix[n]]
            log_probs[n] = np.log(probabilities[n])


@compiled
def _settle(counts, raw, suffix, lower, taken, constant, per_type, ratios, reserve, cutoff, form, weight, seen, left):
    """For the children of one context: 1 / total, the share that is left, and the backoff weight."""
    known, types, stored, digit = 0.0, 0, 0, 0
    for n in range(len(counts)):
        types += counts[n] > 0
        if cutoff > 0 and raw[n] <= cutoff:
            left += counts[n] - taken[min(counts[n], len(taken) - 1)]
        elif counts[n] > 0:
            stored += 1
            known += lower[suffix[n]]
    while digit < len(ratios) - 1 and seen >= 2 << digit:
        digit += 1
    added = constant + per_type * types + ratios[digit] * seen
    if left + added == 0 and 1 - known > TINY:
        added = reserve
    scale = 1 / (seen + added)
    share = (left + added) * scale
    backoff = share
    if stored == 0:  # all were dropped
        backoff = 1.0
    elif form == FIXED:
        backoff = weight
    elif form == BACKOFF and 1 - known > TINY:
        backoff = share / (1 - known)
    elif form == BACKOFF:  # nobody is there to take what is left: those who are seen share it
        backoff = 1.0
        scale /= 1 - share
    return scale, share, backoff
