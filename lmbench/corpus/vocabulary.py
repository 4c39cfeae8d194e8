"""Counts of types -> ``Vocabulary``: types <-> ids.

Id 0 is always the boundary ``</s>``. Where a vocabulary can meet a type that it does not hold,
id 1 is ``<unk>``; closed alphabets (bytes) have none. The other types follow by falling count,
equal counts in code-point order, so that the same counts always give the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

import numpy as np

from lmbench.errors import CorpusError, UsageError

BOUNDARY = "</s>"
UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Vocabulary:
    """The types of a model, in id order.

    ``types``: all V types, ``types[0] == "</s>"``. ``unknown``: the id of ``<unk>``, or None for
    a closed alphabet. ``counts``: int64 (V,), occurrences in the training split (0 for the boundary
    and wherever they are not known).

    >>> v = Vocabulary.from_counts({"the": 3, "cat": 1, "dog": 1}, min_count=1)
    >>> v.types
    ('</s>', '<unk>', 'the', 'cat', 'dog')
    >>> v.id("dog"), v.id("unicorn")
    (4, 1)
    """

    types: tuple[str, ...]
    unknown: int | None = 1
    counts: np.ndarray | None = field(default=None, compare=False, repr=False)

    boundary = 0

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], *, min_count: int = 1, size: int | None = None, open: bool = True
    ) -> Vocabulary:
        """Keep types seen at least ``min_count`` times, at most ``size`` types in all.

        What is cut off is counted as ``<unk>``. ``<unk>`` in the text itself is an ordinary word
        that shares the id. Raises CorpusError where the text holds the boundary symbol as a word.
        """
        if min_count < 1:
            raise UsageError(f"min_count must be at least 1, not {min_count}.")
        if size is not None and size < 2:
            raise UsageError(f"size must be at least 2 (the boundary and one more), not {size}.")
        if BOUNDARY in counts:
            raise CorpusError(
                f"The text holds {BOUNDARY} as a word, which is the symbol that marks sentence ends here. "
                "Remove it from the text: sentence ends are added by the reader."
            )
        special = [BOUNDARY, UNKNOWN] if open else [BOUNDARY]
        kept = [(t, c) for t, c in counts.items() if c >= min_count and t != UNKNOWN]
        kept.sort(key=itemgetter(0))  # two stable sorts by plain keys take half the time of one by pairs
        kept.sort(key=itemgetter(1), reverse=True)
        if size is not None:
            kept = kept[: size - len(special)]
        numbers = np.zeros(len(special) + len(kept), np.int64)
        numbers[len(special) :] = [c for _, c in kept]
        if open:
            numbers[1] = sum(counts.values()) - numbers.sum()
        return cls((*special, *(t for t, _ in kept)), 1 if open else None, numbers)

    def __len__(self) -> int:
        return len(self.types)

    @cached_property
    def ids(self) -> dict[str, int]:
        """type -> id."""
        return {t: i for i, t in enumerate(self.types)}

    def id(self, type: str) -> int:
        """The id of ``type``, that of ``<unk>`` where it is not held. Raises KeyError if closed."""
        return self.ids[type] if self.unknown is None else self.ids.get(type, self.unknown)

    @cached_property
    def sha256(self) -> str:
        """Checksum of the types in their order: equal ids, equal checksum."""
        return hashlib.sha256("\n".join(self.types).encode("utf-8", "surrogateescape")).hexdigest()
