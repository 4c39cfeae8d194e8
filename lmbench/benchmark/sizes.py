"""``1e4,100k,full`` -> how many tokens each model is trained on, and a job of each model at each size."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lmbench.errors import UsageError

if TYPE_CHECKING:
    from lmbench.benchmark.plan import Job

FULL = "full"
"""The whole training split, as a size."""
LEAST = 1000
"""Tokens below which a model learns next to nothing, and two samples of a text have little in common."""
Sizes = tuple[int | str, ...]
"""Numbers of tokens that rise; the last may be ``full``."""


def read_sizes(given: Any) -> Sizes:
    """The sizes that a user names, in a list or separated by commas. Raises UsageError for what cannot be.

    >>> read_sizes("1e4, 30k, 1.5m, full")
    (10000, 30000, 1500000, 'full')
    """
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if not isinstance(given, list | tuple) or not given:
        raise UsageError(f'train_sizes must be a list such as [10000, 100000, "full"], not {given!r}.')
    sizes = tuple(map(_size, given))
    if any(_amount(one) >= _amount(other) for one, other in pairwise(sizes)):
        raise UsageError(
            f"train_sizes must rise, and {', '.join(map(_written, sizes))} do not. Write the smallest first, each "
            "once, full last."
        )
    return sizes


def in_tokens(sizes: Sizes, events: int, corpus: str) -> tuple[tuple[int, ...], list[str]]:
    """The sizes in tokens of a training split of ``events``, the whole of it for any that is larger; and what to tell
    of those."""
    larger = [_written(size) for size in sizes if size != FULL and _amount(size) > events]
    told = f"{' and '.join(larger)} tokens are more than the {events:,} of the training split of {corpus}: all of it"
    return tuple(dict.fromkeys(int(min(_amount(size), events)) for size in sizes)), [told] if larger else []


def at_each_size(jobs: Sequence[Job], sizes: Sequence[int]) -> list[Job]:
    """Every job at every size, the smallest first, each with a folder of its own: ``lstm.10000``, ``lstm.10000.seed2``.

    What is made of other models comes after them at each size, as among ``jobs``.
    """
    return [dataclasses.replace(job, train_tokens=size, folder=_folder(job, size)) for size in sizes for job in jobs]


def _folder(job: Job, size: int) -> str:
    seed = f".seed{job.seed}"
    seed = seed if job.folder.endswith(seed) else ""
    return f"{job.folder.removesuffix(seed)}.{size}{seed}"


def _size(given: Any) -> int | str:
    """One size: a number, also as text with an exponent, k or m, or ``full``."""
    text = str(given).strip().lower()
    if text == FULL:
        return FULL
    match = re.fullmatch(r"(\d[\d_]*(?:\.\d+)?(?:e\+?\d+)?)([km]?)", text)
    if isinstance(given, bool) or match is None:
        raise UsageError(f"'{given}' is not a training size. Write a number of tokens, 10000, 1e4, 10k or 1m, or full.")
    number = float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2]]
    if number < LEAST or not math.isfinite(number):
        raise UsageError(f"A training size is a number of tokens, at least {LEAST:,}, not {given}.")
    return round(number)


def _amount(size: int | str) -> float:
    return math.inf if size == FULL else float(size)


def _written(size: int | str) -> str:
    return size if isinstance(size, str) else f"{size:,}"
