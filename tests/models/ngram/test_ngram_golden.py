"""The same figures as KenLM's lmplz on a toy text and on PTB.

Discounts are those lmplz printed, rounded to six digits, since its own differ slightly from the formula at order 1
(it lets one raw count into the counts of counts). Its arithmetic is float32.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Tokens
from lmbench.corpus.places import data_folders
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.ngram.counting import Counts, count
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.models.ngram.smoothing import Discounts, estimate_discounts, modified_kneser_ney
from lmbench.models.ngram.table import Table
from lmbench.scoring.scorer import token_log_probs

HERE = Path(__file__).parent
# Penn Treebank is not ours to ship: LMBENCH_DATA names the folder that holds ptb/. Beside that folder lies reference/,
# with the log10 probabilities that KenLM gave each test sentence.
PTB = next((p / "ptb" for p in data_folders() if (p / "ptb").is_dir()), HERE / "no-ptb")
REFERENCE = PTB.parents[1] / "reference"

# D1, D2, D3+ that lmplz printed for the toy text: as a lower order, and as the highest.
TOY_ONE: Discounts = (0.331658, 1.33419, 1.94167)
TOY_LOWER: list[Discounts] = [
    (0.320675, 1.4443, 2.06211),
    (0.721752, 1.25247, 1.52884),
    (0.862237, 1.15584, 1.47637),
    (0.958488, 1.28671, 1.50236),
]
TOY_HIGHEST: dict[int, Discounts] = {
    2: (0.718384, 1.18821, 1.4354),
    3: (0.855823, 1.15493, 1.62807),
    5: (0.989958, 1.47897, 2.20803),
}


def toy(part: str) -> list[str]:
    return (HERE / f"toy.{part}.txt").read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def toy_tokens() -> tuple[Tokens, Tokens]:
    tokenizer = train_tokenizer("word:min_count=1", toy("train"))
    return tokenizer.encode(toy("train")), tokenizer.encode(toy("test"))


def sentence_log10(table: Table, tokens: Tokens) -> np.ndarray:
    """float64 (S,): log10 p of each sentence with its end."""
    values = table.log_probs(tokens.ids, np.zeros(len(tokens.ids), bool))[1:]
    return np.add.reduceat(values, np.concatenate(([0], tokens.ends[:-1]))) / np.log(10)


def test_toy_unigrams_entry_by_entry(toy_tokens: tuple[Tokens, Tokens]) -> None:
    train, _ = toy_tokens
    table = modified_kneser_ney(count(train.ids, train.vocabulary_size, 1), [TOY_ONE])
    with gzip.open(HERE / "toy.o1.arpa.gz", "rt", encoding="utf-8") as file:
        entries = [line.split("\t") for line in file if line.startswith("-")]
    assert len(entries) == train.vocabulary_size
    for log10, word, *_ in entries:
        mine = table.orders[0].log_probs[train.tokenizer.vocabulary.ids[word.strip()]] / np.log(10)
        assert mine == pytest.approx(float(log10), abs=2e-6)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_toy_sentences(toy_tokens: tuple[Tokens, Tokens], order: int) -> None:
    train, test = toy_tokens
    counts = count(train.ids, train.vocabulary_size, order)
    expected = np.loadtxt(HERE / f"toy.o{order}.scores.tsv", usecols=0)
    given = modified_kneser_ney(counts, [*TOY_LOWER[: order - 1], TOY_HIGHEST[order]])
    assert np.abs(sentence_log10(given, test) - expected).max() < 1e-5
    for k in range(1, order + 1):
        discounts = TOY_LOWER[k - 1] if k < order else TOY_HIGHEST[order]
        assert estimate_discounts(counts.of(k)) == pytest.approx(discounts, rel=1e-5)


def sentences(part: str) -> list[str]:
    return [" ".join(line.split()) for line in (PTB / f"ptb.{part}.txt").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def ptb() -> tuple[Counts, Tokens, Tokens, Tokens]:
    if not PTB.is_dir():
        pytest.skip("LMBENCH_DATA has no ptb")
    train = sentences("train")
    tokenizer = train_tokenizer("word", train)
    tokens = tokenizer.encode(train)
    return (
        count(tokens.ids, tokens.vocabulary_size, 5),
        tokens,
        tokenizer.encode(sentences("valid")),
        tokenizer.encode(sentences("test")),
    )


PTB_PERPLEXITIES = {2: (199.018, 185.705), 3: (157.765, 148.281), 4: (149.896, 142.716), 5: (148.007, 141.186)}


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_ptb_perplexity(ptb: tuple[Counts, Tokens, Tokens, Tokens], order: int) -> None:
    counts, train, *parts = ptb
    assert [train.events, parts[0].events, parts[1].events] == [929_589, 73_760, 82_430]
    table = modified_kneser_ney(Counts(counts.orders[:order], order, counts.vocabulary_size))
    model = NGram.of(table, train.tokenizer, NGramConfig(order=order))
    for tokens, expected in zip(parts, PTB_PERPLEXITIES[order], strict=True):
        perplexity = np.exp(-token_log_probs(model, tokens, "sentence").mean())
        assert perplexity == pytest.approx(expected, rel=2e-5)


PTB_DISCOUNTS: dict[int, list[Discounts]] = {
    3: [(0.25656, 0.82888, 1.26492), (0.727802, 1.09876, 1.4713), (0.84696, 1.22512, 1.38578)],
    5: [
        (0.25656, 0.82888, 1.26492),
        (0.727802, 1.09876, 1.4713),
        (0.868879, 1.25462, 1.44822),
        (0.942828, 1.38314, 1.43173),
        (0.959671, 1.3879, 1.24171),
    ],
}


@pytest.mark.parametrize("order", [3, 5])
def test_ptb_sentences(ptb: tuple[Counts, Tokens, Tokens, Tokens], order: int) -> None:
    """With the printed discounts 1e-4 remains: lmplz spreads the unigram rest over 10,001 types, counting an <unk>
    that it does not know to be a word of the text. With our own, its fault at order 1 adds up to 1.1e-3 a sentence."""
    if not REFERENCE.is_dir():
        pytest.skip(f"{REFERENCE} is not here")
    counts, _, _, test = ptb
    kept = Counts(counts.orders[:order], order, counts.vocabulary_size)
    with gzip.open(REFERENCE / f"ptb.kn{order}.test.scores.txt.gz", "rt") as file:
        expected = np.loadtxt(file, usecols=0)
    given = sentence_log10(modified_kneser_ney(kept, PTB_DISCOUNTS[order]), test)
    assert np.abs(given - expected).max() < 1.5e-4
    own = sentence_log10(modified_kneser_ney(kept), test)
    assert np.abs(own - expected).max() < 1.1e-3
    assert np.abs(own - expected).mean() < 1.5e-4
