"""The folders of runs -> one pandas DataFrame: a row a model, seed and run, to plot and to compute with."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from lmbench.benchmark.results import COLUMNS, Result, RunFolder
from lmbench.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

WHERE = (("corpus", "name"), ("tokenizer", "spec"))
"""Where metrics.json says what the text was, and how it was cut into tokens."""
TYPES = {"float | None": "float64", "int | None": "Int64"}
"""Columns keep their type where all that stands in them is missing."""


def load_results(*runs: str | Path) -> DataFrame:
    """All results of the ``runs``, one below the other, failed ones too.

    Columns: ``run``, the folder as it was named; ``corpus`` and ``tokenizer``, as the run had them; then the fields of
    ``Result``, as in ``table.csv``. What does not apply is missing (NaN, ``<NA>``). Perplexities may be set against
    each other where ``comparison`` is equal. Raises ResultsError where a folder is not that of a run, and UsageError
    where none is named.

    ``lmbench.load_results("results/ptb", "results/zh").groupby("corpus").perplexity.min()``
    """
    import pandas

    if not runs:
        raise UsageError("No run is named: load_results('results/first', ...) takes folders that lmbench run wrote.")
    rows = []
    for run in runs:
        folder = RunFolder(run)
        facts = folder.read_facts()
        shared = (str(run), *((facts.get(part) or {}).get(name) for part, name in WHERE))
        rows += [(*shared, *(getattr(result, name) for name in COLUMNS)) for result in folder.read_results()]
    frame = pandas.DataFrame(rows, columns=["run", "corpus", "tokenizer", *COLUMNS])
    return frame.astype({field.name: TYPES[str(field.type)] for field in fields(Result) if str(field.type) in TYPES})
