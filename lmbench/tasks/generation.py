"""Model + prompt -> texts, drawn token by token from the next-token distribution.

Works for every model that reads to the left, from counts to Transformers, because it asks for nothing
but ``next_log_probs``: one call for each new token, all rows together.
"""

from __future__ import annotations

import numpy as np

from lmbench.corpus.batches import Batch
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import LanguageModel


def generate(
    model: LanguageModel,
    prompt: str = "",
    n: int = 1,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    max_tokens: int = 100,
    seed: int = 1,
) -> list[str]:
    """Draw ``n`` texts that go on from ``prompt``; each holds the prompt and ends at the boundary or at the limit.

    ``temperature``: divides the log probabilities; 1 is the model itself, 0 always takes the likeliest token.
    ``top_k``: draw among the k likeliest (Fan et al. 2018). ``top_p``: draw among the fewest tokens that together
    hold this probability (nucleus sampling, Holtzman et al. 2020). ``max_tokens``: new tokens at most. ``seed``:
    text i is the same whatever ``n`` is. Raises UsageError for an option out of range, ModelError for a model
    that does not read left to right.
    """
    _check(model, n, temperature, top_k, top_p, max_tokens, seed)
    opening = model.tokenizer.encode([prompt]).ids[:-1] if prompt else np.zeros(1, np.int32)
    rows = [opening.astype(np.int64) for _ in range(n)]
    generators = [np.random.default_rng([seed, row]) for row in range(n)]
    open_rows = list(range(n))
    for _ in range(max_tokens):
        log_probs = model.next_log_probs(Batch.of_prefixes([rows[row] for row in open_rows]))
        for row, values in zip(open_rows, log_probs, strict=True):
            chosen = _draw(values, generators[row], temperature, top_k, top_p)
            rows[row] = np.append(rows[row], chosen)
        open_rows = [row for row in open_rows if rows[row][-1] != model.tokenizer.vocabulary.boundary]
        if not open_rows:
            break
    return [model.tokenizer.decode(row[row != model.tokenizer.vocabulary.boundary].tolist()) for row in rows]


def _draw(
    log_probs: np.ndarray, generator: np.random.Generator, temperature: float, top_k: int | None, top_p: float | None
) -> int:
    """The id of one token. ``log_probs``: (V,), nats."""
    if temperature == 0:
        return int(log_probs.argmax())
    values = log_probs.astype(np.float64) / temperature
    weights = np.exp(values - values.max())
    if top_k is not None or top_p is not None:
        _cut(weights, top_k, top_p)
    cumulated = np.cumsum(weights)
    last = int(np.searchsorted(cumulated, cumulated[-1]))  # the last that has any weight
    return min(int(np.searchsorted(cumulated, generator.random() * cumulated[-1], "right")), last)


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


def _check(
    model: LanguageModel,
    n: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    max_tokens: int,
    seed: int,
) -> None:
    if model.reads != "left":
        raise ModelError(
            f"{model.kind} reads both sides of a gap, so it cannot write from left to right. "
            "Generate with a model that reads to the left, such as ngram, lstm or gpt."
        )
    if n < 1:
        raise UsageError(f"The number of texts must be at least 1, not {n}.")
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"The temperature must be 0 (always the likeliest) or more, not {temperature}.")
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k keeps at least 1 token, not {top_k}. Leave it out to keep all.")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"top_p is a probability above 0 and at most 1, not {top_p}. Leave it out to keep all.")
    if max_tokens < 1:
        raise UsageError(f"max_tokens must be at least 1, not {max_tokens}.")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}.")
