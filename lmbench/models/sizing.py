"""A text, a budget and a device -> the width of a network that suits them, and how often it will read the text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache

import torch

from lmbench.corpus.batches import Tokens
from lmbench.training.budget import Budget
from lmbench.training.devices import resolve_precision
from lmbench.training.distributed import processes

EVENTS_PER_STEP = 1000
"""Roughly, with the usual batch sizes and sequence lengths."""
WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024)
RATES = {"cpu": 1.7e11, "cuda": 2e13, "mps": 1e12}
"""Floating-point operations a second that training reaches, in round numbers, on two common cores that multiply
bfloat16, and on a card."""
SHARE = 0.31
"""Training is taken to reach so much of the rate of a large product, rounded to a power of two: 1.7e11 of 2^39. It
was 0.3 to 0.5, by the family, on two cores that multiply bfloat16 at 9e11."""
BUILT = 1.25
"""So many times as often the text is read in minutes where torch.compile builds the steps: 1.22 for gpt and 1.30 for
mingru in 420 seconds on two cores, what it takes to build them included. The size stays what it would be without."""
CORES = 8
"""More of them than this hardly make small matrices faster."""
USED_TYPES = 10_000
"""Types that are used often enough for their vectors to be learnt well, in round numbers."""


def affordable_operations(budget: Budget, device: torch.device) -> float:
    """Floating-point operations that a training will cost. A budget in steps or epochs is taken for ten minutes on two
    common cores, whatever the machine: it gives the same network everywhere."""
    return training_rate(device) * budget.seconds if budget.seconds else 600 * RATES[device.type]


def affordable_width(
    work: Callable[[int], int], softmax_work: Callable[[int], float], train: Tokens, operations: float
) -> int:
    """The width that suits a text and what a training may cost.

    ``work``, ``softmax_work``: width -> multiply-adds of one event. Compute-optimal training spends operations
    C in equal parts on a larger network and on more text (Hoffmann et al. 2022): multiply-adds an event grow
    with the square root of C. The factor, 0.35, fits what was best on validation of Penn Treebank words (width 256
    after 420 s on two cores that multiply bfloat16) and Shakespeare's characters (384 after 150 s). No network is
    wider than 640 on less than 5 million events, which it would only learn by heart.

    Vectors of rare words cost as much as others but are hardly learnt from: they make a network slower, not larger.
    Where of V types only U = 10,000 count as size, the same law makes the size w U grow with the square root of
    C U / V, so the width w with that of C / (U V): the softmax is taken for one over sqrt(U V) types.
    """
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
    """Floating-point operations a second that training will reach here; on a CPU, from what it multiplies at, since
    processors of one name differ by a factor of five.

    The rate of a product is rounded to a power of two, so that a machine which is measured again nearly always chooses
    the same sizes. They are written in the table, and a training that goes on keeps those it began with.
    """
    if device.type != "cpu":
        return RATES[device.type]
    threads = torch.get_num_threads()
    rate = 2 ** round(math.log2(product_rate(resolve_precision("auto", device), threads)))
    return processes().mean(SHARE * rate * min(1.0, CORES / threads))


@cache
def product_rate(precision: torch.dtype, threads: int) -> float:
    """Floating-point operations a second of a product of 1024 x 1024 on as many ``threads`` as torch has, the fastest
    of five, measured once."""
    matrix, seconds = torch.ones(1024, 1024, dtype=precision), []
    for _ in range(6):
        began = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(seconds[1:])


def expected_passes(work: float, train: Tokens, budget: Budget, operations: float) -> float:
    """How often the text will be read within ``budget``, ``work`` being the multiply-adds of one event, ``operations``
    what all will cost."""
    if budget.epochs is not None:
        return budget.epochs
    if budget.steps is not None:
        return budget.steps * EVENTS_PER_STEP / train.events
    return operations / (6 * work * train.events)  # forward, and backward to inputs and weights, two operations each
