"""Counting in runs on disk equals counting in memory, array by array, and goes on where it was cut off."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.models.ngram import merging, runs
from lmbench.models.ngram.counting import Counts, count
from lmbench.models.ngram.runs import count_in_runs
from lmbench.models.registry import create
from lmbench.training.checkpoints import Checkpoints

ARRAYS = ("begins", "words", "raw", "left", "suffix")


def flat(sentences: list[list[int]]) -> np.ndarray:
    return np.array([0] + [i for words in sentences for i in (*words, 0)], np.int32)


def made(length: int, size: int, seed: int = 0) -> np.ndarray:
    """Sentences of about ten words, frequent words first, as in a text."""
    random = np.random.default_rng(seed)
    ids = (1 + (size - 1) * random.random(length) ** 4).astype(np.int32)
    ids[random.random(length) < 0.1] = 0
    ids[[0, -1]] = 0
    return ids


def memory_for(pieces: int, tokens: int, size: int, order: int) -> int:
    """Bytes that make so many pieces: half are kept free, the rest is 40 V + (20 (order - 1) + 40) tokens."""
    return 2 * (40 * size + (20 * (order - 1) + 40) * max(order, -(-(tokens - 1) // pieces)))


def compare(found: Counts, expected: Counts) -> None:
    assert (len(found.orders), found.order, found.vocabulary_size) == (
        len(expected.orders),
        expected.order,
        expected.vocabulary_size,
    )
    for k, (mine, wanted) in enumerate(zip(found.orders, expected.orders, strict=True), 1):
        assert mine.opening == wanted.opening
        for name in ARRAYS:
            array = getattr(mine, name)
            assert array.dtype == np.int32
            np.testing.assert_array_equal(array, getattr(wanted, name), f"{name} of order {k}")


sentences = st.lists(st.lists(st.integers(1, 4), max_size=12), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(sentences, st.integers(1, 6), st.integers(1, 20))
def test_equal_to_counting_in_memory(
    tmp_path_factory: pytest.TempPathFactory, text: list[list[int]], order: int, pieces: int
) -> None:
    ids = flat(text)
    folder = tmp_path_factory.mktemp("runs")
    compare(count_in_runs(ids, 5, order, memory_for(pieces, len(ids), 5, order), folder), count(ids, 5, order))


@pytest.mark.parametrize(("size", "order", "pieces"), [(50, 5, 7), (3000, 4, 30), (3, 9, 4), (3000, 1, 5)])
def test_many_runs_of_a_larger_text(size: int, order: int, pieces: int, tmp_path: Path) -> None:
    ids = made(20_000, size)
    compare(
        count_in_runs(ids, size, order, memory_for(pieces, len(ids), size, order), tmp_path), count(ids, size, order)
    )


def test_a_sentence_may_be_longer_than_a_piece(tmp_path: Path) -> None:
    ids = np.random.default_rng(1).integers(1, 9, 3000).astype(np.int32)  # one document of characters
    ids[[0, -1]] = 0
    compare(count_in_runs(ids, 9, 7, memory_for(11, 3000, 9, 7), tmp_path), count(ids, 9, 7))


def test_the_merge_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = made(5000, 40)
    monkeypatch.setattr(merging, "PER_ENTRY", 1 << 14)
    compare(count_in_runs(ids, 40, 4, memory_for(5, 5000, 40, 4), tmp_path), count(ids, 40, 4))


def test_a_count_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, memory = made(4000, 30), memory_for(4, 4000, 30, 3)
    expected = count(ids, 30, 3)
    pieces: list[int] = []

    def counted(text: np.ndarray, size: int, order: int) -> Counts:
        if len(pieces) == 2:
            raise KeyboardInterrupt
        pieces.append(len(text))
        return count(text, size, order)

    monkeypatch.setattr(runs, "count", counted)
    with pytest.raises(KeyboardInterrupt):
        count_in_runs(ids, 30, 3, memory, tmp_path)
    damaged = tmp_path / "run-1.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-4])  # as after a loss of power
    (tmp_path / ".run-2.safetensors.1.part").touch()
    pieces.clear()
    pieces.append(0)  # one more before the next interruption: run 1, since run 0 is whole
    with pytest.raises(KeyboardInterrupt):
        count_in_runs(ids, 30, 3, memory, tmp_path)
    assert len(pieces) == 2
    pieces[:] = [0] * 3
    compare(count_in_runs(ids, 30, 3, memory, tmp_path), expected)
    assert len(pieces) == 5  # runs 2 and 3 were missing


def test_other_memory_makes_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pieces, cut elsewhere: the runs of the one are not taken for those of the other."""
    ids, pieces = made(4000, 30), 3
    monkeypatch.setattr(runs, "merge", lambda *_: pytest.fail("cut off"))
    with pytest.raises(pytest.fail.Exception):
        count_in_runs(ids, 30, 3, memory_for(pieces, 4000, 30, 3), tmp_path)
    monkeypatch.undo()
    compare(count_in_runs(ids, 30, 3, memory_for(pieces, 4400, 30, 3), tmp_path), count(ids, 30, 3))


def test_a_finished_count_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, memory = made(3000, 30), memory_for(3, 3000, 30, 3)
    expected = count_in_runs(ids, 30, 3, memory, tmp_path)
    monkeypatch.delattr(runs, "merge")  # it is not called again
    compare(count_in_runs(ids, 30, 3, memory, tmp_path), expected)
    assert {path.suffix for path in tmp_path.iterdir()} == {".i32", ".json"}
    monkeypatch.undo()
    other = made(3000, 30, seed=2)
    compare(count_in_runs(other, 30, 3, memory, tmp_path), count(other, 30, 3))
    assert json.loads((tmp_path / runs.MANIFEST).read_text())["tokens"] == 3000
    runs.clear(tmp_path)
    assert not tmp_path.exists()


def test_the_progress_rises_to_one(tmp_path: Path) -> None:
    told: list[float] = []
    ids = made(2000, 30)
    count_in_runs(ids, 30, 4, memory_for(4, 2000, 30, 4), tmp_path, told.append)
    assert told == sorted(told)
    assert told[-1] == 1


def test_too_little_memory_says_how_much_is_needed(tmp_path: Path) -> None:
    # 40 bytes for each of 1000 types, and 5 tokens of 20 * 4 + 40 = 120 bytes: 40,600 bytes, and as many kept free.
    with pytest.raises(UsageError, match=r"5-grams of 1,000 types: 81,200 are the least"):
        count_in_runs(made(100, 1000), 1000, 5, 81_198, tmp_path)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        count_in_runs(made(100, 10), 10, 0, 1 << 20, tmp_path)


@pytest.mark.parametrize("smoothing", ["modified-kneser-ney", "witten-bell"])
def test_the_model_is_the_same(smoothing: str, tmp_path: Path) -> None:
    text = [" ".join(f"w{i}" for i in row) for row in np.random.default_rng(3).integers(0, 40, (400, 7)) ** 2 // 40]
    tokens = train_tokenizer("word", text).encode(text)
    plain, limited = (create(f"ngram:order=4:smoothing={smoothing}{m}") for m in ("", ":memory=256K"))
    plain.fit(tokens, tokens)
    limited.fit(tokens, tokens, checkpoints=Checkpoints(tmp_path))
    assert not list(tmp_path.iterdir())
    batch = Batch.of([tokens.ids[:500]])
    np.testing.assert_array_equal(limited.log_probs(batch), plain.log_probs(batch))
    for name, model in (("plain", plain), ("limited", limited)):
        model.save(tmp_path / name)
    files = [(tmp_path / name / "ngram.safetensors").read_bytes() for name in ("plain", "limited")]
    assert files[0] == files[1]


@pytest.mark.parametrize(("text", "size"), [("2G", 2 << 30), ("1.5 GiB", 3 << 29), ("500m", 500 << 20), ("4096", 4096)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert runs.memory_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "0G", "-1G", "2X", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        runs.memory_in_bytes(text)


def test_memory_and_device_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="do not go together"):
        create("ngram:memory=1G:device=cuda")
