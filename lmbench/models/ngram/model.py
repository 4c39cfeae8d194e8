"""Tokens -> counts -> estimates -> log probabilities: the n-gram language model."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.errors import UsageError
from lmbench.models.arrays import damage_told
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.ngram.counting import Counts, count
from lmbench.models.ngram.files import load_table, save_table
from lmbench.models.ngram.runs import RESERVE, clear, count_in_runs, memory_in_bytes, scratch
from lmbench.models.ngram.settings import check_settings, describe_method, estimate_as
from lmbench.models.ngram.table import Table
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.distributed import processes

ARRAYS_FILE = "ngram.safetensors"
DEFAULT_ORDER = 5
DEFAULT_CHARACTER_ORDER = 7
"""Valid loss of orders 5 to 10 on tiny Shakespeare, nats per character: 1.561 1.523 1.517 1.519 1.522 1.523, and the
entries grow by half with each. Larger texts gain a little beyond (PTB, 5 million characters: 7 1.027, 10 0.985)."""


@dataclass(frozen=True)
class NGramConfig:
    """How long the n-grams are, how their counts become probabilities, and which of them are kept."""

    order: int | None = None
    """Words in an n-gram, the predicted one included; by default 5, and 7 where a token is a character or a byte."""
    smoothing: Literal[
        "mle", "add-k", "good-turing", "witten-bell", "absolute", "jelinek-mercer", "kneser-ney", "modified-kneser-ney",
        "stupid-backoff",
    ] = "modified-kneser-ney"  # fmt: skip
    """How something is left for what was not seen. mle: nothing is, so one unseen word makes the perplexity infinite.
    add-k: k is added to each count after the whole history (Lidstone, Laplace). good-turing: Katz's backoff, as SRILM
    does by default. witten-bell: as much as the history had different words. absolute: a discount from each count.
    jelinek-mercer: weights by how often the history was seen, fitted on the valid split. kneser-ney,
    modified-kneser-ney: discounts from counts of contexts, one an order or three. stupid-backoff: 0.4 times the score
    of the shorter history; its scores are no probabilities, so it has no perplexity."""
    form: Literal["interpolated", "backoff"] | None = None
    """interpolated: the shorter history has a say in every probability. backoff: only in those of words not seen.
    By default interpolated; good-turing is always backoff; absolute, witten-bell and kneser-ney have both forms."""
    k: float | None = None
    """What add-k adds to every count; by default the value under which the valid split is most probable."""
    discounts: str | None = None
    """Discounts to be used as they are, the unigrams first, / between orders, - between the three of
    modified-kneser-ney: 0.32-1.44-2.06/0.72-1.25-1.53; one an order for absolute and kneser-ney: 0.5/0.8. By default
    they are estimated from counts of counts."""
    closed: bool = False
    """Whether <unk> has no probability at all, so that a text with an unknown word has an infinite perplexity. By
    default the vocabulary is open: <unk> is a word like any other where the tokenizer made rare words <unk>
    (min_count), and otherwise has the floor that words without a count have."""
    vocabulary: int | None = None
    """Types that the language is taken to have, at least those of the tokenizer; <unk> stands for all that are not
    among these. The floor is spread over so many, and add-k adds k for each. By default the types of the tokenizer."""
    floor: bool = True
    """Whether what is left below the unigrams is spread evenly over all types, as KenLM does; if not, all of it goes to
    <unk>, or where there is none to the words by their counts."""
    cutoffs: str | None = None
    """n-grams seen no more often than this are dropped, for order 1, 2, ..., the last one holding for all further
    orders: 0-0-1 drops what was seen once from order 3 on. By default only good-turing drops, just that."""
    prune_threshold: float | None = None
    """Drops n-grams without which the perplexity of the model's own text rises by no more than this share of it, such
    as 1e-8 (Stolcke 1998: relative entropy)."""
    entries: int | None = None
    """Drops n-grams in the same order until at most so many are left, those of all orders together."""
    memory: str | None = None
    """How much memory counting and estimating may take, such as 2G: the text is counted in pieces and everything large
    lies in files beside the model until it is done. The same model comes out. By default all is held in memory."""
    device: str = "auto"
    """cuda: n-grams are counted by torch on the GPU, with the same result; cpu and auto: by compiled loops, quick
    enough for most. Everything else is done on the processor."""

    def __post_init__(self) -> None:
        if self.order is not None and self.order < 1:
            raise UsageError(
                f"The order of an n-gram model must be at least 1, not {self.order}: "
                "1 counts single words, 5 looks back on four words. Write for example ngram:order=5."
            )
        if self.memory is not None and memory_in_bytes(self.memory) and self.device not in ("cpu", "auto"):
            raise UsageError(f"memory={self.memory} and device={self.device} do not go together: leave one out.")
        check_settings(self)


class NGram(Trainable):
    """Counted n-grams, by default interpolated modified Kneser-Ney (Kneser & Ney 1995; Chen & Goodman 1999), exact.

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv) + b(h) p(w | h'), h' being h without its oldest word: what was
    seen, discounted, plus the next shorter history; below the unigrams 1 / V. ``methods.py`` has this and all other
    ways to smooth.

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
        self.normalized = self.config.smoothing != "stupid-backoff"
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
        """Count ``train`` and estimate in closed form: one pass, whatever the budget.

        ``valid`` is read only for what cannot be had from counts: k of add-k, and the weights of Jelinek-Mercer.
        Raises UsageError where the settings do not go with the vocabulary.
        """
        began, progress = time.perf_counter(), progress or Silent()
        notes: list[str] = []

        def note(text: str) -> None:
            notes.append(text)
            progress.note(text)

        if self.config.memory is not None and memory_in_bytes(self.config.memory) < 2 * RESERVE:
            note(
                f"memory={self.config.memory} is less than this program itself may need: counting and estimating take "
                f"as little as they can, and the process more than was asked. From {2 * RESERVE >> 20}M on it is kept."
            )
        order, size = self._take(train.tokenizer), train.vocabulary_size
        progress.step("structure", f"{describe_method(self.config)}, order {order}, V = {size:,}")
        progress.step("data", f"{train.events:,} events, {np.count_nonzero(train.ids == 0) - 1:,} of them ends")
        folder = self._folder(checkpoints)
        counts = self._count(train.ids, size, folder, progress)
        sizes = " + ".join(f"{len(grams):,}" for grams in counts.orders)
        progress.step("forward", f"p(w | h) is looked up among {sizes} n-grams")
        progress.step("backward", "closed form: counts -> counts of counts -> discounts -> probabilities")
        allocate = scratch(folder) if folder else np.empty
        self.config, self.table = estimate_as(self.config, counts, train, valid, note, allocate)
        if folder:
            clear(folder)
        progress.update(1.0)
        progress.step("predict", f"the longest stored history decides, {self.table.entries:,} n-grams in all")
        return FitReport(time.perf_counter() - began, train.events, notes=tuple(notes))

    def _folder(self, checkpoints: Checkpoints | None) -> Path | None:
        """Where files lie while the model is made, if memory is limited."""
        if self.config.memory is None:
            return None
        if checkpoints and processes().leads:
            return checkpoints.directory / "counting"
        return Path(tempfile.mkdtemp(prefix="lmbench-"))

    def _count(self, ids: np.ndarray, size: int, folder: Path | None, progress: Progress) -> Counts:
        order = self.max_context + 1
        if folder and self.config.memory:
            return count_in_runs(ids, size, order, memory_in_bytes(self.config.memory), folder, progress.update)
        if self.config.device not in ("cpu", "auto"):
            from lmbench.models.ngram.on_device import count_on_device  # loads torch

            return count_on_device(ids, size, order, self.config.device)
        return count(ids, size, order)

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
        log_probs, orders, known = self.table.look_up(*batch.joined())
        return batch.spread(log_probs), batch.spread(orders), batch.spread(known)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token; sums to one up to rounding."""
        return self.table.next_log_probs(prefixes.rows())

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and the arrays of each order, ``ngram.safetensors``."""
        directory = Path(directory)
        save_table(directory / ARRAYS_FILE, self.table)
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what ``save`` wrote. Raises ModelError where a file is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        path = directory / ARRAYS_FILE
        with damage_told(path):
            table = load_table(path, len(tokenizer.vocabulary))
            return cls.of(table, tokenizer, NGramConfig(**state["config"]))
