"""Generated texts -> how much they repeat: each itself, and one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from lmbench.corpus.segmentation import is_unsegmented_han, split_words
from lmbench.errors import UsageError

REPEATED = 4
"""Length of the n-grams whose repetition within a text is told, as in Welleck et al. (2020)."""
SELF_BLEU_TEXTS = 200
"""Texts whose self-BLEU is computed, the first ones: its cost grows with their square."""
CHARACTERS = ("chinese", "zh")
"""Languages that are counted by characters."""


def diversity(texts: Sequence[str], *, language: str | None = None) -> dict[str, Any]:
    """Figures of how diverse ``texts`` are, as JSON values; all but the counts are shares between 0 and 1.

    ``distinct_1``, ``distinct_2``, ``distinct_3``: different n-grams among the n-grams of all texts together (Li et
    al. 2016); it falls as there is more text, so only like amounts compare. ``repetition_4``: of the 4-grams of a text
    those that repeat an earlier one, ``1 - different / all``, mean over texts (seq-rep-4, Welleck et al. 2020).
    ``self_bleu``: BLEU-4 of a text against all others, mean over texts (Zhu et al. 2018), by sacrebleu with its
    exponential smoothing; of the first 200 texts. High ``distinct`` is diverse, high ``repetition`` and ``self_bleu``
    are not. None where no text is long enough, or there is one only.

    ``unit``: ``word`` between white space, or ``character`` in Chinese: where ``language`` is ``chinese`` or ``zh``,
    or, without one, where the texts are written so. Raises UsageError where there are no texts.

    >>> found = diversity(["the cat sat", "the cat slept"])
    >>> found["tokens"], found["distinct_1"]  # the, cat, sat, slept: 4 of 6
    (6, 0.6666666666666666)
    """
    if isinstance(texts, str) or not len(texts):
        raise UsageError("There are no texts whose diversity could be told: give a list of at least one.")
    han = is_unsegmented_han(texts) if not language else language.lower().startswith(CHARACTERS)
    tokens = [[word for word in split_words([text], han=han) if not word.isspace()] for text in texts]
    return {
        "texts": len(texts),
        "tokens": sum(map(len, tokens)),
        "unit": "character" if han else "word",
        **{f"distinct_{n}": _distinct(list(chain.from_iterable(_ngrams(t, n) for t in tokens))) for n in (1, 2, 3)},
        f"repetition_{REPEATED}": _mean(_repeated(list(_ngrams(text, REPEATED))) for text in tokens),
        "self_bleu": _self_bleu(tokens[:SELF_BLEU_TEXTS]),
    }


def _ngrams(tokens: Sequence[str], n: int) -> Iterable[tuple[str, ...]]:
    return zip(*(tokens[first:] for first in range(n)), strict=False)


def _distinct(ngrams: Sequence[tuple[str, ...]]) -> float | None:
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def _repeated(ngrams: Sequence[tuple[str, ...]]) -> float | None:
    share = _distinct(ngrams)
    return None if share is None else 1 - share


def _self_bleu(texts: Sequence[Sequence[str]]) -> float | None:
    """Mean BLEU of each text of tokens with all others as its references; texts without tokens do not count."""
    written = [" ".join(tokens) for tokens in texts if tokens]
    if len(written) < 2:
        return None
    from sacrebleu.metrics import BLEU

    bleu = BLEU(tokenize="none", effective_order=True)  # text shorter than 4 tokens: by what n-grams it has
    scores = (
        bleu.sentence_score(text, written[:number] + written[number + 1 :]).score for number, text in enumerate(written)
    )
    return _mean(score / 100 for score in scores)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
