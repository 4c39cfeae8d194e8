"""Token ids -> ``Counts``, equal to those of ``counting.count``, by sorting integer keys with torch, on a GPU or not.

A k-gram is the integer (number of its context << bits | last word). Sorted, the distinct keys are the k-grams in the
order of their words, and the place of each occurrence among them is the number that the next order's keys need.
"""

from __future__ import annotations

import numpy as np
import torch

from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts, GramCounts
from lmbench.training.devices import resolve_device


def count_on_device(ids: np.ndarray, vocabulary_size: int, order: int, device: str) -> Counts:
    """``count(ids, vocabulary_size, order)``. ``device``: as in ``training.devices``, such as ``cuda``.

    The device holds some ten int64 arrays of the length of the text. Raises UsageError where the order is below 1,
    or there is no such device.
    """
    if order < 1:
        raise UsageError(f"The order of an n-gram model must be at least 1, not {order}.")
    tokens = torch.from_numpy(np.array(ids, np.int64)).to(resolve_device(device))  # (N,)
    bits = max(1, (vocabulary_size - 1).bit_length())
    begins = torch.tensor([0, vocabulary_size])
    words = torch.arange(vocabulary_size, device=tokens.device)
    raw = torch.bincount(tokens[1:], minlength=vocabulary_size)  # (V,)
    suffix, opening, beginning = torch.zeros_like(words), 0, 1
    grams = tokens.clone()  # number of the (k-1)-gram that ends at each position, where one does
    ends = torch.arange(1, len(tokens), device=tokens.device)  # where k-grams end
    orders: list[GramCounts] = []
    while len(orders) + 1 < order and len(ends):
        keys, numbers, occurrences = torch.unique(
            grams[ends - 1] << bits | tokens[ends], return_inverse=True, return_counts=True
        )
        longer_suffix = torch.empty_like(keys)
        longer_suffix[numbers] = grams[ends]  # the same whichever occurrence writes last
        left = torch.bincount(longer_suffix, minlength=len(words))
        orders.append(_grams(begins, words, raw, left, suffix, opening))
        children = torch.bincount(keys >> bits, minlength=len(words))
        begins = torch.cat((children.new_zeros(1), children.cumsum(0)))
        opening = beginning = int(begins[beginning])
        words, raw, suffix = keys & ((1 << bits) - 1), occurrences, longer_suffix
        grams[ends] = numbers
        ends = ends[(tokens[ends] != 0) & (ends < len(tokens) - 1)] + 1
    orders.append(_grams(begins, words, raw, torch.zeros_like(words), suffix, opening))
    return Counts(tuple(orders), order, vocabulary_size)


def _grams(
    begins: torch.Tensor,
    words: torch.Tensor,
    raw: torch.Tensor,
    left: torch.Tensor,
    suffix: torch.Tensor,
    opening: int,
) -> GramCounts:
    def fetched(array: torch.Tensor) -> np.ndarray:
        return array.to(torch.int32).cpu().numpy()

    return GramCounts(fetched(begins), fetched(words), fetched(raw), fetched(left), fetched(suffix), opening)
