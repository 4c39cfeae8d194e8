"""Loops over arrays -> machine code; independent parts of a work -> threads.

A loop that numpy cannot express without temporary arrays is written as a plain function over arrays and decorated
with ``compiled``: numba translates it at its first call and keeps the result on disk, so that later processes load it
in milliseconds. Compiled functions release the interpreter's lock, so parts of a work run side by side
by ``in_threads``. Numbers never depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numba

Part = TypeVar("Part")
Result = TypeVar("Result")


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as machine code, without checks of bounds: whoever calls it answers for its indices.

    Division follows IEEE 754 (a zero divisor gives infinity or NaN, not an exception).
    """
    translate = numba.njit(nogil=True, error_model="numpy", cache=True)
    try:
        return translate(function)
    except RuntimeError:  # no folder for the translation can be written: it is made anew in each process
        return numba.njit(nogil=True, error_model="numpy")(function)


def threads() -> int:
    """How many threads this process may run at once."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not known on every system
        return os.cpu_count() or 1


def in_threads(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """``[function(part) for part in parts]``, side by side; an exception in one of them is raised here.

    >>> in_threads(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    parts = list(parts)
    if len(parts) < 2 or threads() < 2:
        return [function(part) for part in parts]
    with ThreadPoolExecutor(min(len(parts), threads())) as pool:
        return list(pool.map(function, parts))
