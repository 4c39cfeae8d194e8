"""Skipping n-grams: what they look at, and their settings."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.models.skip import Skip, SkipConfig
from lmbench.scoring.scorer import token_log_probs

UNITS = [" ".join(np.random.default_rng(seed).choice(list("abcdefg"), seed % 9)) for seed in range(200)]
TOKENS = train_tokenizer("word", UNITS).encode(UNITS)


def fitted(distances: str) -> Skip:
    model = Skip(SkipConfig(distances=distances))
    model.fit(TOKENS, TOKENS)
    return model


def test_without_a_hole_it_is_the_n_gram() -> None:
    ngram = NGram(NGramConfig(order=3))
    ngram.fit(TOKENS, TOKENS)
    expected = token_log_probs(ngram, TOKENS, "sentence")
    np.testing.assert_allclose(token_log_probs(fitted("1-2"), TOKENS, "sentence"), expected, atol=1e-6)


def test_the_word_in_the_hole_does_not_matter() -> None:
    model = fitted("2-3")
    rows = [np.array([0, 4, 5, 6, 7]), np.array([0, 4, 5, 2, 7])]
    values = model.log_probs(Batch.of(rows))
    assert values[0, 4] == values[1, 4]
    assert values[0, 3] != values[1, 3]
    following = model.next_log_probs(Batch.of_prefixes([row[:4] for row in rows]))
    np.testing.assert_array_equal(following[0], following[1])
    assert model.max_context == 3


@pytest.mark.parametrize("distances", ["", "0", "2-2", "2,3", "2--3", "-1", "a"])
def test_distances_that_cannot_be_are_told(distances: str) -> None:
    with pytest.raises(UsageError, match="distances of a skip"):
        SkipConfig(distances=distances)


def test_a_damaged_file_is_refused(tmp_path) -> None:
    fitted("2").save(tmp_path)
    (tmp_path / "skip.safetensors").write_bytes(b"short")
    with pytest.raises(ModelError, match="Train the model again"):
        registry.load(tmp_path)
