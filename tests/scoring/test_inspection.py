"""Surprisal, rank, entropy and likeliest alternatives of tokens: by hand, and for every family."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.registry import create
from lmbench.models.uniform import Uniform
from lmbench.scoring.inspection import inspect
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget
from tests.models.test_contract import LEFT, SPECS, WORDS

MAKERS = {"word": "word:min_count=1", "char": "char", "byte": "byte", "bpe": "bpe:size=280"}


@cache
def made() -> Corpus:
    random = np.random.default_rng(7)

    def text(lines: int) -> tuple[str]:
        return ("\n".join(" ".join(random.choice(WORDS, random.integers(1, 9))) for _ in range(lines)),)

    return Corpus("made", Split("train", text(200)), Split("valid", text(30)), Split("test", text(12)))


@cache
def fitted(name: str):
    tokens = made().tokenize("word")
    model = create(SPECS[name])
    model.fit(tokens.train, tokens.valid, Budget(steps=8))
    return model


class Table:
    """Bigrams by hand over </s> <unk> a b c: ``chances[v]`` is what follows token v."""

    kind, reads, max_context, context, normalized, adapts = "table", "left", 1, "sentence", True, False

    def __init__(self, chances: np.ndarray, tokenizer=None) -> None:
        self.tokenizer = tokenizer or train_tokenizer("word:min_count=1", ["a b c"])
        with np.errstate(divide="ignore"):
            self.log_chances = np.log(chances)

    def log_probs(self, batch: Batch) -> np.ndarray:
        values = np.zeros(batch.ids.shape)
        values[:, 1:] = self.log_chances[batch.ids[:, :-1], batch.ids[:, 1:]]
        return np.where(batch.targets, values, 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        return self.log_chances[prefixes.ids[np.arange(len(prefixes.ids)), prefixes.last()]]


CHANCES = np.array(
    [  # </s>  <unk>  a    b     c
        [0.0, 0.125, 0.5, 0.25, 0.125],  # at the beginning
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.5, 0.0, 0.0, 0.5, 0.0],  # after a
        [1.0, 0.0, 0.0, 0.0, 0.0],  # after b
        [0.25, 0.25, 0.25, 0.25, 0.0],
    ]
)


def test_by_hand():
    """ "a b": 1/2 is the likeliest; b and </s> share ranks 1 and 2; after b the end is certain."""
    found = inspect(Table(CHANCES), ["a b", "c x"], alternatives=2)
    assert found.written == ["a", "b", "</s>", "c", "<unk>", "</s>"]
    assert found.ends.tolist() == [3, 6]
    bits = [1, 1, 0, 3, 2, np.log2(5)]
    np.testing.assert_allclose(found.nats, np.array(bits) * np.log(2))
    # c after the boundary: a and b are better, <unk> is equal: (3 + 4) / 2; <unk> after c: (1 + 2 + 3 + 4) / 4
    assert found.rank.tolist() == [1, 1.5, 1, 3.5, 2.5, 3]
    # at the beginning 1/2 1 + 1/4 2 + 2 (1/8 3) = 1.75 bits; after a 1, after b 0, after c 2, after <unk> log2 5
    np.testing.assert_allclose(found.entropy_nats, np.array([1.75, 1, 0, 1.75, 2, np.log2(5)]) * np.log(2), atol=1e-15)
    assert found.alternatives.ids.tolist() == [[2, 3], [0, 3], [0, 1], [2, 3], [0, 1], [0, 1]]
    np.testing.assert_allclose(found.alternatives.nats[:2], np.log([[2, 4], [2, 2]]))
    assert found.alternatives.nats[2].tolist() == [0, np.inf]


def test_what_cannot_be_is_infinitely_surprising_and_shares_the_last_ranks():
    found = inspect(Table(CHANCES), ["b a"])
    assert found.nats[1] == np.inf
    assert found.rank[1] == 3.5  # after b only the end: ranks 2 to 5


@pytest.mark.parametrize("name", sorted(SPECS))
@pytest.mark.parametrize("prefix", [None, "the old cat"])
def test_surprisals_are_those_of_the_scorer(name, prefix):
    model, texts = fitted(name), made().test.units
    found = inspect(model, texts, prefix=prefix)
    whole = score(model, [f"{prefix} {text}" if prefix else text for text in texts])
    before = len(prefix.split()) if prefix else 0
    kept = np.concatenate([np.arange(n) >= before for n in whole.events])
    np.testing.assert_allclose(found.nats, whole.token_nats[kept], atol=2e-5)
    assert found.ends.tolist() == np.cumsum(whole.events - before).tolist()
    sums = found.asked.sums(whole.token_nats[found.asked.places])
    np.testing.assert_allclose(sums, np.add.reduceat(found.nats, [0, *found.ends[:-1]]), atol=1e-3)


@pytest.mark.parametrize("name", LEFT)
def test_ranks_entropies_and_alternatives_are_those_of_the_next_token(name):
    model, texts = fitted(name), made().test.units[:4]
    found = inspect(model, texts, alternatives=3)
    ids = [row.astype(np.int64) for row in model.tokenizer.encode(texts).rows()]
    expected = np.concatenate(
        [model.next_log_probs(Batch.of_prefixes([row[:n] for n in range(1, len(row))])) for row in ids]
    ).astype(np.float64)
    own = expected[np.arange(len(found.ids)), found.ids][:, None]
    assert ((expected > own + 1e-5).sum(1) < found.rank).all()
    assert (found.rank <= (expected >= own - 1e-5).sum(1)).all()
    np.testing.assert_allclose(found.entropy_nats, -(np.exp(expected) * expected).sum(1), atol=1e-4)
    np.testing.assert_allclose(found.alternatives.nats, -np.sort(expected, 1)[:, :-4:-1], atol=2e-5)
    shown = np.take_along_axis(expected, found.alternatives.ids.astype(np.int64), 1)
    np.testing.assert_allclose(-shown, found.alternatives.nats, atol=2e-5)


def test_a_model_that_reads_both_sides_has_surprisals_only():
    found = inspect(fitted("bert"), ["the cat sees a dog"], alternatives=3)
    assert (found.rank, found.entropy_nats, found.alternatives) == (None, None, None)
    assert len(found.nats) == 6


def test_scores_that_are_no_probabilities_have_ranks_but_no_entropy():
    tokens = made().tokenize("word")
    model = create("ngram:order=2:smoothing=stupid-backoff")
    model.fit(tokens.train, tokens.valid)
    found = inspect(model, ["the cat"])
    assert found.entropy_nats is None
    assert (found.rank >= 1).all()


@pytest.mark.parametrize("name", ["lstm", "gpt", "mixture"])
def test_long_and_short_texts_stand_in_their_order(name):
    """A text longer than a network reads at once, between short ones."""
    model, long = fitted(name), " ".join(WORDS * 50)
    texts = ["the cat", long, "a dog sees", long[: len(long) // 2].rsplit(" ", 1)[0]]
    found = inspect(model, texts)
    np.testing.assert_allclose(found.nats, score(model, texts).token_nats, atol=2e-5)


# Words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(MAKERS))
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the unbelievable cat's dog.", ["the", "unbelievable", "cat's", "dog.", "</s>"]),
        ("zebra é x", ["zebra", "é", "x", "</s>"]),
        ("", ["</s>"]),
    ],
)
def test_words_are_gathered_as_they_are_written(kind, text, words):
    tokenizer = train_tokenizer(MAKERS[kind], ["the cat's dog. believable unbelievable"])
    found = inspect(uniform(tokenizer), ["the cat", text])
    assert found.words.written == ["the", "cat", "</s>", *words]
    assert found.words.ends.tolist() == [3, 3 + len(words)]
    assert found.words.nats.sum() == pytest.approx(found.nats.sum())
    per_type = np.log(len(tokenizer.vocabulary))
    counts = np.diff([*found.words.starts, len(found.ids)])
    np.testing.assert_allclose(found.words.nats, counts * per_type)


@pytest.mark.parametrize("kind", ["word:min_count=1:han=yes", "char", "byte", "bpe:size=280"])
def test_each_chinese_character_is_a_word(kind):
    tokenizer = train_tokenizer(kind, ["那只猫在看鱼。", "我用 GPT 写字。"])
    found = inspect(uniform(tokenizer), ["猫用 GPT 写鱼。"])
    assert found.words.written == ["猫", "用", "GPT", "写", "鱼", "。", "</s>"]


def uniform(tokenizer) -> Uniform:
    model = Uniform()
    model.tokenizer = tokenizer
    return model
