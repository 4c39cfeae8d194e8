"""A KenLM file, binary or ARPA -> a model like any other, scored by KenLM's own module (the extra ``kenlm``)."""

from __future__ import annotations

import mmap
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.corpus.reading import read_text
from lmbench.corpus.segmentation import NUL, split_words
from lmbench.corpus.tokenizers import Tokenizer, WordConfig
from lmbench.corpus.vocabulary import BOUNDARY, UNKNOWN, Vocabulary
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import Context, LanguageModel, read_model, write_model
from lmbench.models.ngram.arpa import KENLM_BINARY, START
from lmbench.models.ngram.arpa.reading import Arpa, read_words
from lmbench.models.ngram.arpa.words import tokenizer_of, written
from lmbench.training.checkpoints import atomic

MODEL_COPY = "kenlm.model"
"""Name of the file in the folder of a kept model."""
ORDER_AT, COUNTS_AT = 88, 108
"""Bytes of a binary file (version 5) at which the order, and the number of n-grams of each order, stand."""
LN10 = float(np.log(10))
EXACT = 1e-3
"""How far from 1 the probabilities may sum; those of a quantized file do not, and it counts as not normalized."""


class KenLM(LanguageModel):
    """A KenLM file, asked word by word (Heafield 2011). It is not trained but converted: lmbench convert FILE DIR.

    log p(w | h) is that of the longest stored n-gram that ends hw, plus the backoff weights of the contexts given up.
    Where the words are known (from the file, or a list beside it) it predicts the next word like any other model;
    otherwise it scores text and no more.

    ``words``: the vocabulary; those that the model does not know are left out. Raises ModelError where the module
    is not installed, the file cannot be read, or the words are not those of the model.
    """

    kind = "kenlm"
    reads = "left"
    context: Context = "sentence"

    def __init__(self, path: str | Path, words: Iterable[str] | None = None) -> None:
        self.path = Path(path)
        self._module, self._model = _opened(self.path)
        self.max_context = self._model.order - 1
        self._counts = _counts(self.path)
        self.normalized = True
        self.tokenizer: Tokenizer = SeenWords(self._knows)
        if words is not None:
            types = (BOUNDARY, UNKNOWN, *filter(self._knows, dict.fromkeys(words)))
            self.tokenizer = tokenizer_of(types)
            self._check_whole()

    def _knows(self, word: str) -> bool:
        return word in self._model and word not in (BOUNDARY, START, UNKNOWN)

    def _check_whole(self) -> None:
        """Raise ModelError where the vocabulary lacks words of the model; see whether its probabilities sum to one."""
        listed, known = self._counts[0], len(self.tokenizer.vocabulary)  # listed: <s> too, and <unk> if there is one
        if known < listed - 1:
            raise ModelError(
                f"The words given for {self.path} are {known:,} of its {listed - 1:,}. Give all, one a line, or "
                "none: then it scores text, but cannot predict the next word."
            )
        total = float(np.exp(self.next_log_probs(Batch.of_prefixes([np.zeros(1, np.int64)]))).sum())
        self.normalized = abs(total - 1) < EXACT

    @property
    def parameters(self) -> int:
        """Stored n-grams of all orders."""
        return sum(self._counts)

    @property
    def lists_words(self) -> bool:
        """Whether all words are known, so that the next one can be predicted."""
        return not isinstance(self.tokenizer, SeenWords)

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats; history begins at the last boundary before each token."""
        return np.where(batch.targets, LN10 * self._scores(batch, 0), 0.0)

    def orders(self, batch: Batch) -> np.ndarray:
        """int8 (B, T): how many words the n-gram had that gave each target its probability, 1 to the order."""
        return np.where(batch.targets, self._scores(batch, 1), 0).astype(np.int8)

    def _scores(self, batch: Batch, field: int) -> np.ndarray:
        """float64 (B, T): what KenLM says of each token; 0: log10 p, 1: length of the n-gram found."""
        result = np.zeros(batch.ids.shape)
        for values, ids, length in zip(result, batch.ids, batch.lengths, strict=True):
            begin = 1 if length and ids[0] == 0 else 0
            ends = [*np.flatnonzero(ids[begin:length] == 0) + begin, length]
            for end in ends:
                words = " ".join(self._written(ids[begin:end].tolist()))
                told = self._model.full_scores(words, begin > 0, end < length)
                answers = [answer[field] for answer in told]
                values[begin : begin + len(answers)] = answers
                begin = int(end) + 1
        return result

    def _written(self, ids: Sequence[int]) -> list[str]:
        return [written(token) for token in self.tokenizer.tokens(ids)]

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: every word of the vocabulary asked for. Raises ModelError where it is not known."""
        if not self.lists_words:
            raise ModelError(
                f"The words of {self.path} are not known: it scores text, but cannot predict or generate the next "
                "word. Convert it again with its words: lmbench convert MODEL DIR --vocabulary FILE (one word a line)."
            )
        words, after = [written(token) for token in self.tokenizer.vocabulary.types], self._module.State()
        states = [self._state(row) for row in prefixes.rows()]
        score = self._model.BaseScore
        return LN10 * np.array([[score(state, word, after) for word in words] for state in states]).reshape(
            len(states), len(words)
        )

    def _state(self, ids: np.ndarray) -> Any:
        """KenLM's memory of a row: the words since its last boundary."""
        boundaries = np.flatnonzero(ids == 0)
        state, after = self._module.State(), self._module.State()
        begin = int(boundaries[-1]) + 1 if len(boundaries) else 0
        (self._model.BeginSentenceWrite if begin else self._model.NullContextWrite)(state)
        for word in self._written(ids[begin:].tolist()):
            self._model.BaseScore(state, word, after)
            state, after = after, state
        return state

    def save(self, directory: Path) -> None:
        """Write ``model.json``, and a copy of the file, so that the folder can be moved."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        copy = directory / MODEL_COPY
        if not (copy.exists() and copy.samefile(self.path)):
            with atomic(copy) as temporary:
                shutil.copyfile(self.path, temporary)
        write_model(directory, self, {"lists_words": self.lists_words})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what ``save`` wrote."""
        tokenizer, state = read_model(Path(directory))
        words = [written(token) for token in tokenizer.vocabulary.types[2:]] if state.get("lists_words") else None
        return cls(Path(directory) / MODEL_COPY, words)


class SeenWords(Tokenizer):
    """The words of a model that does not list them: what it ``knows`` gets the next id when first met."""

    kind = "word"
    Config = WordConfig

    def __init__(self, knows: Callable[[str], bool]) -> None:
        super().__init__(WordConfig(min_count=1, han=False), Vocabulary((BOUNDARY, UNKNOWN)))
        self._knows = knows

    @classmethod
    def train(cls, units: Sequence[str], config: WordConfig) -> Self:
        raise UsageError("The words of a KenLM file are those it was built with; they are not taken from a text.")

    def _ids(self, units: Sequence[str]) -> np.ndarray:
        words = [*split_words(units, lower=False, han=False), NUL]
        known = self.vocabulary.ids
        new = [word for word in dict.fromkeys(words) if word not in known and word != NUL and self._knows(word)]
        if new:
            self.vocabulary = Vocabulary((*self.vocabulary.types, *new))
        ids = {**self.vocabulary.ids, NUL: 0}
        return np.array([ids.get(word, 1) for word in words], np.int32)

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self.tokens(ids))


def words_in(path: str | Path) -> list[str] | None:
    """The words of a KenLM file: the unigrams of an ARPA file, the list at the end of a binary one, if it has one."""
    path = Path(path)
    if not is_binary(path):
        return read_words(path)
    _, model = _opened(path)
    count = _counts(path)[0]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = data.rfind(f"{UNKNOWN}\0".encode())  # the first of the list, each ended by NUL
        listed = data[begin:].split(b"\0") if begin > 0 else []
    if count < len(listed) <= count + 2 and not listed.pop():
        words = [word.decode("utf-8", "replace") for word in listed]
        if all(word in model for word in words[1:]):
            return words
    return None


def is_binary(path: str | Path) -> bool:
    """Whether ``path`` is a binary file of KenLM."""
    with open(path, "rb") as file:
        return file.read(len(KENLM_BINARY)) == KENLM_BINARY


def _counts(path: Path) -> list[int]:
    """N-grams of each order, as the file announces them."""
    if not is_binary(path):
        return [announced.count for announced in Arpa(path).header()]
    with open(path, "rb") as file:
        header = file.read(4096)
    return np.frombuffer(header, "<u8", header[ORDER_AT], COUNTS_AT).tolist()


def _opened(path: Path) -> tuple[Any, Any]:
    """KenLM's module, and the file as it opens it."""
    try:
        import kenlm
    except ImportError:
        raise ModelError(
            f"To read {path} with KenLM its Python module is needed, which is not installed: pip install kenlm. An "
            "ARPA file is read without it: lmbench convert MODEL.arpa DIR."
        ) from None
    config = kenlm.Config()
    config.show_progress, config.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    config.load_method = kenlm.LoadMethod.LAZY  # pages are read as they are needed
    try:
        return kenlm, kenlm.Model(str(path), config)
    except (OSError, RuntimeError) as error:
        said = " ".join(str(error).split())
        reason = re.sub(r"^Cannot read model.* threw \w+( because `.*')?\. |\)$", "", said)  # without its source lines
        raise ModelError(
            f"KenLM cannot read {path}: {reason.rstrip('.')}. Build the file again with the same version of KenLM, or "
            "convert its ARPA file without --kenlm."
        ) from None


def listed_words(path: str | Path) -> list[str]:
    """The words of an ARPA file, or of a list, one a line."""
    text = read_text(Path(path))
    if text.lstrip().startswith("\\data\\"):
        return read_words(path)
    return [line.strip() for line in text.split("\n") if line.strip()]
