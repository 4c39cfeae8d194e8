"""Tokens -> p(word | words further back): n-grams with a hole."""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import UsageError
from lmbench.models.arrays import damage_told, map_arrays
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.factored import WORDS, Factor, Trie, estimate, histories, open_ends_of
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, write_arrays

ARRAYS_FILE = "skip.safetensors"


@dataclass(frozen=True)
class SkipConfig:
    """Which words of the history are looked at.

    Valid perplexity of Penn Treebank when mixed with a Kneser-Ney 5-gram (148.01 alone): 2 146.4, 2-3 145.2, 2-3-4
    145.0, 1-3 146.3, 1-3-4 145.9, 1-2-4 147.7; 2-3-4, 1-3-4, 1-3 and 1-2-4 together 143.0.
    """

    distances: str = "2-3-4"
    """How far back they stand, the one that is given up last first: 1-2 would be an ordinary 3-gram, 2-3 skips a
    word."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*(-[1-9]\d*)*", self.distances) or len(set(self.places)) < len(self.places):
            raise UsageError(
                f"The distances of a skip are different numbers from 1, joined by -, not '{self.distances}'. "
                "Write for example skip:distances=2-3."
            )

    @property
    def places(self) -> tuple[int, ...]:
        """The distances as numbers."""
        return tuple(map(int, self.distances.split("-")))


class Skip(Trainable):
    """An n-gram that does not look at every word (Rosenfeld 1994): by itself weak, in a mixture a second opinion.

    p(w | w-2, w-3, w-4), say, still knows a history whose last word was never seen after those before it. Estimates are
    interpolated modified Kneser-Ney along the chain of distances, see ``factored.py``. Worth its place beside an n-gram
    alone (``ngram+skip``); beside classes and a cache it adds little.

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> sentences = ["the old cat sat", "the young cat sat", "a red dog ran"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = Skip(SkipConfig(distances="2"))
    >>> report = model.fit(tokens, tokens)
    >>> history = tokens.tokenizer.encode(["the green"]).ids[:-1]  # two words before the next one stood "the"
    >>> next_word = np.exp(model.next_log_probs(Batch.of_prefixes([history]))[0])
    >>> model.tokenizer.vocabulary.types[next_word.argmax()], round(float(next_word.sum()), 6)
    ('cat', 1.0)
    """

    kind = "skip"
    Config = SkipConfig
    reads = "left"
    context = "sentence"
    normalized = True

    trie: Trie
    """The estimates, once fitted."""

    def __init__(self, config: SkipConfig | None = None) -> None:
        self.config = config or SkipConfig()
        self.max_context = max(self.config.places)
        self.chain = [Factor(WORDS, distance) for distance in self.config.places]

    @property
    def parameters(self) -> int:
        """Stored n-grams of all lengths."""
        return self.trie.entries

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Count ``train`` and estimate in closed form: one pass, whatever the budget; ``valid`` is not read."""
        began, progress = time.perf_counter(), progress or Silent()
        self.tokenizer = train.tokenizer
        progress.step("structure", f"words {', '.join(map(str, self.config.places))} places back")
        progress.step("data", f"{train.events:,} events, {len(train.ends):,} of them ends")
        values = histories(self.chain, [train.ids], np.arange(len(train.ids)) == 0)
        progress.step("forward", "p(w | h) is looked up along the chain of these words")
        progress.step("backward", "closed form: counts -> discounts -> probabilities")
        self.trie = estimate(train.ids[1:], np.zeros(train.vocabulary_size, np.int32), values[1:])
        progress.update(1.0)
        progress.step("predict", "the longest chain seen, discounted, plus all shorter ones")
        return FitReport(time.perf_counter() - began, train.events)

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: ln p of each target after the history since the last boundary, 0 elsewhere."""
        ids, starts = batch.joined()
        values = np.log(self.trie.look_up(ids, histories(self.chain, [ids], starts)))
        return np.where(batch.targets, batch.spread(values), 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token; sums to one up to rounding."""
        ids, starts, ends = open_ends_of(prefixes, self.max_context + 1)
        return np.log(self.trie.distributions(histories(self.chain, [ids], starts)[ends]))

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and the trie, ``skip.safetensors``."""
        directory = Path(directory)
        write_arrays(directory / ARRAYS_FILE, self.trie.to_arrays("trie"))
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where a file is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        path = directory / ARRAYS_FILE
        with damage_told(path):
            model = cls(SkipConfig(**state["config"]))
            model.tokenizer, model.trie = tokenizer, Trie.of_arrays(map_arrays(path), "trie", len(tokenizer.vocabulary))
            return model
