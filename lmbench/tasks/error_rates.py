"""Hypotheses + references -> substitutions, insertions, deletions: word and character error rates.

Hypothesis and reference are aligned with the fewest edits (Levenshtein 1966), each of which costs one::

    rate = (substitutions + insertions + deletions) / length of the references

Where several alignments have as few edits, one of them decides how these are shared among the three kinds; the rate is
the same. sclite charges a substitution 4 and the others 3, so its three counts may differ by a few.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein

from lmbench.corpus.segmentation import is_unsegmented_han

Unit = Literal["word", "character"]


@dataclass(frozen=True)
class Errors:
    """Edits of utterances: int64 arrays of one shape. ``lengths``: units of the references."""

    substitutions: np.ndarray
    insertions: np.ndarray
    deletions: np.ndarray
    lengths: np.ndarray

    @cached_property
    def edits(self) -> np.ndarray:
        """int64: all edits of each utterance."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Edits for each unit of the references; NaN where these are empty."""
        length = int(self.lengths.sum())
        return float(self.edits.sum()) / length if length else float("nan")

    def of(self, chosen: np.ndarray) -> Errors:
        """Those of some utterances, by index."""
        return Errors(*(part[chosen] for part in self._parts))

    def picked(self, hypotheses: np.ndarray) -> Errors:
        """Of arrays (U, N) those of one hypothesis for each utterance; ``hypotheses``: int64 (U,)."""
        return Errors(*(np.take_along_axis(part, hypotheses[:, None], 1)[:, 0] for part in self._parts))

    def reshaped(self, shape: tuple[int, ...]) -> Errors:
        """The same numbers in arrays of another shape."""
        return Errors(*(part.reshape(shape) for part in self._parts))

    @property
    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.substitutions, self.insertions, self.deletions, self.lengths


def count_errors(hypotheses: Sequence[str], references: Sequence[str], unit: Unit = "word") -> Errors:
    """Align each hypothesis with its reference.

    ``unit``: ``word``, what stands between white space; ``character``, white space left out.

    >>> count_errors(["i sea it now"], ["i see now"]).rate  # one substitution and one insertion of three words
    0.6666666666666666
    """
    counts = np.zeros((4, len(references)), np.int64)
    for column, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        said = units(reference, unit)
        counts[3, column] = len(said)
        if hypothesis != reference:
            edits = Counter(edit.tag for edit in Levenshtein.editops(said, units(hypothesis, unit)))
            counts[:3, column] = edits["replace"], edits["insert"], edits["delete"]
    return Errors(*counts)


def units(text: str, unit: Unit) -> Sequence[str]:
    """What is counted of a text.

    >>> list(units("我 们", "character"))
    ['我', '们']
    """
    words = text.split()
    return words if unit == "word" else "".join(words)


def usual_unit(texts: Sequence[str]) -> Unit:
    """``character`` for Chinese text without spaces, in which a word is not told from its neighbours; else ``word``."""
    return "character" if is_unsegmented_han(texts) else "word"
