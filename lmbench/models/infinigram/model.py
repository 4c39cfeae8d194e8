"""Tokens -> context tree -> discounts -> log probabilities: the n-gram model without a highest order."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import UsageError
from lmbench.models.arrays import damage_told, map_arrays
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.infinigram.smoothing import Discounts, learn_discounts, shares
from lmbench.models.infinigram.table import Table, estimate, history_lengths
from lmbench.models.infinigram.tree import UNLIMITED, context_tree
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, write_arrays

ARRAYS_FILE = "infinigram.safetensors"


@dataclass(frozen=True)
class InfinigramConfig:
    """How far the model looks back."""

    longest: int | None = None
    """Tokens of history that are read at most; by default all since the last boundary."""

    def __post_init__(self) -> None:
        if self.longest is not None and self.longest < 0:
            raise UsageError(
                f"The longest history cannot have {self.longest} tokens. Write for example infinigram:longest=4, which "
                "looks back as far as a 5-gram, or leave it out, and nothing is cut."
            )


class Infinigram(Trainable):
    """Interpolated Kneser-Ney of unbounded order on a suffix tree, discounts by depth learnt on held-out text.

    p(w | v) = (a(vw) - D_v(a(vw))) / A_v + b_v p(w | u): like an n-gram model, but v is the longest context seen in
    training that the history ends in, and u the next shorter one that was seen in other places too; the lengths
    between the two are the same occurrences again, no new evidence. The look-up of infini-gram (Liu et al. 2024) on the
    structure of Kennington et al. (2012) and Shareghi et al. (2016), smoothed like a sequence memoizer (Wood et al.
    2009), so that it is a distribution. ``tree.py`` and ``smoothing.py`` have the details.

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> sentences = ["the old cat sat on the mat", "the old dog sat on the floor"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = Infinigram()
    >>> report = model.fit(tokens, tokens)
    >>> history = model.tokenizer.encode(["the old dog sat on the"]).ids[:-1]
    >>> next_word = np.exp(model.next_log_probs(Batch.of_prefixes([history]))[0])
    >>> model.tokenizer.vocabulary.types[next_word.argmax()], round(float(next_word.sum()), 9)
    ('floor', 1.0)
    """

    kind = "infinigram"
    Config = InfinigramConfig
    reads = "left"
    context = "sentence"
    normalized = True

    discounts: Discounts
    """How much is taken from each count, once fitted."""
    table: Table
    """All probabilities, once fitted."""

    def __init__(self, config: InfinigramConfig | None = None) -> None:
        self.config = config or InfinigramConfig()
        self.max_context = self.config.longest

    @property
    def parameters(self) -> int:
        """Tokens of the text and entries of the tree: what is stored, and what is estimated."""
        return len(self.table.tree.text) + self.table.tree.entries

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Build the tree of ``train``, learn the discounts on ``valid``: a few seconds, whatever the budget."""
        began, progress = time.perf_counter(), progress or Silent()
        self.tokenizer, size = train.tokenizer, train.vocabulary_size
        reach = UNLIMITED if self.max_context is None else self.max_context
        told = "any length" if self.max_context is None else f"at most {reach} tokens"
        progress.step("structure", f"interpolated Kneser-Ney, histories of {told}, V = {size:,}")
        progress.step("data", f"{train.events:,} events, {len(train.ends):,} of them ends; their contexts are sorted")
        tree = context_tree(train.ids, size, reach)
        progress.update(0.5)
        progress.step("forward", f"p(w | h) is looked up among {tree.entries:,} words at {tree.nodes:,} branchings")
        progress.step("backward", f"gradient descent on {valid.events:,} held-out events -> discounts")
        starts = np.arange(len(valid.ids)) == 0
        lengths = history_lengths(valid.ids, starts, reach)
        of_nodes = shares(tree)
        self.discounts = learn_discounts(tree, of_nodes, valid.ids, lengths, size)
        self.table = estimate(tree, of_nodes, self.discounts, size, reach)
        valid_loss = -float(self.table.log_probs(valid.ids, starts)[1:].mean())
        progress.update(1.0, valid_loss=valid_loss)
        progress.step("predict", "the longest history seen, discounted, plus those of the branchings above it")
        return FitReport(time.perf_counter() - began, train.events, valid_loss=valid_loss)

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: ln p of each target after the history since the last boundary, 0 elsewhere."""
        return np.where(batch.targets, batch.spread(self.table.log_probs(*batch.joined())), 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token; sums to one up to rounding."""
        return self.table.next_log_probs(prefixes.rows())

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and ``infinigram.safetensors``: text and discounts, from which all follows."""
        directory = Path(directory)
        arrays = {"text": self.table.tree.text, "node": self.discounts.node, "leaf": self.discounts.leaf}
        write_arrays(directory / ARRAYS_FILE, arrays)
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote and build the tree anew. Raises ModelError where a file is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        path, size = directory / ARRAYS_FILE, len(tokenizer.vocabulary)
        with damage_told(path):
            model = cls(InfinigramConfig(**state["config"]))
            arrays = map_arrays(path)
            text, model.discounts = arrays["text"], Discounts(arrays["node"].copy(), arrays["leaf"].copy())  # writable
            model.discounts.check()
            if text.dtype != np.int32 or text.ndim != 1 or not len(text) or text[-1] != 0:
                raise ValueError("its text does not begin with a boundary")
            if text.min() < 0 or text.max() >= size:
                raise ValueError("its text holds tokens that are not in the vocabulary")
        model.tokenizer = tokenizer
        reach = UNLIMITED if model.max_context is None else model.max_context
        tree = context_tree(np.append(text[::-1], np.int32(0)), size, reach)
        model.table = estimate(tree, shares(tree), model.discounts, size, reach)
        return model
