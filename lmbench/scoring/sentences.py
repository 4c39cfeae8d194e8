"""Model + sentences -> what each comes to: its log probability, its tokens and words, what of it is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmbench.corpus.text import Line
from lmbench.corpus.tokenizers import Tokenizer, WordTokenizer
from lmbench.corpus.vocabulary import UNKNOWN
from lmbench.corpus.words import word_counts, word_types
from lmbench.models.base import LanguageModel
from lmbench.scoring.conditioning import Asked, ask
from lmbench.scoring.scorer import check_fitted, checked_nats


@dataclass(frozen=True)
class SentenceScores:
    """Sums for each of U sentences, its end included, what stands before it left out.

    ``asked``: the sentences as they were encoded. ``token_nats``: float64 (N,), -ln p of each of their tokens.
    """

    tokenizer: Tokenizer
    asked: Asked
    token_nats: np.ndarray

    @cached_property
    def nats(self) -> np.ndarray:
        """float64 (U,): -ln p(sentence), or -ln p(sentence | prefix)."""
        return self.asked.sums(self.token_nats)

    @property
    def events(self) -> np.ndarray:
        """int64 (U,): tokens, the end included."""
        return self.asked.events

    @cached_property
    def words(self) -> np.ndarray:
        """int64 (U,): words, the end not counted; see ``corpus.words``."""
        return word_counts(self.asked.ids, self.asked.bounds, word_types(self.tokenizer))

    @cached_property
    def unknowns(self) -> np.ndarray:
        """int64 (U,): tokens that are ``<unk>``."""
        return self.asked.sums(self._unknown).astype(np.int64)

    @cached_property
    def _unknown(self) -> np.ndarray:
        return self.asked.tokens.hidden[self.asked.places]

    def unknown_words(self, number: int) -> list[str]:
        """What the model does not know of a sentence, as it is written there: words, or characters. ``<unk>`` that
        stands in the text itself hides nothing."""
        last = int(self.asked.bounds[number])
        part = slice(last - int(self.events[number]), last)
        places = np.flatnonzero(self._unknown[part]).tolist()
        if not places:
            return []
        text = self.asked.texts[number]
        if isinstance(self.tokenizer, WordTokenizer):
            written = self.tokenizer.words([text])
        else:
            written = list(text) if self.tokenizer.kind == "char" else self.tokenizer.tokens(self.asked.ids[part])
        return [written[place] for place in places if written[place] != UNKNOWN]


def score_sentences(
    model: LanguageModel,
    texts: Sequence[str],
    *,
    prefix: str | Sequence[str] | None = None,
    line: Line = "sentence",
) -> SentenceScores:
    """Score ``texts``, each read on its own, after ``prefix``, or each after its own.

    ``line``: what a line was to the model in training; see ``conditioning``. Raises UsageError where there are not as
    many prefixes as texts, ModelError as ``scorer.score`` does.
    """
    check_fitted(model)
    asked = ask(model.tokenizer, texts, prefix, line)
    return SentenceScores(model.tokenizer, asked, checked_nats(model, asked.tokens, "sentence")[asked.places])
