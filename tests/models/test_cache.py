"""The cache against counts that are worked out beside them."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models import distributions, registry
from lmbench.models.cache import Cache, CacheConfig
from lmbench.scoring import metrics
from lmbench.scoring.scorer import score

SENTENCES = ["a b c", "a b"]
TOKENS = train_tokenizer("word:min_count=1", SENTENCES).encode(SENTENCES)
SIZE = TOKENS.vocabulary_size
A, B, C = (TOKENS.tokenizer.vocabulary.types.index(word) for word in "abc")


def fitted(**config: object) -> Cache:
    model = Cache(CacheConfig(**config))  # type: ignore[arg-type]
    model.fit(TOKENS, TOKENS)
    return model


def probabilities(model: Cache, *ids: int) -> list[float]:
    return np.exp(model.log_probs(Batch.of([np.array([0, *ids])]))[0, 1:]).tolist()


def lowest(count: int) -> float:
    """Of 7 events in the training text (2 a, 2 b, 1 c, 2 ends), one added to each of the V types."""
    return (count + 1) / (7 + SIZE)


def test_single_words_flat() -> None:
    # a: nothing is remembered. a again: (1 + 2 u) / (1 + 2). b: (0 + 2 u) / (2 + 2).
    u = lowest(2)
    assert probabilities(fitted(order=1, half_life=None, strength=2.0), A, A, B) == pytest.approx(
        [u, (1 + 2 * u) / 3, 2 * u / 4]
    )


def test_old_words_fade() -> None:
    # Half-life 1: before the third word, a is worth 1/2 and b 1; before the fourth a 1/4 + 1, b 1/2.
    u, model = lowest(2), fitted(order=1, half_life=1.0, strength=1.0)
    assert probabilities(model, A, B, A, A)[2:] == pytest.approx([(0.5 + u) / 2.5, (1.25 + u) / 2.75])


def test_what_lies_before_the_window_is_forgotten() -> None:
    # Window 2: before the last a, the two b are remembered and the first a is not.
    u, model = lowest(2), fitted(order=1, half_life=None, window=2, strength=1.0)
    assert probabilities(model, A, B, B, A)[3] == pytest.approx((0 + u) / 3)
    assert model.max_context == 2


def test_words_after_the_same_history() -> None:
    # a b a: b followed a once: (1 + s p1(b)) / (1 + s), p1(b) = (1 + s u) / (3 + s).
    u, model = lowest(2), fitted(order=2, half_life=None, strength=1.0)
    assert probabilities(model, A, B, A, B)[3] == pytest.approx((1 + (1 + u) / 4) / 2)
    # After c nothing was seen: the single words alone. p1(a) = (1 + u) / (3 + 1)
    assert probabilities(model, A, B, C, A)[3] == pytest.approx((1 + u) / 4)


def test_confidence_counts_the_orders_that_saw_the_history() -> None:
    model = fitted(order=3, half_life=None)
    batch = Batch.of([np.array([0, A, B, C, A, B, C, A])])
    # before a: an empty cache; then single words; before the second b, a was seen as history; then a b, b c
    assert model.confidence(batch)[0].tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    faded = fitted(order=3, half_life=1.0)
    assert faded.confidence(batch)[0].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]  # worth 1/4 when the history comes again


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(0, SIZE - 1), max_size=25), min_size=1, max_size=4),
    order=st.integers(1, 4),
    window=st.none() | st.integers(1, 12),
    half_life=st.none() | st.floats(0.5, 50),
    block=st.integers(1, 5),
    every=st.integers(1, 3),
)
def test_the_compiled_loops_agree_with_the_whole_distribution(rows, order, window, half_life, block, every) -> None:
    model = fitted(order=order, window=window, half_life=half_life)
    arrays = [np.array([0, *row]) for row in rows]
    together = model.log_probs(Batch.of(arrays))
    asked, expected = [np.arange(len(row)) % every == 1 % every for row in arrays], []
    for row, values in zip(arrays, together, strict=True):
        if len(row) == 1:
            expected.append(np.zeros((0, SIZE)))
            continue
        following = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row))]))
        np.testing.assert_allclose(np.exp(following).sum(1), 1, atol=1e-12)
        np.testing.assert_allclose(following[np.arange(len(row) - 1), row[1:]], values[1 : len(row)], atol=1e-9)
        expected.append(following)
    wanted = Batch.of(arrays, asked)
    with patch.object(distributions, "CELLS", block * SIZE):
        found = np.concatenate([np.zeros((0, SIZE)), *model.distributions(wanted)])
    chosen = np.concatenate([rows[mask[1:]] for rows, mask in zip(expected, asked, strict=True)])
    np.testing.assert_allclose(found, chosen, atol=1e-9)


def test_its_perplexity_is_adaptive_and_the_signature_says_so() -> None:
    scores = score(fitted(), SENTENCES)
    assert metrics.perplexity(scores) is None
    assert metrics.adaptive_perplexity(scores) == pytest.approx(np.exp(scores.token_nats.mean()))
    assert "|adapts:yes|" in str(scores.signature)


def test_a_damaged_file_is_told(tmp_path) -> None:
    fitted().save(tmp_path)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"counts"', '"count"'))
    with pytest.raises(ModelError, match="damaged"):
        registry.load(tmp_path)


@pytest.mark.parametrize("wrong", ["order=0", "window=0", "half_life=0", "strength=-1", "half_life=inf"])
def test_settings_that_cannot_be(wrong: str) -> None:
    with pytest.raises(UsageError, match="cache"):
        registry.create(f"cache:{wrong}")
