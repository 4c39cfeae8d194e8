"""What a run keeps for the report: the nats of each token, the held-out text, sentences, samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_models import Toy

from lmbench.benchmark import records
from lmbench.benchmark.heldout import hold_out
from lmbench.benchmark.recipe import Recipe
from lmbench.benchmark.records import read_aloud, write_samples
from lmbench.benchmark.results import Heldout, RunFolder
from lmbench.benchmark.runner import RunResult
from lmbench.benchmark.runner import run as run_recipe
from lmbench.corpus.batches import Tokens
from lmbench.corpus.huggingface import HuggingFaceConfig, HuggingFaceTokenizer
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.errors import ResultsError
from lmbench.models import registry
from lmbench.report.tables import write_tables
from lmbench.training.budget import Budget

pytestmark = pytest.mark.usefixtures("toy")
TRAIN = "the dog sleeps\nthe cat sleeps here\nthe dog eats\na cat eats here\na dog sleeps there\n" * 4
TEST = "the dog sleeps here\na cat sleeps\nthe cat eats there\na bird eats here"
FARM = Corpus(
    "farm",
    *(Split(name, (text.strip(),)) for name, text in zip(("train", "valid", "test"), (TRAIN, TEST, TEST), strict=True)),
)
STORY = "The dog sees the cat. The cat sees the dog!\nBoth of them run away.\n" * 12
BOOK = Corpus("book", *(Split(name, (STORY, STORY[:300]), "text") for name in ("train", "valid", "test")))
CHINESE = "小狗看见了小猫。小猫也看见了小狗！它们一起跑开了。"
TALE = Corpus("tale", *(Split(name, (CHINESE * 20,), "text") for name in ("train", "valid", "test")))
FAMILIES = {
    "uniform": "uniform",
    "ngram": "ngram:order=2",
    "class-ngram": "class-ngram:order=2:classes=3",
    "skip": "skip:distances=1-2",
    "infinigram": "infinigram",
    "cache": "cache:order=2",
    "mixture": "ngram:order=2+cache:order=1",
    "dynamic": "dynamic(gru:hidden=8:batch_size=2:sequence_length=4)",
    "neural-cache": "neural-cache(gru:hidden=8:batch_size=2:sequence_length=4)",
    "neighbours": "neighbours(gru:hidden=8:batch_size=2:sequence_length=4)",
    "ffnn": "ffnn:order=3:width=8:batch_size=2:sequence_length=4",
    "cnn": "cnn:width=8:layers=1:kernel=2:batch_size=2:sequence_length=4",
    "rnn": "rnn:hidden=8:batch_size=2:sequence_length=4",
    "gru": "gru:hidden=8:batch_size=2:sequence_length=4",
    "lstm": "lstm:hidden=8:batch_size=2:sequence_length=4",
    "mingru": "mingru:width=8:layers=1:batch_size=2:sequence_length=4",
    "mamba": "mamba:width=8:layers=1:head_size=4:state_size=4:batch_size=2:sequence_length=4",
    "gpt": "gpt:width=8:heads=2:layers=1:sequence_length=8:batch_size=2",
    "bert": "bert:width=8:heads=2:layers=1:sequence_length=8:batch_size=2",
}


def run(models: str, out: Path, corpus: Corpus = FARM, *, resume: bool = False, **fields: Any) -> RunResult:
    recipe = Recipe(models=models, corpus=corpus.name, budget="2steps", device="cpu", **fields)
    return run_recipe(recipe, out, corpus=corpus, resume=resume, on_results=write_tables)


def test_every_registered_family_is_tried() -> None:
    others = {"source", "kenlm", "pretrained", "toy"}  # which a run cannot train, but for the last
    assert {*FAMILIES, *others} >= set(registry.MODELS)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_what_each_family_can_give(name: str) -> None:
    """Every model that reads to the left has all of it, one that reads both sides surprisals only."""
    tokens = FARM.tokenize("word")
    model = registry.create(FAMILIES[name], {"device": "cpu"})
    model.fit(tokens.train, tokens.valid, Budget(steps=2))
    first, second = read_aloud(model, ["the dog sleeps", "a cat"])
    assert first["tokens"] == ["the", "dog", "sleeps", "</s>"]
    assert second["tokens"] == ["a", "cat", "</s>"]
    assert all(nats > 0 for nats in first["nats"])
    samples = write_samples(model, 6, seed=1)
    if model.reads == "both":
        assert first["rank"] is first["entropy"] is first["top"] is samples is None
        return
    assert [len(first[name]) for name in ("nats", "rank", "entropy", "top")] == [4] * 4
    for nats, rank, top in zip(first["nats"], first["rank"], first["top"], strict=True):
        assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)
        assert len(top) == 5
        if rank == 1:
            assert top[0][1] == pytest.approx(np.exp(-nats), rel=1e-3)
    assert samples is not None
    assert len(samples["texts"]) == 5
    assert all(len(text.split()) <= 6 for text in samples["texts"])
    assert samples["diversity"]["texts"] == 5


def test_a_run_keeps_it_all(tmp_path: Path) -> None:
    done = run("uniform,toy", tmp_path)
    folder = RunFolder(tmp_path)
    heldout, (uniform, toy) = folder.read_heldout(), done.results
    assert heldout is not None
    # </s> <unk> and 9 words; bird was never seen
    assert heldout.counts.tolist() == [20, 0, *sorted(heldout.counts[2:].tolist(), reverse=True)]
    assert heldout.counts[heldout.types.index("dog")] == 12
    assert heldout.ends.tolist() == heldout.passages.tolist() == heldout.segments.tolist() == [5, 9, 14, 19]
    assert heldout.tokens(14, 19) == ["a", "<unk>", "eats", "here", "</s>"]
    assert heldout.text(14, 19) == "a <unk> eats here"
    assert heldout.passage(0) == (0, 5)
    assert heldout.passage(3) == (14, 19)
    assert heldout.predicted_by(toy)
    assert not heldout.predicted_by(replace(toy, details={"signature": {"events_sha256": "another"}}))
    nats = folder.read_token_nats(toy)
    assert nats is not None
    assert nats.dtype == np.float32
    np.testing.assert_allclose(np.add.reduceat(nats, [0, 5, 9, 14]), folder.read_scores(toy).nats, rtol=1e-6)
    np.testing.assert_allclose(folder.read_token_nats(uniform), np.log(len(heldout.types)), rtol=1e-6)
    reader, samples = folder.read_reader(), folder.read_samples()
    assert reader is not None
    assert samples is not None
    assert [s["unit"] for s in reader["sentences"]] == [0, 1, 2, 3]
    assert reader["sentences"][3]["tokens"] == ["a", "<unk>", "eats", "here", "</s>"]
    assert list(reader["models"]) == list(samples) == ["uniform", "toy"]
    np.testing.assert_allclose(reader["models"]["toy"][1]["nats"], nats[5:9], rtol=1e-4)
    # 200 characters, where 19 tokens have 65
    assert samples["toy"]["settings"] == {"temperature": 1.0, "seed": 1, "max_tokens": 58}


def test_documents_are_read_by_passages(tmp_path: Path) -> None:
    run("toy", tmp_path, BOOK, tokenizer="char")
    folder = RunFolder(tmp_path)
    heldout, reader = folder.read_heldout(), folder.read_reader()
    assert heldout is not None
    assert reader is not None
    # each document, 12 x 67 and 300 characters, is one unit
    assert heldout.ends.tolist() == [len(STORY) + 1, len(STORY) + 302]
    texts = [heldout.text(*heldout.passage(number)) for number in range(len(heldout.passages))]
    assert "".join(texts) == STORY + STORY[:300]
    assert all(text.endswith((".", "!", "\n")) for text in texts[:-1])
    for sentence, entry in zip(reader["sentences"], reader["models"]["toy"], strict=True):
        assert "".join(sentence["tokens"]) == texts[sentence["unit"]].strip()
        assert {len(values) for values in entry.values()} == {len(sentence["tokens"])}
        assert sentence["words"] == texts[sentence["unit"]].split()


@pytest.mark.parametrize("tokenizer", ["char", "byte", "bpe:size=300", "word"])
def test_chinese_reads_as_it_was_written(tmp_path: Path, tokenizer: str) -> None:
    """Whatever the tokens are: of bytes and their pairs one alone may be a part of a character."""
    heldout = hold_out(TALE.tokenize(tokenizer))
    RunFolder(tmp_path).write_heldout(heldout)
    kept = RunFolder(tmp_path).read_heldout()
    assert isinstance(kept, Heldout)
    assert kept.text(0, len(kept.ids)) == CHINESE * 20
    assert "".join(kept.text(*kept.passage(n)) for n in range(len(kept.passages))) == CHINESE * 20
    assert kept.counts.sum() == len(kept.ids)
    if tokenizer in ("char", "word"):
        assert all(kept.text(*kept.passage(n))[-1] in "。！" for n in range(len(kept.passages)))


def test_a_very_long_split_is_kept_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmbench.benchmark.heldout.LIMIT", 13)
    assert hold_out(FARM.tokenize("word")).ends.tolist() == [5, 9]
    monkeypatch.setattr("lmbench.benchmark.heldout.LIMIT", 3)
    cut = hold_out(FARM.tokenize("word"))
    assert (cut.ends.tolist(), len(cut.ids), cut.events) == ([3], 3, 19)


def test_what_is_no_distribution_has_ranks_and_no_probabilities(tmp_path: Path) -> None:
    run("toy:trouble=unnormalized", tmp_path)
    reader = RunFolder(tmp_path).read_reader()
    assert reader is not None
    (entries,) = reader["models"].values()
    assert entries[0]["rank"] is not None
    assert entries[0]["entropy"] is entries[0]["top"] is None


def test_a_model_with_tokens_of_its_own_gives_them(tmp_path: Path) -> None:
    done = run("toy,toy:trouble=letters", tmp_path)
    assert not done.failed
    folder = RunFolder(tmp_path)
    reader, heldout = folder.read_reader(), folder.read_heldout()
    assert reader is not None
    assert heldout is not None
    assert [heldout.predicted_by(result) for result in done.results] == [True, False]
    words, letters = reader["models"].values()
    assert "tokens" not in words[0]
    assert letters[1]["tokens"] == [*"a cat sleeps", "</s>"]
    assert {len(letters[1][name]) for name in ("nats", "rank", "entropy", "top")} == {13}
    assert (letters[1]["words"], letters[1]["starts"]) == (["a", "cat", "sleeps", "</s>"], [0, 1, 5, 12])


@pytest.mark.parametrize(
    ("style", "types", "text"),
    [
        ("bytes", ["Ġthe", "Ġæľ", "Ī", "<｜end｜>"], " the 月<?end?>"),
        ("pieces", ["the", "un", "##able"], " the unable"),
        ("spaces", ["▁the", "▁un", "able", "<0xE6>", "<0x9C>", "<0x88>"], " the unable月"),
        ("words", ["the", "old", "cat"], "the old cat"),
    ],
)
def test_types_of_pretrained_models_join_to_text(
    style: str, types: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vocabulary = Vocabulary(("</s>", *types), None)
    monkeypatch.setattr(HuggingFaceTokenizer, "__init__", lambda self: None)
    tokenizer = HuggingFaceTokenizer()  # type: ignore[call-arg]
    tokenizer.config, tokenizer.vocabulary, tokenizer.style = HuggingFaceConfig("here"), vocabulary, style  # type: ignore[assignment]
    monkeypatch.setattr(HuggingFaceTokenizer, "tokens", lambda self, ids: [vocabulary.types[i] for i in ids])
    ids = np.array([0, *range(1, len(types) + 1), 0], np.int32)
    data = TokenizedCorpus(FARM, tokenizer, Tokens(ids, tokenizer))
    data.__dict__["test"] = data.encoded
    assert hold_out(data).text(0, len(types) + 1) == text


def test_infinity_is_read_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_reader({"sentences": [], "models": {"m": [{"nats": [1.5, float("inf")]}], "none": None}})
    json.loads(folder.reader.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert folder.read_reader() == {"sentences": [], "models": {"m": [{"nats": [1.5, float("inf")]}], "none": None}}


# Time ------------------------------------------------------------------------------------------------


def test_what_is_slow_is_told_in_part() -> None:
    tokens = FARM.tokenize("word")
    model = registry.create("ngram:order=2")
    model.fit(tokens.train, tokens.valid)
    fast, slow = (read_aloud(model, FARM.test.units, seconds=seconds) for seconds in (1e9, 0.0))
    assert [entry["nats"] for entry in slow] == [entry["nats"] for entry in fast]
    assert [entry["rank"] is None for entry in slow] == [False, True, True, True], "the first is always told in full"
    long, short = (write_samples(model, 40, 1, seconds=seconds) for seconds in (1e9, 0.0))
    assert long is not None
    assert short is not None
    assert short["settings"]["max_tokens"] == 5
    assert all(a.startswith(b) for a, b in zip(long["texts"], short["texts"], strict=True))


# Trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["read_aloud", "write_samples"])
def test_a_failure_costs_the_model_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(records, name, fail)
        (result,) = run("toy", tmp_path).results
    assert (result.status, result.reason) == ("done", "")
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "MemoryError: no room" in log
    assert "Traceback" in log
    run("toy", tmp_path, resume=True)
    assert Toy.fitted == ["toy1"]
    folder = RunFolder(tmp_path)
    assert list(folder.read_reader()["models"]) == list(folder.read_samples()) == ["toy"]  # type: ignore[index, arg-type]


def test_a_full_disk_ends_the_run_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise ResultsError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_samples", full)
        with pytest.raises(ResultsError, match="full"):
            run("toy", tmp_path)
    run("toy", tmp_path, resume=True)
    assert Toy.fitted == ["toy1"]
    assert list(RunFolder(tmp_path).read_samples() or ()) == ["toy"]


def test_a_run_of_before_is_completed_without_training(tmp_path: Path) -> None:
    before = run("toy,uniform", tmp_path).results
    folder, kept = RunFolder(tmp_path), {}
    names = ("heldout.safetensors", "heldout.json", "reader.json", "samples.json", "scores/toy.safetensors")
    for name in names:
        kept[name] = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
    assert folder.read_heldout() is folder.read_reader() is folder.read_samples() is None
    assert folder.read_token_nats(before[0]) is None
    write_tables(tmp_path)
    assert run("toy,uniform", tmp_path, resume=True).results == before
    assert Toy.fitted == ["toy1"]
    assert {name: (tmp_path / name).read_bytes() for name in names} == kept


def test_without_its_model_a_run_of_before_stays_as_it_is(tmp_path: Path) -> None:
    before = run("toy", tmp_path).results
    (tmp_path / "models/toy/model.json").unlink()
    (tmp_path / "reader.json").unlink()
    assert run("toy", tmp_path, resume=True).results == before
    assert RunFolder(tmp_path).read_reader() is None
    assert "its model cannot be read" in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("heldout.safetensors", b"\x04"),
        ("heldout.json", b'{"types": ["a"]}'),
        ("scores/toy.safetensors", b"\x02\0\0\0\0\0\0\0{}"),
        ("reader.json", b"{"),
        ("reader.json", b'{"models": {"toy": [{}]}}'),
        ("samples.json", b"[]"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (result,) = run("toy", tmp_path).results
    (tmp_path / name).write_bytes(content)
    folder = RunFolder(tmp_path)
    with pytest.raises(ResultsError, match=r"(heldout|toy|reader|samples)\.\w+ cannot be read: .*--resume"):
        [folder.read_heldout(), folder.read_token_nats(result), folder.read_reader(), folder.read_samples()]
