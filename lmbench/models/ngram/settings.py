"""``NGramConfig`` + ``Counts`` -> ``Table``: what users ask for, checked, and handed to estimation and pruning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lmbench.corpus.batches import Tokens
from lmbench.errors import UsageError
from lmbench.models.ngram.counting import Counts
from lmbench.models.ngram.discounts import check_discounts, read_discounts
from lmbench.models.ngram.heldout import best_k, sightings
from lmbench.models.ngram.methods import METHODS
from lmbench.models.ngram.recursion import Allocate
from lmbench.models.ngram.smoothing import base_distribution, estimate
from lmbench.models.ngram.table import Table

if TYPE_CHECKING:
    from lmbench.models.ngram.model import NGramConfig


def check_settings(config: NGramConfig) -> None:
    """Raise UsageError where a setting cannot be, or does not go with another."""
    method, name = METHODS[config.smoothing], config.smoothing
    if config.form is not None and config.form not in method.forms:
        having = ", ".join(other for other, each in METHODS.items() if config.form in each.forms)
        raise UsageError(
            f"The smoothing {name} has no {config.form} form; those that have are {having}. Leave form out."
        )
    if config.k is not None and (name != "add-k" or not 0 < config.k < float("inf")):
        reason = "must be above 0" if name == "add-k" else f"belongs to add-k, but smoothing is {name}"
        raise UsageError(f"k={config.k:g} {reason}: write for example smoothing=add-k:k=0.1, or leave k out.")
    if config.discounts is not None:
        if not method.discounts:
            having = ", ".join(other for other, each in METHODS.items() if each.discounts)
            raise UsageError(f"The smoothing {name} takes no discounts; those that do are {having}.")
        whole = config.form != "backoff"
        check_discounts(read_discounts(config.discounts), config.order or 1, method.discounts, whole=whole)
    if config.cutoffs is not None:
        read_cutoffs(config.cutoffs)
    if config.vocabulary is not None and (config.closed or not config.floor):
        other = "closed=true" if config.closed else "floor=false"
        raise UsageError(
            f"vocabulary={config.vocabulary} and {other} exclude each other: <unk> stands for further types."
        )
    if not config.floor and name == "add-k":
        raise UsageError("add-k gives every type its k, so it cannot be without a floor: leave floor=false out.")
    _check_pruning(config)


def _check_pruning(config: NGramConfig) -> None:
    asked = [n for n in ("prune_threshold", "entries") if getattr(config, n) is not None]
    if len(asked) == 2:
        raise UsageError("Pruning goes to a threshold or to a number of entries: give prune_threshold or entries.")
    if asked and config.smoothing in ("mle", "stupid-backoff"):
        raise UsageError(
            f"{asked[0]} weighs how much probability each n-gram moves, but {config.smoothing} leaves none to move, or "
            "has none. Choose another smoothing, or drop n-grams by cutoffs."
        )
    if config.prune_threshold is not None and not 0 <= config.prune_threshold < float("inf"):
        raise UsageError(f"prune_threshold is a small number such as 1e-8, not {config.prune_threshold}.")
    if config.entries is not None and config.entries < 1:
        raise UsageError(f"entries is a number of n-grams to keep, not {config.entries}.")


def read_cutoffs(text: str) -> list[int]:
    """Cutoffs written with ``-`` between orders.

    >>> read_cutoffs("0-0-1")
    [0, 0, 1]
    """
    parts = text.split("-")
    numbers = [int(part) for part in parts if part.isdecimal()]
    if len(numbers) < len(parts) or numbers != sorted(numbers):
        raise UsageError(
            f"The cutoffs '{text}' cannot be read: write a whole number for order 1, 2, ..., none below the one "
            "before, for example cutoffs=0-0-1, which drops n-grams of three words and more that were seen once."
        )
    if numbers[0]:
        raise UsageError(
            f"The cutoffs '{text}' drop words, which is up to the vocabulary: let the first be 0 as in cutoffs=0-0-1, "
            "and leave rare words to the tokenizer, as with word:min_count=2."
        )
    return numbers


def describe_method(config: NGramConfig) -> str:
    """Smoothing and form in words.

    >>> from lmbench.models.ngram.model import NGramConfig
    >>> describe_method(NGramConfig(smoothing="witten-bell", form="backoff")), describe_method(NGramConfig())
    ('witten-bell (backoff)', 'modified-kneser-ney (interpolated)')
    """
    forms = METHODS[config.smoothing].forms
    return f"{config.smoothing} ({config.form or forms[0]})" if len(forms) > 1 else config.smoothing


def estimate_as(
    config: NGramConfig,
    counts: Counts,
    train: Tokens,
    valid: Tokens,
    note: Callable[[str], None] | None = None,
    allocate: Allocate = np.empty,
) -> tuple[NGramConfig, Table]:
    """The table that ``config`` asks for, and ``config`` with what was fitted on ``valid``.

    ``counts``: those of ``train``. ``note`` is told about fallbacks; ``allocate`` makes the large arrays. Raises
    UsageError where the settings do not go with the vocabulary of ``train``.
    """
    types, base = _types(config, train), None
    if config.closed or config.vocabulary is not None or not config.floor:
        unknown = train.tokenizer.vocabulary.unknown
        base = base_distribution(counts, unknown, floor=config.floor, closed=config.closed, types=types)
    if config.smoothing == "add-k" and config.k is None:
        even = base_distribution(counts, None) if base is None else base
        config = replace(config, k=best_k(sightings(counts, valid.ids), even, types))
    table = estimate(
        counts,
        config.smoothing,
        config.form,
        discounts=read_discounts(config.discounts) if config.discounts else None,
        k=config.k or 1.0,
        types=types,
        base=base,
        held_out=valid.ids,
        cutoffs=read_cutoffs(config.cutoffs) if config.cutoffs else None,
        note=note,
        allocate=allocate,
    )
    if config.prune_threshold is not None or config.entries is not None:
        from lmbench.models.ngram.pruning import prune_by_entropy

        table = prune_by_entropy(table, threshold=config.prune_threshold, entries=config.entries)
    return config, table


def _types(config: NGramConfig, train: Tokens) -> int:
    """Types over which the floor is spread; raises UsageError where they do not go with the vocabulary."""
    size, unknown = train.vocabulary_size, train.tokenizer.vocabulary.unknown
    if config.closed and train.unknowns:
        raise UsageError(
            f"closed=true gives <unk> no probability, but {train.unknowns:,} of {train.events:,} training tokens "
            "are <unk>. Keep all words (--tokenizer word:min_count=1), or leave the vocabulary open."
        )
    if config.vocabulary is None:
        return size - 1 if config.closed and unknown is not None else size
    if config.vocabulary < size:
        raise UsageError(
            f"vocabulary={config.vocabulary} is less than the {size:,} types of the training text. "
            "Give more, or leave it out."
        )
    if unknown is None:
        raise UsageError(
            f"vocabulary={config.vocabulary} asks for types beyond those of the tokenizer, but {train.tokenizer.kind} "
            "has no <unk> to stand for them. Leave it out."
        )
    return config.vocabulary
