"""Several models of the same tokens -> one: their probabilities, mixed by weights that are learned on held-out text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import Tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import Confident, LanguageModel, Reading, read_model, write_model
from lmbench.models.composed import Composed, load_parts, total
from lmbench.models.distributions import at_once, distributions, in_blocks
from lmbench.models.interpolation import fit_weights
from lmbench.models.power_mean import fit_power_mean, power_mean
from lmbench.models.reading import Rereading, open_reading
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints

PRIOR = 50.0
"""Events that the weights of all buckets together are worth in each bucket, so that a rare one says little."""
LEVELS = 16
"""Confidences of a part are told apart up to this number."""
CELLS = 1 << 27
"""Numbers that the search for a power mean holds, in float32: parts x events x types."""
FEWEST_EVENTS = 300
"""It sees so many events, if there are, even where they are more numbers: 0.7 GB for six parts of 100,000 types."""


@dataclass(frozen=True)
class MixtureConfig:
    """How the parts are mixed. Written before them: ``mixture:buckets=confidence+ngram+cache``."""

    buckets: Literal["none", "confidence"] = "none"
    """none: one weight for each part; confidence: weights that depend on what the parts know before they see the word,
    such as how long a history an n-gram model has found (Jelinek & Mercer 1980). On valid of Penn Treebank, ngram+cache
    has perplexity 121.73 and 120.74; with three caches, of half-lives 50, 500 and none, 119.20 and 117.47."""
    mean: Literal["linear", "power"] = "linear"
    """linear: the weighted sum; power: between sum and product, each part sharpened or flattened as suits the
    validation split (``power_mean.py``). On test of Penn Treebank three small networks and two counted models have
    perplexity 78.75 and 77.06, on Chinese characters three and one 118.63 and 116.53. Slower: every part gives its
    probabilities of all types for each token that is scored, for which infinigram reads all that it may look back on
    anew."""

    def __post_init__(self) -> None:
        if self.mean == "power" and self.buckets != "none":
            raise UsageError(
                "A power mean has one weight for each part, so mean=power cannot be had together with "
                f"buckets={self.buckets}. Leave one of them out."
            )


class Mixture(Composed):
    """Linear interpolation of any models that share their tokens (Jelinek & Mercer 1980).

    With b the bucket of the history h, known before the word w::

        p(w | h) = sum_i w_i(b) p_i(w | h)

    The weights are those under which the validation split is most probable (``interpolation.py``). Each part keeps its
    own context: one that reads sentence by sentence begins anew at each boundary, whatever the others do. With
    ``mean=power`` the sum gives way to a power mean (``power_mean.py``).

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> from lmbench.models import registry
    >>> sentences = ["the cat sat", "the dog slept"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = registry.create("ngram:order=2+uniform")
    >>> report = model.fit(tokens, tokens)
    >>> model.weights.round(3).tolist()  # on the text that it was trained on the bigram is always better
    [[1.0, 0.0]]
    """

    kind = "mixture"
    Config = MixtureConfig
    reads = "left"
    normalized = True

    def __init__(self, config: MixtureConfig | None = None, parts: Sequence[LanguageModel] = ()) -> None:
        """``parts``: fitted models, or unfitted ones for ``fit``. Raises UsageError where they cannot be mixed."""
        super().__init__(parts)
        self.config = config or MixtureConfig()
        if len(self.parts) < 2:
            raise UsageError(
                f"A mixture needs at least two parts and has {len(self.parts)}. Join them by +, its own settings "
                "first: ngram+cache, or mixture:buckets=confidence+ngram+cache."
            )
        for part in self.parts:
            if part.reads != "left" or not part.normalized:
                why = "gives no distribution" if part.reads == "left" else "reads both sides of a word"
                raise UsageError(
                    f"{part.kind} cannot be part of a mixture: it {why}, so its scores are no probabilities that could "
                    "be averaged with those of others. Mix models that read to the left and sum to one, such as ngram, "
                    "lstm, gpt or cache."
                )
        self.context = "stream" if any(part.context == "stream" for part in self.parts) else "sentence"
        self.adapts = any(part.adapts for part in self.parts)
        self.keys = np.zeros(0, np.int64)  # (K,), ascending: the buckets that have weights of their own
        self.weights = np.full((1, len(self.parts)), 1 / len(self.parts))  # (1 + K, M); row 0 for all other buckets
        self.exponents, self.power = np.ones(len(self.parts)), 1.0  # (M,), of a power mean

    @property
    def max_context(self) -> int | None:  # type: ignore[override]
        """Of the part that looks back furthest."""
        known = [part.max_context for part in self.parts]
        return None if None in known else max(length for length in known if length is not None)

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Train each part that was not taken with the whole ``budget``, then find the weights on ``valid``.

        The report adds the costs of all parts up. With ``checkpoints`` a part that is done is kept beside them, and a
        fit that was cut off goes on from there.
        """
        progress = progress or Silent()
        reports = self.train_parts(train, valid, budget, progress, checkpoints)
        began = time.perf_counter()
        notes, valid_loss = self.fit_weights(valid, progress)
        notes = (*(note for report in reports for note in report.notes), *notes)
        return total(reports, time.perf_counter() - began, valid_loss, notes)

    def fit_weights(self, valid: Tokens, progress: Progress | None = None) -> tuple[tuple[str, ...], float]:
        """Find the weights on ``valid`` for parts that are fitted; notes that tell them, and nats per event there.

        A power mean sees a sample of the events only (``CELLS``), and its nats are those of the sample.

        Raises ModelError where the parts do not share their tokens.
        """
        progress = progress or Silent()
        self.tokenizer = _shared_tokenizer(self.parts)
        buckets = {"none": "one weight each", "confidence": "weights by confidence"}[self.config.buckets]
        formula = {"linear": "p = sum of w_i p_i", "power": "p ~ (sum of w_i p_i^(a_i r))^(1/r)"}[self.config.mean]
        progress.step("structure", f"{formula} over {len(self.parts)} parts, {buckets}: {', '.join(self.names)}")
        if self.config.mean == "power":
            return self._fit_power_mean(valid, progress)
        batch = Batch.of([valid.ids])  # the stream: parts that read sentence by sentence begin anew by themselves
        log_probs = np.stack([part.log_probs(batch)[0, 1:] for part in self.parts]).astype(np.float64)
        self.weights, _ = fit_weights(log_probs)
        if self.config.buckets == "confidence":
            self.keys, places = np.unique(self._confidence(batch)[0, 1:], return_inverse=True)
            inside, _ = fit_weights(log_probs, places, self.weights[0], PRIOR)
            self.weights = np.concatenate([self.weights, inside])
        else:
            self.keys = self.keys[:0]
        loss = -float(self._mix(log_probs, self._rows(batch)[:, 1:]).mean())
        told = ", ".join(f"{weight:.3f} {name}" for weight, name in zip(self.weights[0], self.names, strict=True))
        note = f"weights on {valid.events:,} events of the validation split: {told}"
        note += f"; and {len(self.keys)} buckets with weights of their own" if len(self.keys) else ""
        progress.step("backward", f"weights by expectation maximisation on {valid.events:,} held-out events")
        progress.step("predict", f"{loss:.4f} nats per event of the validation split")
        progress.note(note)
        return (note,), loss

    def _fit_power_mean(self, valid: Tokens, progress: Progress) -> tuple[tuple[str, ...], float]:
        """The same for a power mean: on events spread evenly over ``valid``, as many as memory holds well."""
        types, models = valid.vocabulary_size, len(self.parts)
        batch = valid.sample(max(FEWEST_EVENTS, CELLS // (types * models)))
        targets = batch.ids[batch.targets]
        events = len(targets)
        log_probs = np.empty((models, events, types), np.float32)
        for part, rows in zip(self.parts, log_probs, strict=True):
            first = 0
            for block in distributions(part, batch):
                rows[first : first + len(block)] = block
                first += len(block)
        weights, self.exponents, self.power, loss = fit_power_mean(log_probs, targets)
        self.weights, self.keys = weights[None], self.keys[:0]
        told = ", ".join(
            f"{weight:.3f} {name} (a = {exponent:.2f})"
            for weight, exponent, name in zip(weights, self.exponents, self.names, strict=True)
        )
        note = f"power mean, r = {self.power:.3f}, on {events:,} events of the validation split: {told}"
        progress.step("backward", f"weights, exponents and power by L-BFGS on {events:,} held-out events")
        progress.step("predict", f"{loss:.4f} nats per event of these")
        progress.note(note)
        return (note,), loss

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: ln p of each target, 0 elsewhere."""
        if self.config.mean == "power":
            return self._picked(batch)
        result = self._mix((part.log_probs(batch) for part in self.parts), self._rows(batch))
        return np.where(batch.targets, result, 0.0)

    def _picked(self, batch: Batch) -> np.ndarray:
        """``log_probs`` out of the distributions of all targets."""
        result, targets, first = np.zeros(batch.ids.shape), batch.ids[batch.targets], 0
        values = np.empty(len(targets))
        for block in self.distributions(batch):
            wanted = targets[first : first + len(block)]
            values[first : first + len(block)] = block[np.arange(len(block)), wanted]
            first += len(block)
        result[batch.targets] = values
        return result

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float (B, V), nats."""
        longer = [np.append(row, 0) for row in prefixes.rows()]
        after = Batch.of(longer)  # any word will do: only what is known before it is asked for
        rows = self._rows(after)[np.arange(len(longer)), after.last()]
        return self._mix((part.next_log_probs(prefixes) for part in self.parts), rows[:, None])

    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float (N, V), nats, a block after the other: see ``base.Distributions``."""
        size, rows, first = at_once(len(self.tokenizer.vocabulary)), self._rows(batch)[batch.targets], 0
        for blocks in zip(*(in_blocks(distributions(part, batch), size) for part in self.parts), strict=True):
            yield self._mix(blocks, rows[first : first + len(blocks[0]), None])
            first += len(blocks[0])

    def reading(self, prefixes: Sequence[np.ndarray]) -> Reading:
        """See ``base.Resumable``. Where the weights depend on what the parts know, it is read anew."""
        return Rereading(self, prefixes) if len(self.keys) else _JointReading(self, prefixes)

    def _mix(self, log_probs: Iterable[np.ndarray], rows: np.ndarray) -> np.ndarray:
        """ln sum w_i p_i, without leaving the logarithms. ``rows``: int, which row of the weights, broadcast.

        Or the power mean, which has one row of weights, and wants whole distributions, (N, V) each.
        """
        if self.config.mean == "power":
            return power_mean(list(log_probs), self.weights[0], self.exponents, self.power)
        with np.errstate(divide="ignore"):  # a part without weight
            weights = np.log(self.weights)
        weighted = (weights[rows, number] + values for number, values in enumerate(log_probs))
        return reduce(np.logaddexp, weighted)

    def _rows(self, batch: Batch) -> np.ndarray:
        """int64 (B, T): the row of the weights for each token; 0 for a bucket that was not in the validation split."""
        if not len(self.keys):
            return np.zeros(batch.ids.shape, np.int64)
        wanted = self._confidence(batch)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[places] == wanted, places + 1, 0)

    def _confidence(self, batch: Batch) -> np.ndarray:
        """int64 (B, T): the confidences of all parts that know theirs, as one number."""
        key = np.zeros(batch.ids.shape, np.int64)
        for part in self.parts:
            if isinstance(part, Confident):
                key = key * LEVELS + np.minimum(part.confidence(batch), LEVELS - 1)
        return key

    def save(self, directory: Path) -> None:
        """Write each part into a folder of its own, ``part-1`` ..., then ``model.json`` with the weights."""
        directory = Path(directory)
        self.save_parts(directory)
        state = {"parts": len(self.parts), "weights": self.weights.tolist(), "buckets": self.keys.tolist()}
        if self.config.mean == "power":
            state |= {"exponents": self.exponents.tolist(), "power": self.power}
        write_model(directory, self, {"config": asdict(self.config), **state})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where a part is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        try:
            parts = load_parts(directory, state["parts"])
            model = cls(MixtureConfig(**state["config"]), parts)
            model.weights, model.keys = np.array(state["weights"]), np.array(state["buckets"], np.int64)
            if model.weights.shape != (1 + len(model.keys), len(parts)):
                raise ValueError(f"weights of shape {model.weights.shape} for {len(parts)} parts")
            if model.config.mean == "power":
                model.exponents, model.power = np.array(state["exponents"]), float(state["power"])
                if model.exponents.shape != (len(parts),) or len(model.keys) or not model.power > 0:
                    raise ValueError(
                        f"power {model.power}, exponents of shape {model.exponents.shape} for {len(parts)} parts"
                    )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The mixture in {directory} is damaged ({error}). Make it again.") from None
        model.tokenizer = tokenizer
        return model


class _JointReading(Reading):
    """Readings of all parts of a mixture, each with one weight."""

    log_probs: np.ndarray

    def __init__(self, mixture: Mixture, prefixes: Sequence[np.ndarray]) -> None:
        self.mixture, self.readings = mixture, [open_reading(part, prefixes) for part in mixture.parts]
        self._join()

    def append(self, ids: np.ndarray) -> None:
        for reading in self.readings:
            reading.append(ids)
        self._join()

    def keep(self, rows: np.ndarray) -> None:
        for reading in self.readings:
            reading.keep(rows)
        self.log_probs = self.log_probs[rows]

    def _join(self) -> None:
        parts = [reading.log_probs for reading in self.readings]
        self.log_probs = self.mixture._mix(parts, np.zeros((len(parts[0]), 1), np.int64))


def _shared_tokenizer(parts: Sequence[LanguageModel]) -> Tokenizer:
    """The tokenizer of all ``parts``. Raises ModelError where they have several."""
    first = parts[0].tokenizer
    for part in parts[1:]:
        if part.tokenizer is not first and _reading(part.tokenizer) != _reading(first):
            raise ModelError(
                f"{parts[0].kind} reads {first.spec} tokens of a vocabulary of {len(first.vocabulary):,}, {part.kind} "
                f"{part.tokenizer.spec} tokens of another of {len(part.tokenizer.vocabulary):,}: only models that "
                "predict the same events can be mixed. Train them on the same text with the same tokenizer."
            )
    return first


def _reading(tokenizer: Tokenizer) -> dict[str, Any]:
    """What decides which ids a text becomes: not how often each type was seen, nor by what counts types were chosen."""
    state = tokenizer.to_dict()
    config = {key: value for key, value in state["config"].items() if key not in ("min_count", "size")}
    return {**state, "config": config, "counts": None}
