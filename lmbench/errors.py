"""What went wrong -> one paragraph a user can act on.

::

    LmbenchError               anything this package raises on purpose
    |-- UsageError             a name, key, value or option that cannot be (also a ValueError)
    |-- CorpusError            text that cannot be found, read, decoded or split
    |-- ModelError             a model that cannot be built, fitted, saved or loaded
    |   `-- TrainingError      a fit that broke off: out of memory, no data
    |       `-- DivergenceError    the loss or the gradient is no number any more
    `-- ResultsError           a run folder that cannot be written, read or resumed

Every message says what was asked, what was found and where, and what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

FULL = re.compile(r"can't allocate memory|out of memory|ALLOC_FAILED")
"""How a full memory is told in a plain RuntimeError: by torch on a CPU, on a card, and by the libraries of CUDA."""


class LmbenchError(Exception):
    """Root of the tree; the command line prints its message and exits with status 2."""


class UsageError(LmbenchError, ValueError):
    """A name, key, value or option that cannot be."""


class CorpusError(LmbenchError):
    """Text that cannot be found, read, decoded or split."""


class ModelError(LmbenchError):
    """A model that cannot be built, fitted, saved or loaded."""


class TrainingError(ModelError):
    """A fit that broke off: out of memory, no data."""


class DivergenceError(TrainingError):
    """The loss or the gradient is no number any more, or the loss far above that of guessing. ``best``: whether the
    network holds the weights that were best until then."""

    best = False


class ResultsError(LmbenchError):
    """A run folder that cannot be written, read or resumed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a ``name`` that is none of the ``known`` ones, with the nearest of them.

    >>> str(unknown_name("model", "lsmt", ["lstm", "gpt"]))
    "There is no model 'lsmt'. Did you mean 'lstm'? Known: gpt, lstm."
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UsageError(f"There is no {kind} '{name}'.{hint} Known: {', '.join(names)}.")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says, in one of many forms, that memory is full."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(FULL.search(str(error))))


def counted(number: int, noun: str) -> str:
    """A number of things, as a message names them.

    >>> counted(1, "line"), counted(3, "line")
    ('1 line', '3 lines')
    """
    return f"{number} {noun}{'s' * (number != 1)}"
