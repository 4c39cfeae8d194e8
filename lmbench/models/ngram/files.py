"""``Table`` <-> one file, mapped into memory when it is opened."""

from __future__ import annotations

from pathlib import Path

from lmbench.models.arrays import map_arrays
from lmbench.models.ngram.table import Grams, Table
from lmbench.training.checkpoints import write_arrays

NAMES = ("begins", "words", "log_probs", "log_backoffs")


def save_table(path: Path, table: Table) -> None:
    """Write ``table`` to ``path``, whole or not at all."""
    arrays = {f"{name}.{k}": getattr(grams, name) for k, grams in enumerate(table.orders, 1) for name in NAMES}
    write_arrays(path, arrays)


def load_table(path: Path, vocabulary_size: int) -> Table:
    """The table in ``path``, mapped, not read. Raises OSError or ValueError where it is missing or damaged."""
    arrays = map_arrays(path)
    highest = sum(name.startswith("words.") for name in arrays)
    missing = [f"{n}.{k}" for k in range(1, highest + 1) for n in NAMES if f"{n}.{k}" not in arrays]
    if missing or not highest:
        raise ValueError(f"the arrays {', '.join(missing) or 'of n-grams'} are missing")
    orders = [Grams(*(arrays[f"{name}.{k}"] for name in NAMES)) for k in range(1, highest + 1)]
    table = Table(tuple(orders), vocabulary_size)
    table.check()
    return table
