"""KenLM files as models: KenLM's scores, the contract, and what is said where something is missing."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.kenlm import KenLM, SeenWords, is_binary, listed_words, words_in
from lmbench.models.ngram.arpa.reading import read_arpa
from lmbench.models.ngram.arpa.writing import write_arpa
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.scoring.scorer import score

kenlm = pytest.importorskip("kenlm")

TEXT = tuple(
    f"{a} {b} {c}" for a in ("the cat", "a dog", "") for b in ("sees", "hears") for c in ("fish", "the dog", "")
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(
        "made", Split("train", TEXT), Split("valid", TEXT[:4]), Split("test", (*TEXT[::2], "fish the sees", ""))
    )


@pytest.fixture(scope="module")
def arpa(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokens = corpus.tokenize("word:min_count=1")
    model = NGram(NGramConfig(order=3))
    model.fit(tokens.train, tokens.valid)
    path = tmp_path_factory.mktemp("kenlm") / "m.arpa"
    write_arpa(path, model)
    return path


@pytest.fixture(scope="module")
def ours(arpa: Path) -> NGram:
    return read_arpa(arpa)


@pytest.fixture(scope="module")
def theirs(arpa: Path) -> KenLM:
    return KenLM(arpa, words_in(arpa))


def test_it_gives_what_our_own_reader_gives(ours: NGram, theirs: KenLM, corpus: Corpus) -> None:
    assert theirs.tokenizer.vocabulary == ours.tokenizer.vocabulary
    assert (theirs.max_context, theirs.normalized) == (2, True)
    assert theirs.parameters == ours.parameters + 1  # <s> is listed too
    for context in ("sentence", "stream"):
        mine, other = (score(model, corpus, context=context) for model in (ours, theirs))
        np.testing.assert_allclose(mine.token_nats, other.token_nats, atol=2e-6)
        assert mine.signature.comparable == other.signature.comparable


def test_rows_begin_and_end_anywhere(ours: NGram, theirs: KenLM) -> None:
    random = np.random.default_rng(5)
    rows = [random.integers(0, len(ours.tokenizer.vocabulary), length) for length in (1, 2, 3, 9, 20, 20)]
    rows += [np.array([0, 0, 0]), np.array([4]), np.array([0])]
    batch = Batch.of(rows, [random.random(len(row)) < 0.7 for row in rows])
    np.testing.assert_allclose(theirs.log_probs(batch), ours.log_probs(batch), atol=2e-6)
    np.testing.assert_array_equal(theirs.orders(batch), ours.orders(batch))
    prefixes = Batch.of_prefixes(rows)
    np.testing.assert_allclose(theirs.next_log_probs(prefixes), ours.next_log_probs(prefixes), atol=2e-6)


def test_it_keeps_the_contract(theirs: KenLM, corpus: Corpus, tmp_path: Path) -> None:
    rows = [row.astype(np.int64) for row in theirs.tokenizer.encode(corpus.test.units).rows()]
    together, backwards = theirs.log_probs(Batch.of(rows)), theirs.log_probs(Batch.of(rows[::-1]))[::-1]
    theirs.save(tmp_path / "kept")
    again = registry.load(tmp_path / "kept")
    assert isinstance(again, KenLM)
    for row, values, others in zip(rows, together, backwards, strict=True):
        np.testing.assert_array_equal(values, others)
        following = theirs.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row))]))
        np.testing.assert_allclose(np.exp(following).sum(1), 1, atol=1e-5)
        np.testing.assert_allclose(following[np.arange(len(row) - 1), row[1:]], values[1 : len(row)], atol=1e-6)
        np.testing.assert_array_equal(again.log_probs(Batch.of([row]))[0], values[: len(row)])
    assert again.tokenizer.vocabulary == theirs.tokenizer.vocabulary
    again.save(tmp_path / "kept")  # where its file lies already
    assert registry.load(tmp_path / "kept").parameters == theirs.parameters


def test_characters_are_asked_for_as_they_are_written(tmp_path: Path) -> None:
    text = Corpus("made", Split("train", TEXT), Split("valid", TEXT), Split("test", TEXT))
    tokens = text.tokenize("char")
    model = NGram(NGramConfig(order=3))
    model.fit(tokens.train, tokens.valid)
    write_arpa(tmp_path / "m.arpa", model)
    KenLM(tmp_path / "m.arpa", words_in(tmp_path / "m.arpa")).save(tmp_path / "kept")
    again = registry.load(tmp_path / "kept")
    np.testing.assert_allclose(score(again, text).token_nats, score(model, text).token_nats, atol=1e-5)
    prefix = Batch.of_prefixes([tokens.test.ids[:4].astype(np.int64)])
    np.testing.assert_allclose(again.next_log_probs(prefix), model.next_log_probs(prefix), atol=1e-5)


def test_without_its_words_it_scores_and_no_more(arpa: Path, theirs: KenLM, corpus: Corpus, tmp_path: Path) -> None:
    KenLM(arpa).save(tmp_path / "kept")
    model = registry.load(tmp_path / "kept")
    assert isinstance(model.tokenizer, SeenWords)
    sentences = ["the cat sees fish", "a zebra hears <s> <unk>", "", "the cat  hears"]
    mine, whole = score(model, sentences), score(theirs, sentences)
    np.testing.assert_allclose(mine.nats, whole.nats, atol=1e-6)
    np.testing.assert_array_equal(mine.unknowns, [0, 3, 0, 0])
    assert model.tokenizer.vocabulary.types[:4] == ("</s>", "<unk>", "the", "cat")
    assert model.tokenizer.decode([2, 3]) == "the cat"
    with pytest.raises(ModelError, match="--vocabulary"):
        model.next_log_probs(Batch.of_prefixes([np.array([0])]))
    with pytest.raises(UsageError):
        SeenWords.train(sentences, SeenWords.Config())


def test_a_vocabulary_that_is_not_the_models(arpa: Path) -> None:
    words = words_in(arpa)
    assert words is not None
    model = KenLM(arpa, [*words, "zebra", "the", "<s>"])
    assert model.tokenizer.vocabulary.types == tuple(words)  # nothing that the model does not know, nothing twice
    with pytest.raises(ModelError, match=r"are 4 of its \d+\."):
        KenLM(arpa, ["the", "cat"])


def test_lists_of_words(arpa: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("the\n cat \n\nna\u00efve\n", encoding="utf-8")
    assert listed_words(tmp_path / "words.txt") == ["the", "cat", "na\u00efve"]
    assert listed_words(arpa) == words_in(arpa)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    broken = tmp_path / "broken.binary"
    broken.write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + struct.pack("<40x") + b"x" * 400)
    assert is_binary(broken)
    with pytest.raises(ModelError, match=r"KenLM cannot read .*broken\.binary"):
        KenLM(broken)
    with pytest.raises(ModelError, match="KenLM cannot read"):
        KenLM(tmp_path / "missing.arpa")


def test_a_missing_module_says_how_to_install_it(arpa: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(ModelError, match="pip install kenlm"):
        KenLM(arpa)


def test_it_cannot_be_trained() -> None:
    with pytest.raises(UsageError, match="lmbench models kenlm"):
        registry.create("kenlm")


# Binary files of KenLM (its build_binary), tiny.silent made with -v, that is without a list of its words. They hold
# </s> .25, <unk> .25, a .25 (backoff weight .5), b .25; after <s> (weight .5) a .5; after a: </s> .25, b .25.
HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["trie", "probing", "silent"])
def test_binary_files_are_opened(name: str, tmp_path: Path) -> None:
    path = HERE / f"tiny.{name}.binary"
    assert is_binary(path)
    words = words_in(path)
    assert (None if words is None else set(words)) == (None if name == "silent" else {"<unk>", "<s>", "</s>", "a", "b"})
    KenLM(path, words or ["b", "a"]).save(tmp_path)
    model = registry.load(tmp_path)
    assert model.parameters == 5 + 3
    assert set(model.tokenizer.vocabulary.types) == {"</s>", "<unk>", "a", "b"}
    # p(a | <s>) = .5, p(b | a) = .25, p(</s> | b) = .25; p(<unk> | <s>) = .5 * .25, p(</s> | <unk>) = .25
    nats = score(model, ["a b", "zebra"]).nats
    np.testing.assert_allclose(np.exp(-nats), [0.5 * 0.25 * 0.25, 0.5 * 0.25 * 0.25], rtol=1e-6)
    # after <s>: a .5, and half of .25 for </s>, <unk>, b: .875 in all, since these numbers are made up
    assert np.exp(model.next_log_probs(Batch.of_prefixes([np.array([0])]))).sum() == pytest.approx(0.875)
    assert not model.normalized
    with pytest.raises(ModelError, match=r"are 3 of its 4\."):
        KenLM(path, ["a"])
