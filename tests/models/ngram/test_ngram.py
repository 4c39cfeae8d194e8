"""The model around the table: batches, prefixes, files, settings, degenerate texts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.ngram import table as table_module
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.scoring.scorer import token_log_probs

FLOAT32 = 1e-6
"""Log probabilities are kept as float32: each is right to 6e-8 of itself."""
WORDS = ["the", "old", "cat", "dog", "saw", "slept", "near", "a", "river"]


def sample(sentences: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 14))) for _ in range(sentences)]


def fitted(order: int | None = 4, tokenizer: str = "word", units: list[str] | None = None) -> tuple[NGram, Tokens]:
    units = units or sample(300)
    tokens = train_tokenizer(tokenizer, units).encode(units)
    model = NGram(NGramConfig(order=order))
    model.fit(tokens, tokens)
    return model, tokens


class Listening:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    def step(self, name: str, detail: str) -> None:
        self.steps.append(name)
        assert "\n" not in detail

    def update(self, fraction: float, **figures: float) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_fit_names_the_five_steps_and_reports() -> None:
    units = sample(300)
    tokens = train_tokenizer("word", units).encode(units)
    model, progress = NGram(NGramConfig(order=3)), Listening()
    report = model.fit(tokens, tokens, progress=progress)
    assert progress.steps == ["structure", "data", "forward", "backward", "predict"]
    assert report.tokens == tokens.events
    assert report.stopped == "closed-form"
    assert model.max_context == 2
    assert model.parameters == sum(len(grams) for grams in model.table.orders)


def test_rows_batches_and_one_long_row_agree_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = fitted()
    tokens = model.tokenizer.encode([*sample(130, seed=1), "the unicorn saw", "river"])
    joined = token_log_probs(model, tokens, "sentence")
    assert np.array_equal(token_log_probs(model, tokens, "sentence", batch_size=1), joined)
    assert np.array_equal(token_log_probs(model, tokens, "sentence", batch_size=64), joined)
    assert np.array_equal(token_log_probs(model, tokens, "stream"), joined)
    monkeypatch.setattr(table_module, "CHUNK", 7)
    assert np.array_equal(token_log_probs(model, tokens, "sentence"), joined)


def test_only_targets_are_answered() -> None:
    model, _ = fitted()
    batch = Batch.of([np.array([0, 3, 4, 0]), np.array([0, 5, 0])])
    values = model.log_probs(batch)
    assert values.dtype == np.float64
    assert ((values < 0) == batch.targets).all()
    fewer = Batch(batch.ids, batch.targets & (np.arange(4) == 2), batch.lengths)
    assert np.array_equal(model.log_probs(fewer), np.where(fewer.targets, values, 0.0))


@pytest.mark.parametrize("tokenizer", ["word", "char", "byte"])
@pytest.mark.parametrize("order", [1, 2, 5])
def test_scores_are_those_of_the_distribution(tokenizer: str, order: int) -> None:
    model, tokens = fitted(order, tokenizer)
    row = tokens.ids[:30].astype(np.int64)
    scores = model.log_probs(Batch.of([row]))[0]
    prefixes = Batch.of_prefixes([row[:length] for length in range(1, len(row))])
    following = model.next_log_probs(prefixes)
    assert following.shape == (len(row) - 1, len(model.tokenizer.vocabulary))
    assert np.exp(following).sum(1) == pytest.approx(np.ones(len(row) - 1), abs=FLOAT32)
    assert following[np.arange(len(row) - 1), row[1:]] == pytest.approx(scores[1:], rel=FLOAT32)


def test_history_stops_at_the_boundary() -> None:
    model, _ = fitted(5)
    start = model.next_log_probs(Batch.of_prefixes([np.array([0])]))
    assert np.array_equal(model.next_log_probs(Batch.of_prefixes([np.array([0, 3, 4, 0])])), start)


@pytest.mark.parametrize("order", [1, 3, None])
def test_kept_models_are_equal_to_the_bit(tmp_path: Path, order: int | None) -> None:
    model, tokens = fitted(order)
    model.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "ngram.safetensors"]
    again = registry.load(tmp_path)
    assert isinstance(again, NGram)
    assert again.config == model.config
    assert again.max_context == model.max_context
    assert again.parameters == model.parameters
    for mine, yours in zip(model.table.orders, again.table.orders, strict=True):
        for name in ("begins", "words", "log_probs", "log_backoffs"):
            assert getattr(mine, name).dtype == getattr(yours, name).dtype
            assert np.array_equal(getattr(mine, name), getattr(yours, name))
    batch = Batch.of([tokens.ids[:50]])
    assert np.array_equal(model.log_probs(batch), again.log_probs(batch))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    model, _ = fitted()
    model.save(tmp_path)
    arrays = tmp_path / "ngram.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"ngram\.safetensors"):
        NGram.load(tmp_path)
    arrays.unlink()
    with pytest.raises(ModelError, match=r"ngram\.safetensors"):
        NGram.load(tmp_path)
    model.save(tmp_path)
    state = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    (tmp_path / "model.json").write_text(json.dumps({**state, "config": {"length": 9}}), encoding="utf-8")
    with pytest.raises(ModelError, match="Train the model again"):
        NGram.load(tmp_path)


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    model, _ = fitted(3)
    whole = model.table.orders
    for k, grams in enumerate(whole):
        for name in ("begins", "words", "log_probs", "log_backoffs"):
            array = getattr(grams, name)
            changes = [array[:-1], array[:, None], array.astype(np.float64)]
            for change in [*changes, array[::-1]] if name == "begins" else changes:
                if len(array):
                    orders = (*whole[:k], dataclasses.replace(grams, **{name: change}), *whole[k + 1 :])
                    model.table = dataclasses.replace(model.table, orders=orders)
                    model.save(tmp_path)
                    with pytest.raises(ModelError, match=f"order {k + 1}|order {k + 2}"):
                        NGram.load(tmp_path)


def test_a_file_with_other_content_never_reads_outside_its_arrays(tmp_path: Path) -> None:
    """Opening a table does not read it, so look-up itself bears numbers that lead nowhere."""
    model, tokens = fitted(3)
    model.save(tmp_path)
    path = tmp_path / "ngram.safetensors"
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = np.frombuffer(content, np.uint8).copy()
        where = rng.integers(8 + header, len(content), len(content) // 20)
        damaged[where] = rng.integers(0, 256, len(where))
        path.write_bytes(damaged.tobytes())
        try:
            again = NGram.load(tmp_path)
        except ModelError:
            continue
        again.log_probs(Batch.of([tokens.ids[:200]]))
        again.next_log_probs(Batch.of_prefixes([tokens.ids[:9]]))


def test_a_row_may_begin_anywhere() -> None:
    """Without a boundary before it, the first word of a row is history like any other."""
    model, _ = fitted(5)
    values = model.log_probs(Batch.of([np.array([3, 4, 0]), np.array([4])]))
    following = model.next_log_probs(Batch.of_prefixes([np.array([3]), np.array([3, 4])]))
    assert values[0, 1:] == pytest.approx(following[[0, 1], [4, 0]], rel=FLOAT32)
    assert not values[1].any()


def test_same_text_same_model() -> None:
    (first, tokens), (second, _) = fitted(), fitted()
    batch = Batch.of([tokens.ids])
    assert np.array_equal(first.log_probs(batch), second.log_probs(batch))


@pytest.mark.parametrize("order", [0, -3])
def test_order_below_one_is_refused(order: int) -> None:
    with pytest.raises(UsageError, match=f"at least 1, not {order}"):
        registry.create(f"ngram:order={order}")


def test_default_order_follows_the_tokenizer() -> None:
    word, _ = fitted(None)
    character, _ = fitted(None, "char")
    assert word.max_context == 4
    assert character.max_context is not None
    assert character.max_context > 4


@pytest.mark.parametrize("tokenizer", ["word:min_count=1", "char", "byte"])
@pytest.mark.parametrize("order", [1, 2, 5, 12, 40])
@pytest.mark.parametrize("units", [["one"], ["x"], [""], ["", "a a a a"], ["no no no", "no"]])
def test_tiny_texts_do_not_abort(units: list[str], order: int, tokenizer: str) -> None:
    tokens = train_tokenizer(tokenizer, units).encode(units)
    model, progress = NGram(NGramConfig(order=order)), Listening()
    report = model.fit(tokens, tokens, progress=progress)
    assert len(progress.notes) == 1
    assert report.notes == tuple(progress.notes)
    prefixes = Batch.of_prefixes([tokens.ids[:length] for length in range(1, len(tokens.ids))])
    following = model.next_log_probs(prefixes)
    assert np.isfinite(following).all()
    assert np.exp(following).sum(1) == pytest.approx(np.ones(len(following)), abs=FLOAT32)
    assert np.isfinite(token_log_probs(model, tokens, "sentence")).all()


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_characters_of_order_twelve(tokenizer: str) -> None:
    model, tokens = fitted(12, tokenizer)
    values = token_log_probs(model, tokens, "sentence")
    assert np.isfinite(values).all()
    assert -values.mean() < np.log(len(model.tokenizer.vocabulary)) / 2
