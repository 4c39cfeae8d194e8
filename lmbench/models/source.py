"""Grammar + tokenizer -> the true distribution of a sampled corpus, as a model like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.corpus.grammar import Grammar
from lmbench.corpus.prefixes import END, START, Prefixes
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.errors import ModelError
from lmbench.models.base import Context, LanguageModel, read_model, write_model

LOG_ZERO = -1000.0
"""Nats given to an event that the grammar rules out, whose true log probability is minus infinity."""
LOST = -1
"""The state after such an event: every token is as likely as any other until the sentence ends."""
SAMPLE = 2000
"""Tokens of sampled text on which the spelling of words is tried."""


class Source(LanguageModel):
    """ln p(token | prefix) of the grammar that made the text, shown by every run on it; none does better on average.

    The probability of a token is the ratio of two prefix probabilities, computed exactly (Jelinek & Lafferty
    1991; Stolcke 1995; here ``corpus/prefixes.py``). Words are spelled in the tokens of any tokenizer that
    cuts each word by itself; words outside its vocabulary are together the one event ``<unk>``.

    An event of probability 0 costs ``LOG_ZERO`` = -1000 nats, so that a sentence outside the language ranks
    below every sentence in it; what follows it in the sentence costs ln V each.

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> toy = Grammar.parse("S -> A B [1] | A S [1]\\nA ~ a\\nB ~ b c")
    >>> source = Source(toy, train_tokenizer("word:min_count=1", ["a b", "a c"]))
    >>> source.next_log_probs(Batch.of_prefixes([np.array([0, 2])])).round(2).tolist()
    [[-1000.0, -1000.0, -0.69, -1.1, -1.79]]
    """

    kind = "source"
    reads = "left"
    max_context = None
    context: Context = "sentence"
    normalized = True

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer) -> None:
        self.grammar, self.tokenizer = grammar, tokenizer
        spelled = list(dict.fromkeys(word for _, word, _ in grammar.words))
        first = dict(zip(spelled, _encode(tokenizer, spelled), strict=True))
        later = dict(zip(spelled, _encode(tokenizer, [grammar.separator + word for word in spelled]), strict=True))
        self._check_spelling(first, later)
        words = [word for _, word, _ in grammar.words]
        self._prefixes = Prefixes(
            grammar.rules,
            [(symbol, p) for symbol, _, p in grammar.words],
            [first[word] for word in words],
            [later[word] for word in words],
        )

    def _check_spelling(self, first: dict[str, tuple[int, ...]], later: dict[str, tuple[int, ...]]) -> None:
        """Raise ModelError where the tokens of a sentence are not those of its words end to end."""
        leaves = next(self.grammar.derive(0))
        rows = [[self.grammar.words[word][1] for word in row] for row in leaves.rows()][: SAMPLE // 10]
        whole = _encode(self.tokenizer, [self.grammar.separator.join(row) for row in rows])
        for row, tokens in zip(rows, whole, strict=True):
            pieces = (later[word] if place else first[word] for place, word in enumerate(row))
            if tokens != tuple(token for piece in pieces for token in piece):
                raise ModelError(
                    f"The {self.tokenizer.kind} tokenizer joins words of '{self.grammar.separator.join(row)}' into one "
                    "token, so the true distribution over its tokens is not known. Choose word, char or byte."
                )

    @property
    def parameters(self) -> int:
        """Rules of the grammar, words included."""
        return len(self.grammar.rules) + len(self.grammar.words)

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats. The history of an event begins at the last boundary before it."""
        result = np.zeros(batch.ids.shape)
        for values, ids, length in zip(result, batch.ids, batch.lengths, strict=True):
            values[:length] = self._row(ids[:length].tolist())
        return np.where(batch.targets, result, 0.0)

    def _row(self, ids: list[int]) -> list[float]:
        """ln p of each token of one row, whose first token is history only."""
        lost = -float(np.log(len(self.tokenizer.vocabulary)))
        step, state, values = self._prefixes.step, START, []
        for place, token in enumerate(ids):
            if state == START and self._prefixes.full:
                self._prefixes.forget()
            if token == END and place == 0:
                values.append(0.0)
                continue
            value, after = (lost, LOST) if state == LOST else step(state, token)
            if value == -np.inf:
                value, after = LOG_ZERO, LOST
            state = START if token == END else after
            values.append(value)
        return values

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats; ``LOG_ZERO`` for what cannot come next."""
        size = len(self.tokenizer.vocabulary)
        result = np.empty((len(prefixes.lengths), size))
        for values, ids, length in zip(result, prefixes.ids, prefixes.lengths, strict=True):
            state = self._after(ids[:length].tolist())
            chances = np.full(size, 1 / size) if state == LOST else self._prefixes.distribution(state, size)
            values[:] = np.log(chances, out=np.full(size, LOG_ZERO), where=chances > 0)
        return result

    def _after(self, ids: list[int]) -> int:
        """The state after a row."""
        if self._prefixes.full:
            self._prefixes.forget()
        last = max((place for place, token in enumerate(ids) if token == END), default=-1)
        state = START
        for token in ids[last + 1 :]:
            value, state = self._prefixes.step(state, token)
            if value == -np.inf:
                return LOST
        return state

    def save(self, directory: Path) -> None:
        write_model(directory, self, {"grammar": self.grammar.text, "grammar_name": self.grammar.name})

    @classmethod
    def load(cls, directory: Path) -> Self:
        tokenizer, state = read_model(directory)
        return cls(Grammar.parse(state["grammar"], state["grammar_name"]), tokenizer)


def _encode(tokenizer: Tokenizer, units: list[str]) -> list[tuple[int, ...]]:
    """The tokens of each unit, without boundaries."""
    return [tuple(row[1:-1].tolist()) for row in tokenizer.encode(units).rows()]
