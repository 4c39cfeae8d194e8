"""Batch -> log probabilities: the one contract every model keeps.

In words. A model is asked for ``ln p(ids[b, t] | what it may see of row b)`` wherever ``targets[b, t]``
holds, and answers with an array of the same shape, 0 elsewhere. Rows do not influence each other;
padding and the order of rows do not matter. A model that reads to the left never sees the future, and
its next-token distribution sums to one. Nothing outside ``scoring/scorer.py`` batches, sorts or sums.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import Tokenizer, tokenizer_from_dict
from lmbench.errors import ModelError
from lmbench.training.budget import Budget, FitReport, Progress
from lmbench.training.checkpoints import Checkpoints, write_json

Context = Literal["sentence", "stream"]
MODEL_FILE = "model.json"


@runtime_checkable
class LanguageModel(Protocol):
    """What can be scored. See the module docstring for the contract in words."""

    kind: ClassVar[str]
    """Registered name of the family."""
    tokenizer: Tokenizer
    """Text <-> ids, and the Vocabulary behind it."""
    reads: Literal["left", "both"]
    """``left``: causal; ``both``: masked, sees both sides."""
    max_context: int | None
    """Tokens of history it can use; None for unlimited."""
    context: Context
    """The context policy it is scored under unless told otherwise: ``sentence`` where its history never
    crosses a boundary, ``stream`` where it runs on."""
    normalized: bool
    """Whether its probabilities sum to one; if not, it is never ranked by perplexity."""
    adapts: bool = False
    """Whether it learns from the text that is being scored, as a cache does: then its perplexity stands in a column
    of its own, never beside those of models that stay as they were trained."""

    @property
    def parameters(self) -> int:
        """Size: trained numbers, or stored n-grams."""

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float (B, T), nats: ``ln p`` of each target, 0 elsewhere."""

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float (B, V), nats: the distribution after each row's last token (``reads == "left"`` only)."""

    def save(self, directory: Path) -> None:
        """Write the model and its tokenizer into ``directory``."""

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote."""


@runtime_checkable
class Confident(Protocol):
    """A model that knows how much its next answer is worth: optional, for mixtures whose weights depend on it."""

    def confidence(self, batch: Batch) -> np.ndarray:
        """int (B, T): a small number, not negative, known before each token of a row, such as the length of the longest
        history that is stored. It never depends on the token itself nor on what follows; padding may hold anything."""


@runtime_checkable
class Distributions(Protocol):
    """A model that shows what it expects before every token of a row at once: optional, for speed. Whoever wants it of
    any model asks ``distributions.distributions``."""

    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float (N, V), nats, a block after the other: the distribution before each target, in the order of
        ``np.nonzero(batch.targets)``. Blocks may be of any size that memory holds well."""


class Reading(Protocol):
    """Prefixes that are being written on. ``log_probs``: float (B, V), nats, what ``next_log_probs`` gives of them."""

    log_probs: np.ndarray

    def append(self, ids: np.ndarray) -> None:
        """Go on by one token in each row, int64 (B,)."""

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these rows only, int64 (N,), in this order; one that is named twice becomes two."""


@runtime_checkable
class Resumable(Protocol):
    """A model that keeps what it made of a prefix, so that a text is not read anew for each token that is written:
    optional, for speed. Whoever wants it of any model asks ``reading.open_reading``."""

    def reading(self, prefixes: Sequence[np.ndarray]) -> Reading:
        """Of ``prefixes``, int (T,) each and all of one length, which open with the boundary."""


@runtime_checkable
class Trainable(LanguageModel, Protocol):
    """A model that learns from tokens. ``Config`` is its frozen dataclass; ``config`` the one in use."""

    Config: ClassVar[type]
    config: Any

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Learn from ``train``, choose on ``valid``, stop within ``budget``; take ``train.tokenizer`` over.

        With ``checkpoints`` the state is kept there while training, and a fit that was cut off goes on
        from it.
        """


def write_model(directory: Path, model: LanguageModel, state: dict[str, Any]) -> None:
    """Write ``model.json``: kind, tokenizer, and whatever ``state`` (JSON values) the family keeps."""
    from lmbench import __version__

    directory.mkdir(parents=True, exist_ok=True)
    content = {"kind": model.kind, "version": __version__, "tokenizer": model.tokenizer.to_dict(), **state}
    write_json(directory / MODEL_FILE, content)


def read_model(directory: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """Read ``model.json``: the tokenizer and the rest. Raises ModelError where it is missing or damaged."""
    path = Path(directory) / MODEL_FILE
    try:
        stamp = path.stat()
        tokenizer, state = _parse(path, (stamp.st_mtime_ns, stamp.st_size))
        return tokenizer, dict(state)
    except FileNotFoundError:
        raise ModelError(
            f"{directory} holds no saved model: there is no {MODEL_FILE} in it. "
            "Name a folder that lmbench train or lmbench run wrote."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a saved model of lmbench, or it is damaged: {error}.") from None


@lru_cache(maxsize=1)
def _parse(path: Path, stamp: tuple[int, int]) -> tuple[Tokenizer, dict[str, Any]]:
    """The content of ``path``, which had this time and size: whoever finds the family and then loads it asks twice."""
    state = json.loads(path.read_text(encoding="utf-8"))
    return tokenizer_from_dict(state["tokenizer"]), state
