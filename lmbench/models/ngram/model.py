"""Tokens -> counts -> estimates -> log probabilities: the n-gram language model."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.ngram.counting import count
from lmbench.models.ngram.files import load_table, save_table
from lmbench.models.ngram.smoothing import modified_kneser_ney
from lmbench.models.ngram.table import Table
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints

ARRAYS_FILE = "ngram.safetensors"
DEFAULT_ORDER = 5
DEFAULT_CHARACTER_ORDER = 7
"""Valid loss of orders 5 to 10 on tiny Shakespeare, nats per character: 1.561 1.523 1.517 1.519 1.522 1.523, and the
entries grow by half with each. Larger texts gain a little beyond (PTB, 5 million characters: 7 1.027, 10 0.985)."""


@dataclass(frozen=True)
class NGramConfig:
    """How long the n-grams are."""

    order: int | None = None
    """Words in an n-gram, the predicted one included; by default 5, and 7 where a token is a character or a byte."""

    def __post_init__(self) -> None:
        if self.order is not None and self.order < 1:
            raise UsageError(
                f"The order of an n-gram model must be at least 1, not {self.order}: "
                "1 counts single words, 5 looks back on four words. Write for example ngram:order=5."
            )


class NGram(Trainable):
    """Interpolated modified Kneser-Ney (Kneser & Ney 1995; Chen & Goodman 1999), unpruned, exact.

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + b(h) p(w | h'), h' being h without its oldest word: what was
    seen, discounted, plus the next shorter history; below the unigrams 1 / V. ``smoothing.py`` has the details.

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> sentences = ["the cat sat", "the cat slept"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = NGram(NGramConfig(order=2))
    >>> report = model.fit(tokens, tokens)
    >>> next_word = np.exp(model.next_log_probs(Batch.of_prefixes([np.array([0])]))[0])
    >>> model.tokenizer.vocabulary.types[next_word.argmax()], round(float(next_word.sum()), 6)
    ('the', 1.0)
    """

    kind = "ngram"
    Config = NGramConfig
    reads = "left"
    context = "sentence"
    normalized = True

    table: Table
    """The stored n-grams, once fitted."""

    def __init__(self, config: NGramConfig | None = None) -> None:
        self.config = config or NGramConfig()
        self.max_context = (self.config.order or DEFAULT_ORDER) - 1

    @classmethod
    def of(cls, table: Table, tokenizer: Tokenizer, config: NGramConfig | None = None) -> Self:
        """The model that looks up ``table``, however it was estimated. ``config``: by default its highest order."""
        model = cls(config or NGramConfig(order=len(table.orders)))
        model._take(tokenizer)
        model.table = table
        return model

    def _take(self, tokenizer: Tokenizer) -> int:
        """Take the vocabulary over; returns the order, which may depend on it."""
        small = tokenizer.kind in ("char", "byte")
        order = self.config.order or (DEFAULT_CHARACTER_ORDER if small else DEFAULT_ORDER)
        self.tokenizer, self.max_context, self.config = tokenizer, order - 1, replace(self.config, order=order)
        return order

    @property
    def parameters(self) -> int:
        """Stored n-grams of all orders."""
        return self.table.entries

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
        notes: list[str] = []

        def note(text: str) -> None:
            notes.append(text)
            progress.note(text)

        order, size = self._take(train.tokenizer), train.vocabulary_size
        progress.step("structure", f"interpolated modified Kneser-Ney, order {order}, V = {size:,}")
        progress.step("data", f"{train.events:,} events, {len(train.ends):,} of them ends")
        counts = count(train.ids, size, order)
        sizes = " + ".join(f"{len(grams):,}" for grams in counts.orders)
        progress.step("forward", f"p(w | h) is looked up among {sizes} n-grams")
        progress.step("backward", "closed form: counts -> counts of counts -> discounts -> probabilities")
        self.table = modified_kneser_ney(counts, note=note)
        progress.update(1.0)
        progress.step("predict", "the longest history seen, discounted, plus all shorter ones")
        return FitReport(time.perf_counter() - began, train.events, notes=tuple(notes))

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: ln p of each target after the history since the last boundary, 0 elsewhere."""
        result, _, _ = self._look_up(batch)
        result[~batch.targets] = 0.0
        return result

    def orders(self, batch: Batch) -> np.ndarray:
        """int8 (B, T): how many words the n-gram had that gave each target its probability, 1 to the order."""
        return np.where(batch.targets, self._look_up(batch)[1], 0)

    def confidence(self, batch: Batch) -> np.ndarray:
        """int8 (B, T): how many words of the history before each target were found, 0 to the order - 1."""
        return np.where(batch.targets, self._look_up(batch)[2], 0)

    def _look_up(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What ``Table.look_up`` gives, (B, T) each, 0 in the padding."""
        inside = np.arange(batch.ids.shape[1]) < batch.lengths[:, None]  # (B, T), not padding
        starts = np.zeros(batch.ids.shape, bool)
        starts[:, :1] = True
        answers = self.table.look_up(batch.ids[inside], starts[inside])
        log_probs, orders, known = (np.zeros(inside.shape, answer.dtype) for answer in answers)
        log_probs[inside], orders[inside], known[inside] = answers
        return log_probs, orders, known

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token; sums to one up to rounding."""
        rows = zip(prefixes.ids, prefixes.lengths, strict=True)
        return self.table.next_log_probs([row[:length] for row, length in rows])

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and the arrays of each order, ``ngram.safetensors``."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        save_table(directory / ARRAYS_FILE, self.table)
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what ``save`` wrote. Raises ModelError where a file is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        path = directory / ARRAYS_FILE
        try:
            table = load_table(path, len(tokenizer.vocabulary))
            return cls.of(table, tokenizer, NGramConfig(**state["config"]))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}). Train the model again.") from None
