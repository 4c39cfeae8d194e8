"""Model + prompts -> texts, drawn token by token from the next-token distribution.

Works for every model that reads to the left, from counts to Transformers and mixtures. Texts are written side by side,
and a model that can keep what it made of a text reads no token of it twice (``lmbench.models.reading``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from lmbench.errors import ModelError, UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.reading import open_reading

CELLS = 1 << 22
"""Probabilities (B x V) held at a time, at most; one text at least."""
Ending = Literal["end", "stop", "length"]


class Generated(NamedTuple):
    """A text with its ``prompt`` before it. ``number``: which one of its prompt, from 1. ``log_prob``: nats, what the
    model itself gives to the new tokens, whatever they were drawn by, the end included where it came; ``tokens``: how
    many these are. ``ended``: by the boundary, by a stop text, which is cut off, or by the limit of tokens.
    ``continuation``: the text without the prompt."""

    prompt: str
    number: int
    text: str
    log_prob: float
    tokens: int
    ended: Ending
    continuation: str


@dataclass(frozen=True)
class Ends:
    """When a text is complete. ``max_tokens``: new tokens at most. ``stop``: texts before which it is cut off, besides
    the boundary, which always ends it."""

    max_tokens: int = 100
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        if isinstance(self.stop, str) or not all(self.stop):
            raise UsageError("A stop text needs at least one character. Leave it out to go on to the end.")

    def reached(self, model: LanguageModel, row: np.ndarray, begin: int) -> tuple[Ending, str] | None:
        """How the text of ``row``, whose new tokens stand from ``begin`` on, has ended, and the text; None if not."""
        if row[-1] == model.tokenizer.vocabulary.boundary:
            return "end", text_of(model, row)
        if self.stop:
            text, before = text_of(model, row), len(text_of(model, row[:begin]))
            places = [place for stop in self.stop if (place := text.find(stop, before)) >= 0]
            if places:
                return "stop", text[: min(places)]
        return ("length", text_of(model, row)) if len(row) - begin >= self.max_tokens else None


@dataclass(frozen=True)
class Sampling(Ends):
    """How tokens are drawn: the temperature first, then ``min_p``, ``top_k`` and ``top_p`` each leave fewer of them."""

    temperature: float = 1.0
    """Divides the log probabilities; 1 is the model itself, 0 always takes the likeliest token."""
    top_k: int | None = None
    """Draw among the k likeliest (Fan et al. 2018)."""
    top_p: float | None = None
    """Draw among the fewest tokens that together hold this probability (nucleus, Holtzman et al. 2020)."""
    min_p: float | None = None
    """Draw among tokens at least this share as likely as the likeliest (Nguyen et al. 2024)."""
    seed: int = 1
    """A text depends on it, on its prompt and its number, and on nothing else."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"The temperature must be 0 (always the likeliest) or more, not {self.temperature}.")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k keeps at least 1 token, not {self.top_k}. Leave it out to keep all.")
        for name, value in (("top_p", self.top_p), ("min_p", self.min_p)):
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{name} must be above 0 and at most 1, not {value}. Leave it out to keep all.")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, not {self.seed}.")

    def draw(self, log_probs: np.ndarray, generator: np.random.Generator) -> int:
        """The id of one token. ``log_probs``: (V,), nats."""
        if self.temperature == 0:
            return int(log_probs.argmax())
        values = log_probs.astype(np.float64) / self.temperature
        weights = np.exp(values - values.max())
        if self.min_p is not None:
            weights[weights < self.min_p] = 0.0  # the likeliest weighs 1
        if self.top_k is not None or self.top_p is not None:
            _cut(weights, self.top_k, self.top_p)
        cumulated = np.cumsum(weights)
        last = int(np.searchsorted(cumulated, cumulated[-1]))  # the last that has any weight
        return min(int(np.searchsorted(cumulated, generator.random() * cumulated[-1], "right")), last)


def generate(
    model: LanguageModel,
    prompt: str = "",
    n: int = 1,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    max_tokens: int = 100,
    stop: Sequence[str] = (),
    seed: int = 1,
) -> list[str]:
    """Draw ``n`` texts that go on from ``prompt``; each holds the prompt and ends at the boundary, before a ``stop``
    text or at the limit. For the settings see ``Sampling``; ``sample`` tells more of each text.

    Raises UsageError for an option out of range, ModelError for a model that does not read left to right.
    """
    stops = stop if isinstance(stop, str) else tuple(stop)
    settings = Sampling(max_tokens, stops, temperature, top_k, top_p, min_p, seed)  # type: ignore[arg-type]
    return [generated.text for generated in sample(model, [prompt], n, settings)]


def sample(
    model: LanguageModel, prompts: Sequence[str], n: int = 1, settings: Sampling | None = None
) -> list[Generated]:
    """``n`` texts for each of ``prompts``, in their order. Equal prompts have equal texts: ``n`` gives more of one.

    Raises UsageError where ``n`` is below 1, ModelError for a model that does not read left to right.
    """
    check_writes(model, n)
    settings = settings or Sampling()
    asked = [(prompt, number) for prompt in prompts for number in range(1, n + 1)]
    found: list[Generated | None] = [None] * len(asked)
    for places, rows in side_by_side(model, [prompt for prompt, _ in asked], CELLS):
        streams = [
            np.random.default_rng([settings.seed, asked[place][1], zlib.crc32(asked[place][0].encode())])
            for place in places
        ]
        for place, (row, log_prob, ended, text) in zip(places, _drawn(model, rows, streams, settings), strict=True):
            begin = len(rows[0])
            new = text[len(text_of(model, row[:begin])) :]
            found[place] = Generated(*asked[place], text, log_prob, len(row) - begin, ended, new)
    return [generated for generated in found if generated]


def check_writes(model: LanguageModel, n: int) -> None:
    """Raise UsageError where ``n`` texts cannot be, ModelError for a model that does not read left to right."""
    if model.reads != "left":
        raise ModelError(
            f"{model.kind} reads both sides of a gap, so it cannot write from left to right. "
            "Generate with a model that reads to the left, such as ngram, lstm or gpt."
        )
    if n < 1:
        raise UsageError(f"The number of texts must be at least 1, not {n}.")


def side_by_side(
    model: LanguageModel, prompts: Sequence[str], cells: int
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Prompts of equally many tokens together, at most ``cells`` / V: their places, and their ids, int64 (T,)."""
    encoded = {prompt: _encoded(model, prompt) for prompt in dict.fromkeys(prompts)}
    lengths = [len(encoded[prompt]) for prompt in prompts]
    size = max(1, cells // len(model.tokenizer.vocabulary))
    for _, group in groupby(sorted(range(len(prompts)), key=lengths.__getitem__), key=lengths.__getitem__):
        places = list(group)
        for first in range(0, len(places), size):
            part = places[first : first + size]
            yield part, [encoded[prompts[place]] for place in part]


def text_of(model: LanguageModel, row: np.ndarray) -> str:
    """The text of the ids of a row, without its boundaries."""
    return model.tokenizer.decode(row[row != model.tokenizer.vocabulary.boundary].tolist())


def _encoded(model: LanguageModel, prompt: str) -> np.ndarray:
    """int64 (T,): the boundary, and the tokens of the prompt."""
    return model.tokenizer.encode([prompt]).ids[:-1].astype(np.int64) if prompt else np.zeros(1, np.int64)


def _drawn(
    model: LanguageModel, rows: list[np.ndarray], streams: list[np.random.Generator], settings: Sampling
) -> list[tuple[np.ndarray, float, Ending, str]]:
    """Each row with what was drawn after it, its log probability, how it ended and its text."""
    begin, totals = len(rows[0]), np.zeros(len(rows))
    rows, done = list(rows), {}
    reading, open_rows = open_reading(model, rows), np.arange(len(rows))
    while True:
        chosen = np.empty(len(open_rows), np.int64)
        for place, number in enumerate(open_rows.tolist()):
            values = reading.log_probs[place]
            chosen[place] = settings.draw(values, streams[number])
            totals[number] += float(values[chosen[place]])
            rows[number] = np.append(rows[number], chosen[place])
            if (ended := settings.reached(model, rows[number], begin)) is not None:
                done[number] = ended
        going = np.array([number not in done for number in open_rows.tolist()])
        if not going.any():
            return [
                (row, float(total), *done[number]) for number, (row, total) in enumerate(zip(rows, totals, strict=True))
            ]
        if not going.all():
            reading.keep(np.flatnonzero(going))
        open_rows = open_rows[going]
        reading.append(chosen[going])


def _cut(weights: np.ndarray, top_k: int | None, top_p: float | None) -> None:
    """Set all ``weights``, (V,), to 0 but the largest; of equal ones those with the lower ids stay."""
    size = min(top_k or len(weights), len(weights))
    falling = np.sort(np.partition(weights, -size)[-size:])[::-1]
    kept = size
    if top_p is not None:
        cumulated = np.cumsum(falling)
        kept = min(size, int(np.searchsorted(cumulated, (top_p - 1e-12) * cumulated[-1])) + 1)
    least = falling[kept - 1]
    weights[weights < least] = 0.0
    weights[np.flatnonzero(weights == least)[kept - int((falling > least).sum()) :]] = 0.0
