"""Tokens -> fewer tokens of the same text: what a model would have learnt from, had there been less.

::

    text      |  1  |  2  |  3  |  4  |  5  |  6  |  7  |  8  |      runs of about 500 tokens, whole sentences
    order     6 2 7 4 1 8 3 5                                       drawn once, by the seed
    smaller         |  2  |                 |  6  |                  the first of that order, in the order of the text
    larger          |  2  |     |  4  |     |  6  |  7  |            holds all of the smaller

The first tokens of a text would not do: a newspaper drifts, a novel has chapters, so the beginning is another text than
the whole. Single sentences would not do either: networks read on across them, and would find at small sizes neighbours
that have nothing to say to each other.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np

from lmbench.corpus.batches import Tokens

RUN = 500
"""Tokens in a run, roughly: longer than most of what a model uses of its history, short enough that a thousand
tokens come from two places."""


def subset(tokens: Tokens, size: int, seed: int) -> Tokens:
    """``size`` of the ``tokens``, or one fewer where the last would make an empty sentence; all, if they are no more.

    The same ``seed`` gives subsets that are nested: whatever is in a smaller one is in every larger one. The last run
    is cut where the size is reached, and so is a unit much longer than a run; a boundary ends each piece.
    """
    if size >= tokens.events:
        return tokens
    cuts = _cuts(tokens)
    runs = [tokens.ids[start + 1 : end + 1] for start, end in pairwise(cuts)]
    order = np.random.default_rng(seed).permutation(len(runs))
    totals = np.cumsum([_closed(runs[number]).size for number in order])
    whole = int(np.searchsorted(totals, size, "right"))
    left = size - int(totals[whole - 1] if whole else 0)
    chosen = {int(number): runs[number] for number in order[:whole]}
    if left > 1:
        chosen[int(order[whole])] = runs[order[whole]][: left - 1]
    pieces = [_closed(chosen[number]) for number in sorted(chosen)]
    return dataclasses.replace(tokens, ids=np.concatenate([tokens.ids[:1], *pieces]))


def _cuts(tokens: Tokens) -> list[int]:
    """Positions in ``ids`` after which runs begin, the first 0: ends of units, or the middle of a very long one."""
    wanted = np.arange(RUN, tokens.events, RUN)
    following = tokens.ends[np.searchsorted(tokens.ends, wanted)]
    cuts = np.where(following - wanted < RUN, following, wanted)
    return np.unique(np.concatenate([[0], cuts, [tokens.events]])).tolist()


def _closed(run: np.ndarray) -> np.ndarray:
    """``run`` with a boundary at its end."""
    return run if run[-1] == 0 else np.append(run, run.dtype.type(0))
