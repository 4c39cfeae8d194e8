"""A text, a budget and a device -> the width of a network that suits them, and how often it will read the text."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lmbench.corpus.batches import Tokens
from lmbench.training.budget import Budget
from lmbench.training.devices import resolve_precision

EVENTS_PER_STEP = 1000
"""Roughly, with the usual batch sizes and sequence lengths."""
WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024)
RATES_OF_A_CORE = {torch.float32: 4e10, torch.bfloat16: 8.5e10}
"""Floating-point operations a second that training reaches on a core, by the precision of its matrix products, in
round numbers: half of what was measured on two."""
RATES = {"cpu": 2 * RATES_OF_A_CORE[torch.bfloat16], "cuda": 2e13, "mps": 1e12}
"""The same of two cores that multiply bfloat16, and of one card."""
CORES = 8
"""More of them than this hardly make small matrices faster."""
USED_TYPES = 10_000
"""Types that are used often enough for their vectors to be learnt well, in round numbers."""


def affordable_width(
    work: Callable[[int], int],
    softmax_work: Callable[[int], float],
    train: Tokens,
    budget: Budget,
    device: torch.device,
) -> int:
    """The width that suits a text and a budget.

    ``work``, ``softmax_work``: width -> multiply-adds of one event. Compute-optimal training spends operations
    C in equal parts on a larger network and on more text (Hoffmann et al. 2022): multiply-adds an event grow
    with the square root of C. The factor, 0.35, fits what was best on validation of Penn Treebank words (width 256
    after 420 s on two cores that multiply bfloat16) and Shakespeare's characters (384 after 150 s). No network is
    wider than 640 on less than 5 million events, which it would only learn by heart. A budget in steps or epochs is
    taken for ten minutes on those cores, whatever the processor: it gives the same network everywhere.

    Vectors of rare words cost as much as others but are hardly learnt from: they make a network slower, not larger.
    Where of V types only U = 10,000 count as size, the same law makes the size w U grow with the square root of
    C U / V, so the width w with that of C / (U V): the softmax is taken for one over sqrt(U V) types.
    """
    operations = training_rate(device) * budget.seconds if budget.seconds else 600 * RATES[device.type]
    ideal = 0.35 * operations**0.5
    widest = 640 if train.events < 5_000_000 else WIDTHS[-1]
    learnt = min(1.0, (USED_TYPES / train.vocabulary_size) ** 0.5)
    fitting = [w for w in WIDTHS if w <= widest and work(w) + learnt * softmax_work(w) <= 1.1 * ideal]
    return max(fitting, default=WIDTHS[0])


def usual_dropout(passes: float, none_below: float) -> float:
    """What suited networks that read a text so often, on validation; none below a number of passes that is their own.

    On Shakespeare's characters none was better up to four for networks that see a few tokens. Recurrent ones gain by
    none within the first; at two, three seeds of an LSTM show no difference.
    """
    return 0.0 if passes < none_below else 0.1 if passes < 6 else 0.2 if passes < 12 else 0.4


def training_rate(device: torch.device) -> float:
    """What this machine reaches of ``RATES``: always the same number, so that it always chooses the same sizes."""
    if device.type != "cpu":
        return RATES[device.type]
    return RATES_OF_A_CORE[resolve_precision("auto", device)] * min(torch.get_num_threads(), CORES)


def expected_passes(work: float, train: Tokens, budget: Budget, device: torch.device) -> float:
    """How often the text will be read within ``budget``, ``work`` being the multiply-adds of one event."""
    if budget.epochs is not None:
        return budget.epochs
    if budget.steps is not None:
        return budget.steps * EVENTS_PER_STEP / train.events
    operations = 6 * work * train.events  # forward, and backward to inputs and weights, two operations each
    return training_rate(device) * (budget.seconds or 600.0) / operations
