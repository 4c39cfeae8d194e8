"""Text that was just seen -> log probabilities: words come again soon after they came."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lmbench.compiled import compiled
from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.distributions import at_once
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints

EVIDENCE = 0.5
"""Occurrences after which a history counts as seen: one that is no older than a half-life."""


@dataclass(frozen=True)
class CacheConfig:
    """How much of the recent text is remembered, and how.

    Valid perplexity of Penn Treebank when mixed with a Kneser-Ney 5-gram (148.01 alone), one weight each: order 1,
    flat over a window of 200, 500, 1000 words 130.3, 131.4, 134.0; half-life of 50, 100, 200 words 129.1, 128.6, 129.8;
    order 2, 3, 4, 5 at 100 words 122.3, 121.8, 121.7, 121.7; order 3 without forgetting 136.2. Several caches of
    other half-lives in one mixture do better: 40, 500 and none 119.5.
    """

    order: int = 4
    """Longest n-gram of the recent text: 1 remembers single words, 4 what followed the last three words."""
    window: int | None = None
    """Words that are remembered; none remembers the whole row."""
    half_life: float | None = 100.0
    """Words after which an occurrence counts half; none lets all occurrences count the same."""
    strength: float = 2.0
    """Occurrences that the next lower order is worth: the larger, the less a short memory is trusted."""

    def __post_init__(self) -> None:
        if self.order < 1:
            raise UsageError(
                f"The order of a cache must be at least 1, not {self.order}. Write for example cache:order=3."
            )
        if self.window is not None and self.window < 1:
            raise UsageError(
                f"The window of a cache must be at least 1 word, not {self.window}; none is all of the text."
            )
        for name in ("half_life", "strength"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(
                    f"{name} of a cache must be above 0, not {value:g}. Write for example cache:{name}=100."
                )


class Cache(Trainable):
    """What was said lately is said again (Kuhn & De Mori 1990): n-grams counted in the text that is being scored.

    With c(hw) the occurrences of a word after a history in the row so far, each worth 2^(-age / half_life) (Clarkson &
    Robinson 1997), histories of up to order - 1 words (Jelinek et al. 1991), and smoothing towards the shorter history
    h' (MacKay & Peto 1995)::

        p(w | h) = (c(hw) + s p(w | h')) / (c(h) + s),    p(w) at the bottom: the words of the training text

    With nothing remembered it is the training text's unigram. It learns from the text that it is asked about, so its
    perplexity stands in a column of its own (``adapts``). By itself it is weak; in a mixture, ``ngram+cache``, strong.

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> sentences = ["the cat sat", "the dog slept"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = Cache(CacheConfig(order=1, strength=1))
    >>> report = model.fit(tokens, tokens)  # p(cat) = 2 / (8 + 7) before it was seen, then (1 + 2/15) / 2
    >>> cat = tokens.tokenizer.vocabulary.types.index("cat")
    >>> np.exp(model.log_probs(Batch.of([np.array([0, cat, cat])]))).round(4).tolist()
    [[1.0, 0.1333, 0.5667]]
    """

    kind = "cache"
    Config = CacheConfig
    reads = "left"
    context = "stream"
    normalized = True
    adapts = True

    def __init__(self, config: CacheConfig | None = None) -> None:
        self.config = config or CacheConfig()
        window = self.config.window
        self.max_context = None if window is None else window + self.config.order - 1
        self.decay = 1.0 if self.config.half_life is None else 0.5 ** (1 / self.config.half_life)

    @property
    def parameters(self) -> int:
        """The counts of the training text; what is remembered belongs to the text."""
        return len(self.counts)

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Count the words of ``train``, for words that are not remembered; all else is learned in scoring."""
        began, progress = time.perf_counter(), progress or Silent()
        words, half_life = self.config.window, self.config.half_life
        progress.step(
            "structure",
            f"n-grams up to order {self.config.order} of the last {'' if words is None else f'{words:,} '}words"
            + ("" if half_life is None else f", half as strong after {half_life:g} words"),
        )
        self.tokenizer = train.tokenizer
        self._take(np.bincount(train.ids[1:], minlength=train.vocabulary_size))
        return FitReport(time.perf_counter() - began, train.events)

    def _take(self, counts: np.ndarray) -> None:
        self.counts = counts
        self.unigram = (counts + 1) / (counts.sum() + len(counts))  # float64 (V,), no type is impossible

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats; the cache is empty where a row begins."""
        return np.where(
            batch.targets, np.log(self._read(batch)[0], where=batch.targets, out=np.zeros(batch.ids.shape)), 0
        )

    def confidence(self, batch: Batch) -> np.ndarray:
        """int64 (B, T): how many orders saw the history of each token lately: 0 (an empty cache) to ``order``."""
        return self._read(batch)[1]

    def _read(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each token, float64 (B, T), and how many orders knew its history, int64 (B, T)."""
        inside = batch.inside
        ids, columns, grams, contexts = self._occurrences(batch)
        window, memory = self.config.window or len(ids), _nothing(*grams.shape)
        probabilities, known = np.ones(batch.ids.shape), np.zeros(batch.ids.shape, np.int64)
        probabilities[inside], known[inside] = _remember(
            grams, contexts, columns, self.unigram[ids], window, self.decay, self.config.strength, memory
        )
        return probabilities, known

    def _occurrences(self, batch: Batch) -> tuple[np.ndarray, ...]:
        """All tokens, row after row, (N,), the column of each, (N,), and what ``_number`` tells of them."""
        inside = batch.inside
        ids, columns = batch.ids[inside], np.nonzero(inside)[1]
        rows = np.repeat(np.arange(len(batch.lengths)), batch.lengths)
        return ids, columns, *_number(ids, rows, len(self.counts), self.config.order)

    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float64 (N, V), nats, a block after the other: see ``base.Distributions``. Each row is read once."""
        ids, columns, *numbers = self._occurrences(batch)
        numbers += _followers(ids, *numbers)
        window, memory = self.config.window or len(ids), _nothing(*numbers[0].shape)
        asked, size, done = np.flatnonzero(batch.targets[batch.inside]), at_once(len(self.counts)), 0
        for first in range(0, len(asked), size):
            places = asked[first : first + size]
            result = np.tile(self.unigram, (len(places), 1))
            _expect(*numbers, columns, done, places, window, self.decay, self.config.strength, memory, result)
            done = places[-1]
            yield np.log(result, out=result)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token."""
        return np.log([self._next(row) for row in prefixes.rows()])

    def _next(self, row: np.ndarray) -> np.ndarray:
        """float64 (V,): the distribution of the word after ``row``."""
        result, strength = self.unigram, self.config.strength
        places = np.arange(1, len(row))[-(self.config.window or len(row)) :]  # events; the first token is history only
        for k in range(min(self.config.order, len(row))):
            if k:  # of the places, those where the last k words stand before
                places = places[(places >= k) & (row[places - k] == row[-k])]
            weights = self.decay ** (len(row) - 1 - places)
            counts = np.bincount(row[places], weights, len(self.counts))
            result = (counts + strength * result) / (counts.sum() + strength)
        return result

    def save(self, directory: Path) -> None:
        write_model(directory, self, {"config": asdict(self.config), "counts": self.counts.tolist()})

    @classmethod
    def load(cls, directory: Path) -> Self:
        tokenizer, state = read_model(directory)
        try:
            model = cls(CacheConfig(**state["config"]))
            model._take(np.array(state["counts"], np.int64))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The cache in {directory} is damaged ({error}). Train it again.") from None
        model.tokenizer = tokenizer
        return model


def _number(ids: np.ndarray, rows: np.ndarray, size: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the n-grams that end at each token and of their histories, int64 (order, N), apart for each row.

    ``ids``: int64 (N,), rows one after another; ``rows``: int64 (N,), which row; ``size``: V. -1 where
    a row is shorter. N-grams are numbered in the order of their histories.
    """
    grams, contexts = np.full((order, len(ids)), -1, np.int64), np.full((order, len(ids)), -1, np.int64)
    contexts[0] = rows  # one empty history in each row
    for k in range(order):
        if k:  # the history of a k-gram is the (k-1)-gram that ends one token earlier in the same row
            contexts[k, 1:] = np.where(rows[1:] == rows[:-1], grams[k - 1, :-1], -1)
        there = contexts[k] >= 0
        grams[k, there] = np.unique(contexts[k, there] * size + ids[there], return_inverse=True)[1]
    return grams, contexts


def _followers(ids: np.ndarray, grams: np.ndarray, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last word of each n-gram, int64 (order, N), and where those after each history begin among them, int64
    (order, N + 1): they end where those after the next begin."""
    words, begins = np.zeros_like(grams), np.zeros((len(grams), len(ids) + 1), np.int64)
    for k, (gram, context) in enumerate(zip(grams, contexts, strict=True)):
        there = gram >= 0
        histories = np.zeros(gram.max(initial=-1) + 1, np.int64)
        words[k, gram[there]], histories[gram[there]] = ids[there], context[there]
        begins[k] = np.searchsorted(histories, np.arange(len(ids) + 1))
    return words, begins


def _nothing(orders: int, length: int) -> tuple[np.ndarray, ...]:
    """A memory without any text: what each n-gram and each history was worth, float64 (K, N) each, at the token that it
    was last brought up to date for, int64 (K, N) each."""
    shape = orders, length
    return np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)


@compiled
def _remember(grams, contexts, columns, lowest, window, decay, strength, memory):
    """Probability of each token given those before it in its row, and how many orders knew its history.

    ``grams``, ``contexts``: int64 (K, N), see ``_number``; ``columns``: int64 (N,), place in the row; ``lowest``:
    float64 (N,), probability of the order below; ``memory``: nothing yet, see ``_nothing``. Counts are brought up to
    date when they are looked at.
    """
    orders, length = grams.shape
    counts, totals, counted, totalled = memory
    result, known = np.empty(length), np.zeros(length, np.int64)
    for i in range(length):
        probability = lowest[i]
        for k in range(orders):
            gram, context = grams[k, i], contexts[k, i]
            if context < 0:
                break
            total = _faded(totals, totalled, k, context, i, decay)
            known[i] += total >= EVIDENCE
            probability = (_faded(counts, counted, k, gram, i, decay) + strength * probability) / (total + strength)
        result[i] = probability
        _learn(grams, contexts, columns, i, window, decay, memory)
    return result, known


@compiled
def _expect(grams, contexts, words, begins, columns, done, places, window, decay, strength, memory, result):
    """Turn each row of ``result``, the distribution of the order below, into that before the token at its place.

    ``places``: int64 (P,), ascending; ``result``: float64 (P, V); ``memory`` holds the tokens before ``done`` and
    afterwards those before the last place; all else as ``_number``, ``_followers`` and ``_remember`` have it.
    """
    counts, totals, counted, totalled = memory
    for p in range(len(places)):
        for i in range(done, places[p]):
            _learn(grams, contexts, columns, i, window, decay, memory)
        done = i = places[p]
        for k in range(len(grams)):
            context = contexts[k, i]
            if context < 0:
                break
            total = _faded(totals, totalled, k, context, i, decay) + strength
            result[p] *= strength / total
            for gram in range(begins[k, context], begins[k, context + 1]):
                if counts[k, gram] > 0:
                    result[p, words[k, gram]] += _faded(counts, counted, k, gram, i, decay) / total


@compiled
def _learn(grams, contexts, columns, i, window, decay, memory):
    """Add token ``i`` to the memory, and take that out which is beyond ``window`` for the next."""
    counts, totals, counted, totalled = memory
    for k in range(len(grams)):
        gram, context = grams[k, i], contexts[k, i]
        if context < 0 or columns[i] == 0:
            break
        # An occurrence is worth 1 when the next token is asked for; decay has one step to go until then.
        counts[k, gram] = _faded(counts, counted, k, gram, i, decay) + 1 / decay
        totals[k, context] = _faded(totals, totalled, k, context, i, decay) + 1 / decay
    if columns[i] > window:
        old, oldest = i - window, decay**window / decay
        for k in range(len(grams)):
            gram, context = grams[k, old], contexts[k, old]
            if context < 0:
                break
            counts[k, gram] = max(0.0, _faded(counts, counted, k, gram, i, decay) - oldest)
            totals[k, context] = max(0.0, _faded(totals, totalled, k, context, i, decay) - oldest)


@compiled
def _faded(values, since, k, number, now, decay):
    """``values[k, number]``, brought up from ``since`` to ``now``."""
    values[k, number] *= decay ** (now - since[k, number])
    since[k, number] = now
    return values[k, number]
