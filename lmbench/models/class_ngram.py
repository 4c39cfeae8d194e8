"""Tokens -> classes of words -> p(class | history) p(word | class, history): the class n-gram."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, Self

import numpy as np

from lmbench.compiled import in_threads
from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import UsageError
from lmbench.models.arrays import damage_told, map_arrays
from lmbench.models.base import Trainable, read_model, write_model
from lmbench.models.clusters import exchange
from lmbench.models.factored import CLASSES, WORDS, Factor, Trie, estimate, histories, open_ends_of
from lmbench.models.interpolation import fit_weights
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, write_arrays

ARRAYS_FILE = "class-ngram.safetensors"
CHUNK = 1 << 16
"""Tokens looked up at a time: bounds the temporary arrays whatever the length of a row."""
KINDS: dict[str, tuple[str, ...]] = {
    "classes": ("classes",),
    "words": ("words",),
    "both": ("words", "classes"),
    "all": ("words", "classes", "mixed"),
}
"""The chains of factors behind each choice of ``history``, see ``_chain``."""


@dataclass(frozen=True)
class ClassNGramConfig:
    """How many classes there are, and what is looked back on.

    Valid perplexity of Penn Treebank (order 5; Kneser-Ney 5-gram 148.01), for 50, 100, 200, 400 classes: Brown et
    al., that is history=classes:word_order=1, 291.2 239.5 199.5 177.7; both 130.2 129.3 129.2 132.8; all 128.8 128.0
    128.4 132.1. All four of the last in one mixture with a Kneser-Ney 5-gram and caches (half-lives 50, 500, none)
    103.2; 100 classes alone with the 5-gram and one cache of order 1, 113.6.
    """

    order: int = 5
    """Words in an n-gram of p(class | history), the predicted one included."""
    word_order: int | None = None
    """The same for p(word | class, history), by default ``order``; 1 looks at the class alone, as Brown et al. do."""
    classes: int | None = None
    """Classes of words, those of the sentence end and of <unk> included; by default the square root of V."""
    history: Literal["classes", "words", "both", "all"] = "all"
    """What is looked back on: the ``classes`` of the last words, the ``words`` themselves, ``both``, or ``all``,
    which adds the two by turns. Several are mixed with weights from valid."""
    sweeps: int = 30
    """How often at most each word is tried in all classes; it ends earlier where hardly a word moves."""

    def __post_init__(self) -> None:
        for name in ("order", "word_order", "sweeps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(
                    f"{name} of a class-ngram must be at least 1, not {value}: write class-ngram:{name}=5."
                )
        if self.classes is not None and self.classes < 3:
            raise UsageError(
                f"{self.classes} classes are too few: the sentence end and <unk> have one each. "
                "Write for example class-ngram:classes=200."
            )
        if self.history not in KINDS:
            raise UsageError(f"history of a class-ngram is one of {', '.join(KINDS)}, not '{self.history}'.")


class ClassNGram(Trainable):
    """What is rare is predicted from its class: first the class of the word, then the word (Brown et al. 1992).

    p(w | h) = p(g(w) | h) p(w | g(w), h), with g from the exchange algorithm (``clusters.py``). Brown's h is the
    classes of the last words, and p(w | g) looks no further. That both factors look back on the words themselves is
    Goodman's (2001) predictive clustering. Here each factor is a linear mixture of such histories, the weights found
    on valid by EM, and each estimate is interpolated modified Kneser-Ney over its chain of words and classes
    (``factored.py``)::

        p(g(w) | h) = sum_k  u_k p_k(g(w) | h)           p(w | g(w), h) = sum_k  v_k p_k(w | g(w), h)

    >>> from lmbench.corpus.tokenizers import train_tokenizer
    >>> sentences = ["the cat sat", "the dog slept", "a cat slept", "a dog ran", "the bird ran"]
    >>> tokens = train_tokenizer("word:min_count=1", sentences).encode(sentences)
    >>> model = ClassNGram(ClassNGramConfig(order=2, classes=5))
    >>> report = model.fit(tokens, tokens)
    >>> vocabulary = tokens.tokenizer.vocabulary
    >>> cat = model.word_class[vocabulary.id("cat")]
    >>> [word for word, number in zip(vocabulary.types, model.word_class, strict=True) if number == cat]
    ['cat', 'dog', 'bird']
    >>> history = tokens.tokenizer.encode(["a"]).ids[:-1]  # "a bird" was never seen
    >>> next_word = model.next_log_probs(Batch.of_prefixes([history]))[0]
    >>> sorted(vocabulary.types[word] for word in np.argsort(-next_word)[:3])
    ['bird', 'cat', 'dog']
    """

    kind = "class-ngram"
    Config = ClassNGramConfig
    reads = "left"
    context = "sentence"
    normalized = True

    word_class: np.ndarray
    """int32 (V,): the class of every word, once fitted."""
    class_tries: list[Trie]
    """p_k(class | h) for each kind of history."""
    word_tries: list[Trie]
    """p_k(word | class, h); a single one where only the class is looked at."""
    class_weights: np.ndarray
    """u, float64, sums to 1."""
    word_weights: np.ndarray
    """v, float64, sums to 1."""

    def __init__(self, config: ClassNGramConfig | None = None) -> None:
        self.config = config or ClassNGramConfig()
        self.max_context = max(self.config.order, self.config.word_order or 0) - 1
        self.class_chains = [_chain(name, self.config.order) for name in KINDS[self.config.history]]
        word_order = self.config.word_order or self.config.order
        chains = [_chain(name, word_order) for name in KINDS[self.config.history]]
        self.word_chains = chains if word_order > 1 else chains[:1]

    @property
    def parameters(self) -> int:
        """Stored outcomes of all histories, and the class of every word."""
        return sum(trie.entries for trie in (*self.class_tries, *self.word_tries)) + len(self.word_class)

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Cluster the words of ``train``, count and estimate in closed form, and weigh the histories on ``valid``."""
        began, progress = time.perf_counter(), progress or Silent()
        size, vocabulary = train.vocabulary_size, train.tokenizer.vocabulary
        classes = self.config.classes or max(3, round(size**0.5))
        self.tokenizer, self.config = train.tokenizer, replace(self.config, classes=classes)
        progress.step(
            "structure", f"{min(classes, size)} classes of {size:,} words, n-grams of order {self.config.order}"
        )
        progress.step("data", f"{train.events:,} events, {len(train.ends):,} of them ends")

        def swept(sweep: int, moved: int, nats: float) -> None:
            progress.update(0.5 * (sweep + 1) / self.config.sweeps, step=sweep + 1, moved=moved)

        self.word_class = exchange(train.ids, size, classes, vocabulary.unknown, self.config.sweeps, swept)
        kinds = " and ".join(KINDS[self.config.history])
        progress.step("forward", f"p(class | history) p(word | class, history); histories: {kinds}")
        progress.step("backward", "closed form: counts -> discounts -> probabilities; weights by EM on valid")
        self._estimate(train.ids)
        progress.update(0.9)
        class_probs, word_probs = self._look_up(valid.ids, np.arange(len(valid.ids)) == 0)
        self.class_weights = fit_weights(np.log(class_probs[:, 1:]))[0][0]
        self.word_weights = fit_weights(np.log(word_probs[:, 1:]))[0][0]
        loss = -np.log(_mix(self.class_weights, class_probs) * _mix(self.word_weights, word_probs))[1:].mean()
        progress.update(1.0, valid_loss=float(loss))
        progress.step("predict", "the class that the history asks for, then the word that fits it")
        return FitReport(time.perf_counter() - began, train.events, valid_loss=float(loss))

    def _estimate(self, ids: np.ndarray) -> None:
        """One trie for each chain: outcomes are classes in one group, or words in the group of their class."""
        streams, starts = (ids, self.word_class[ids]), np.arange(len(ids)) == 0
        one_group = np.zeros(int(self.word_class.max()) + 1, np.int32)
        jobs = [(CLASSES, one_group, chain) for chain in self.class_chains]
        jobs += [(WORDS, self.word_class, chain) for chain in self.word_chains]

        def build(job: tuple[int, np.ndarray, list[Factor]]) -> Trie:
            outcomes, group, chain = job
            return estimate(streams[outcomes][1:], group, histories(chain, streams, starts)[1:])

        tries = in_threads(build, jobs)
        self.class_tries, self.word_tries = tries[: len(self.class_chains)], tries[len(self.class_chains) :]

    def _look_up(self, ids: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float64 (k, N) each: p_k(class | h) and p_k(word | class, h) at every position of ``ids``."""
        streams = (ids, self.word_class[ids])
        of_classes, of_words = self._histories(streams, starts)
        by_class = [
            trie.look_up(streams[CLASSES], values) for trie, values in zip(self.class_tries, of_classes, strict=True)
        ]
        by_word = [trie.look_up(streams[WORDS], values) for trie, values in zip(self.word_tries, of_words, strict=True)]
        return np.array(by_class), np.array(by_word)

    def _histories(
        self, streams: tuple[np.ndarray, np.ndarray], starts: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What the tries of the classes and those of the words look back on: one read for both where it is the same."""
        of_classes = [histories(chain, streams, starts) for chain in self.class_chains]
        if self.word_chains == self.class_chains:
            return of_classes, of_classes
        return of_classes, [histories(chain, streams, starts) for chain in self.word_chains]

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats: ln p of each target after the history since the last boundary, 0 elsewhere."""
        values = np.concatenate([np.zeros(0), *self._log_probs(*batch.joined())])
        return np.where(batch.targets, batch.spread(values), 0.0)

    def _log_probs(self, ids: np.ndarray, starts: np.ndarray) -> Iterator[np.ndarray]:
        overlap = self.max_context  # what a chunk may look back on
        for first in range(0, len(ids), CHUNK):
            begin = max(0, first - overlap - 1)
            part = slice(begin, first + CHUNK)
            by_class, by_word = self._look_up(ids[part], starts[part])
            values = np.log(_mix(self.class_weights, by_class)) + np.log(_mix(self.word_weights, by_word))
            yield values[first - begin :]

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token; sums to one up to rounding."""
        ids, starts, ends = open_ends_of(prefixes, self.max_context + 1)
        of_classes, of_words = self._histories((ids, self.word_class[ids]), starts)
        jobs = list(zip((*self.class_tries, *self.word_tries), (*of_classes, *of_words), strict=True))
        expected = in_threads(lambda job: job[0].distributions(job[1][ends]), jobs)
        count = len(self.class_tries)
        by_class = sum(weight * part for weight, part in zip(self.class_weights, expected[:count], strict=True))
        by_word = sum(weight * part for weight, part in zip(self.word_weights, expected[count:], strict=True))
        return np.log(by_class)[:, self.word_class] + np.log(by_word)

    def save(self, directory: Path) -> None:
        """Write ``model.json`` and the classes and tries, ``class-ngram.safetensors``."""
        directory = Path(directory)
        arrays = {"word_class": self.word_class, "class_weights": self.class_weights, "word_weights": self.word_weights}
        for part, tries in (("class", self.class_tries), ("word", self.word_tries)):
            for number, trie in enumerate(tries):
                arrays.update(trie.to_arrays(f"{part}.{number}"))
        write_arrays(directory / ARRAYS_FILE, arrays)
        write_model(directory, self, {"config": asdict(self.config)})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where a file is missing or damaged."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        path, size = directory / ARRAYS_FILE, len(tokenizer.vocabulary)
        with damage_told(path):
            model, arrays = cls(ClassNGramConfig(**state["config"])), map_arrays(path)
            model.tokenizer, model.word_class = tokenizer, arrays["word_class"]
            model.class_weights, model.word_weights = arrays["class_weights"], arrays["word_weights"]
            classes = int(model.word_class.max()) + 1
            model.class_tries = [Trie.of_arrays(arrays, f"class.{k}", classes) for k in range(len(model.class_chains))]
            model.word_tries = [Trie.of_arrays(arrays, f"word.{k}", size) for k in range(len(model.word_chains))]
            if any((trie.group != model.word_class).any() for trie in model.word_tries):
                raise ValueError("the classes are not those of the words")
            for weights, tries in ((model.class_weights, model.class_tries), (model.word_weights, model.word_tries)):
                if weights.dtype != np.float64 or weights.shape != (len(tries),):
                    raise ValueError("the weights are not those of the histories")
            return model


def _chain(name: str, order: int) -> list[Factor]:
    """The factors of a history of ``order`` - 1 words, nearest first; ``mixed`` reads at most ``order`` factors.

    >>> [("wg"[factor.stream], factor.distance) for factor in _chain("mixed", 5)]
    [('g', 1), ('w', 1), ('g', 2), ('w', 2), ('g', 3)]
    """
    streams = {"words": [WORDS], "classes": [CLASSES], "mixed": [CLASSES, WORDS]}[name]
    factors = (Factor(stream, distance) for distance in range(1, order) for stream in streams)
    return list(islice(factors, order if len(streams) > 1 else order - 1))


def _mix(weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """float64 (N,): the weighted sum, added in one order however many events there are, unlike a product of BLAS."""
    return (weights[:, None] * probabilities).sum(0)
