"""Grammars: the file format, exact quantities, sampling, minimal pairs, the corpora that ship."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus import grammar as catalog
from lmbench.corpus.grammar import Grammar, MinimalPair, load_embedded, load_grammar
from lmbench.corpus.minimal_pairs import minimal_pairs
from lmbench.corpus.tokenizers import is_unsegmented_han
from lmbench.errors import CorpusError, UsageError

TOY = """
language: en
feature n = sg pl
phenomenon agreement: flip n in Verb
phenomenon attraction: flip n in Verb across
S -> NP.n VP.n
NP.n -> Det Noun.n [3] | Det Noun.n "near" NP.n2 [1]
VP.n -> Verb.n [1] | Verb.n "often" [1]
Det ~ the
Noun.n ~ dog/dogs cat/cats
Verb.n ~ runs/run
"""
LANGUAGES = ("english", "chinese")


@pytest.fixture
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that making a corpus takes no time where its pairs do not matter."""
    monkeypatch.setattr(catalog, "PAIRS", 2)


@pytest.fixture(scope="module")
def grammars() -> dict[str, Grammar]:
    return {name: load_grammar(name) for name in LANGUAGES}


def text_of(grammar: Grammar, row: np.ndarray) -> str:
    return grammar.separator.join(grammar.words[word][1] for word in row)


# Exact quantities


def test_entropy_and_length_of_a_toy_worked_by_hand():
    """``S -> A [1] | A S [3]``, A ~ a b with Zipf weights 1, 1/2.

    Each A: p(a) = 1 / (1 + 1/2) = 2/3, p(b) = 1/3, entropy h_A = ln 3 - 2/3 ln 2.
    Number of words: stop with 1/4 each time, so geometric with mean 4.
    Choices of S: entropy h_S = ln 4 - 3/4 ln 3 each, one for each word.
    H = 4 (h_A + h_S).
    """
    toy = Grammar.parse("S -> A [1] | A S [3]\nA ~ a b")
    by_hand = 4 * ((math.log(3) - 2 / 3 * math.log(2)) + (math.log(4) - 3 / 4 * math.log(3)))
    assert toy.expected_words == pytest.approx(4)
    assert toy.expected_characters == pytest.approx(4 + 3)  # four letters, three spaces
    assert toy.entropy_per_sentence == pytest.approx(by_hand)
    assert toy.entropy_per_token == pytest.approx(by_hand / 5)
    assert toy.entropy_per_character == pytest.approx(by_hand / 8)
    # p(a b a) = 3/4 3/4 1/4 for the length, 2/3 1/3 2/3 for the words
    assert toy.log_prob("a b a") == pytest.approx(math.log(9 / 64 * 4 / 27))


def test_all_strings_up_to_a_length_hold_what_the_lengths_say():
    toy = Grammar.parse("S -> A [1] | A S [3]\nA ~ a b")
    strings = [" ".join(s) for k in range(1, 7) for s in itertools.product("ab", repeat=k)]
    # p(length <= 6) = 1 - (3/4)^6
    assert sum(math.exp(toy.log_prob(s)) for s in strings) == pytest.approx(1 - 0.75**6)


def test_an_ambiguous_sentence_has_the_sum_over_its_derivations():
    toy = Grammar.parse("S -> A B [1] | B A [3]\nA ~ x y\nB ~ x z")
    # x x: as A B 1/4 2/3 2/3, as B A 3/4 2/3 2/3; together 4/9
    assert toy.log_prob("x x") == pytest.approx(math.log(4 / 9))


@pytest.mark.parametrize("name", LANGUAGES)
def test_entropy_and_length_agree_with_a_sample(grammars, name):
    grammar = grammars[name]
    blocks = list(itertools.islice(grammar.derive(11), 10))
    nats = -np.concatenate([block.log_probs for block in blocks])
    rows = [row for block in blocks for row in block.rows()]
    for values, exact in (
        (nats, grammar.entropy_per_sentence),
        (np.array([len(row) for row in rows]), grammar.expected_words),
        (np.array([len(text_of(grammar, row)) for row in rows]), grammar.expected_characters),
    ):
        assert abs(values.mean() - exact) < 3 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_sentence_has_one_derivation(grammars, name):
    """The probability of the sentence is that of the one derivation it was sampled with."""
    grammar = grammars[name]
    block = next(grammar.derive(5))
    for row, expected in zip(block.rows(), block.log_probs, strict=True):
        assert grammar.log_prob(text_of(grammar, row)) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("sentence", ["", "dog", "the dog", "the dog runs runs", "the dogs runs", "the unicorn runs"])
def test_what_the_grammar_does_not_derive_has_probability_zero(sentence):
    assert Grammar.parse(TOY).log_prob(sentence) == -math.inf


# Sampling


def test_a_sample_is_the_same_for_a_seed_and_begins_a_longer_one(grammars):
    grammar = grammars["english"]
    short, long = grammar.sample(500, seed=3), grammar.sample(20_000, seed=3)
    assert long[: len(short)] == short
    assert grammar.sample(500, seed=4) != short
    counted = [len(sentence.split()) + 1 for sentence in short]
    assert sum(counted) >= 500 > sum(counted[:-1])


def test_tokens_of_a_chinese_sample_are_characters(grammars):
    sentences = grammars["chinese"].sample(1000, seed=3)
    assert 1000 <= sum(len(sentence) + 1 for sentence in sentences) < 1100
    assert is_unsegmented_han(sentences)


def test_words_fall_off_as_zipf_says():
    counts = np.zeros(5)
    grammar = Grammar.parse("S -> A\nA ~ a b c d e")
    for sentence in grammar.sample(40_000, seed=1):
        counts["abcde".index(sentence)] += 1
    expected = 1 / np.arange(1, 6) / np.sum(1 / np.arange(1, 6))
    assert np.abs(counts / counts.sum() - expected).max() < 3 * math.sqrt(0.25 / counts.sum())


def test_a_sample_needs_a_token():
    with pytest.raises(UsageError, match="at least one token"):
        Grammar.parse(TOY).sample(0)


# Minimal pairs


def test_pairs_of_a_toy():
    pairs = minimal_pairs(Grammar.parse(TOY), 5, seed=1)
    assert {pair.phenomenon for pair in pairs} == {"agreement", "attraction"}
    for pair in pairs:
        good, bad = pair.good.split(), pair.bad.split()
        assert [g for g, b in zip(good, bad, strict=True) if g != b] in (["runs"], ["run"])
        if pair.phenomenon == "attraction":  # the noun just before the verb has the other number
            verb = next(i for i, word in enumerate(good) if word.startswith("run"))
            assert good[verb - 1].endswith("s") == (good[verb] == "runs")


def test_a_phenomenon_that_never_occurs_gives_no_pairs(monkeypatch):
    monkeypatch.setattr("lmbench.corpus.minimal_pairs.PATIENCE", 50)
    toy = Grammar.parse("feature n = sg pl\nphenomenon none: flip n in A across\nS -> A.n\nA.n ~ a/b")
    assert minimal_pairs(toy) == ()


@pytest.mark.parametrize("name", LANGUAGES)
def test_pairs_of_the_languages(grammars, name):
    grammar = grammars[name]
    pairs = load_embedded(name, tokens=1).pairs
    assert len(pairs) == catalog.PAIRS * len(grammar.phenomena)
    assert {"english": "agreement", "chinese": "classifier"}[name] in {pair.phenomenon for pair in pairs}
    assert {"order", "selection"} <= {pair.phenomenon for pair in pairs}
    for pair in pairs:
        assert isinstance(pair, MinimalPair)
        assert grammar.log_prob(pair.bad) == -math.inf < grammar.log_prob(pair.good)
        if name == "english":
            assert len(pair.good.split()) == len(pair.bad.split())


# The corpora that ship


@pytest.mark.usefixtures("few_pairs")
@pytest.mark.parametrize("name", LANGUAGES)
def test_the_text_of_the_languages_never_changes(name):
    corpus = load_embedded(name)
    assert corpus.sha256 == catalog.SHA256[name], "the text changed: raise VERSION and pin the new checksum"
    assert load_embedded(name).sha256 == corpus.sha256  # from the cache
    assert (corpus.name, corpus.language) == (name, {"english": "en", "chinese": "zh"}[name])
    assert [len(part.documents) for part in corpus] == [1, 1, 1]
    assert not set(corpus.valid.units[:50]) & {"", " "}


@pytest.mark.usefixtures("few_pairs")
def test_held_out_text_does_not_depend_on_the_size_of_train():
    small, smaller = load_embedded("english", tokens=3000), load_embedded("english", tokens=1000)
    assert small.test == smaller.test
    assert small.train.documents[0].startswith(smaller.train.documents[0])
    assert load_embedded("english", tokens=1000, seed=1).test != small.test


@pytest.mark.usefixtures("few_pairs")
def test_a_cache_that_is_damaged_or_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    text = load_embedded("chinese", tokens=1000).sha256
    (kept,) = Path(tmp_path / "cache").rglob("*.json")
    kept.write_text("{")
    assert load_embedded("chinese", tokens=1000).sha256 == text
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "file"))
    assert load_embedded("chinese", tokens=1000).sha256 == text


def test_a_grammar_of_ones_own(tmp_path):
    path = tmp_path / "toy.grammar"
    path.write_text(TOY)
    corpus = load_embedded(path, tokens=100)
    assert (corpus.name, corpus.language, corpus.grammar.text) == ("toy", "en", TOY)
    assert str(path) in corpus.origin


def test_names_and_sizes_that_cannot_be(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'english'"):
        load_embedded("englsh")
    with pytest.raises(UsageError, match="at least 1 token"):
        load_embedded("english", tokens=0)
    with pytest.raises(CorpusError, match="cannot be read"):
        load_embedded(tmp_path / "none.grammar")
    (tmp_path / "latin.grammar").write_bytes(b"S -> \xe9")
    with pytest.raises(CorpusError, match="not UTF-8"):
        load_embedded(tmp_path / "latin.grammar")


# The file format


def test_features_write_rules_out():
    grammar = Grammar.parse(TOY)
    assert grammar.symbols[:3] == ("S", "NP.sg", "VP.sg")
    assert [(r, p) for left, r, p in grammar.rules if left == 0] == [((1, 2), 0.5), ((3, 4), 0.5)]
    near = [p for left, right, p in grammar.rules if left == 1 and len(right) == 4]
    assert near == [0.125, 0.125]  # 1/4, shared by the two numbers of the second noun


def test_comments_continuation_and_exponents():
    grammar = Grammar.parse('# top\nS -> A   # here\n  | A "#2" [2]\nA ~2 a\n  b')
    assert [p for _, _, p in grammar.rules] == [1 / 3, 2 / 3]
    assert [(w, round(p, 4)) for _, w, p in grammar.words] == [("a", 0.8), ("b", 0.2), ("#2", 1.0)]  # 1 : 1/4


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("S -> A\nA ~ a\nfoo", 3, "neither a rule"),
        ("S -> A B\nA ~ a", 1, "S uses B, which has neither rules nor words"),
        ("S -> A |\nA ~ a", 1, "an alternative is empty"),
        ("S -> A [x]\nA ~ a", 1, "'x' is not a number"),
        ("S -> A [0]\nA ~ a", 1, "must be a positive number"),
        ("S -> A [1] A\nA ~ a", 1, "A weight ends its alternative"),
        ("S -> A 2\nA ~ a", 1, "'2' is no symbol"),
        ("S -> A | A\nA ~ a", 1, "given twice"),
        ("S -> A\nA ~ a b a", 2, "'a' is given twice"),
        ("S -> A\nA ~ a\nA ~ b", 3, "stands in line 2 already"),
        ("S -> A\nA ~ a\nA -> S", 3, "so it takes no rules"),
        ("S -> A\nA ~ a/b", 2, "needs 1 form"),
        ("S -> A\nA ~", 2, "needs 1 form"),
        ("feature n = sg pl\nS -> A.n\nA.n ~ a", 3, "needs 2 form"),
        ("feature n = sg pl\nS -> A.n.n2\nA.n.n2 ~ a/b", 3, "only one can vary"),
        ("  S -> A\nA ~ a", 1, "none stands above"),
        ("S -> B A\nB -> S A | A\nA ~ a", 1, "can begin with S again"),
        ("separator: -\nS -> A\nA ~ a", 1, "the separator"),
        ("phenomenon x: flip n in A\nS -> A\nA ~ a", 1, "no minimal pair"),
        ("phenomenon x: swap B\nS -> A\nA ~ a", 1, "names B"),
    ],
)
def test_a_mistake_is_reported_with_its_line(tmp_path, text, line, message):
    path = tmp_path / "bad.grammar"
    path.write_text(text)
    with pytest.raises(CorpusError, match=message) as caught:
        Grammar.read(path)
    assert f"{path}, line {line}:" in str(caught.value)


@pytest.mark.parametrize("text", ["S -> A [1] | A S S [1]\nA ~ a", "S -> A S\nA ~ a", "S -> A [1] | A S S [3]\nA ~ a"])
def test_a_grammar_whose_derivations_do_not_end(text):
    with pytest.raises(CorpusError, match="derivations do not end"):
        Grammar.parse(text)


def test_an_empty_file():
    with pytest.raises(CorpusError, match="holds no rule"):
        Grammar.parse("# nothing\n")


def test_the_readme_of_the_corpora_gives_the_exact_numbers(grammars):
    readme = (catalog.grammar_folder() / "README.md").read_text(encoding="utf-8")
    for grammar in grammars.values():
        for number in (
            f"{len({word for _, word, _ in grammar.words})} ",
            f"{len(grammar.rules)}, {len(grammar.words)}",
            f"{grammar.expected_words:.3f}, {grammar.expected_characters:.3f}",
            f"{grammar.entropy_per_sentence:.4f} nats",
            f"{grammar.entropy_per_token:.4f} nats (perplexity {math.exp(grammar.entropy_per_token):.2f})",
            f"{grammar.entropy_per_character:.4f} nats ({grammar.entropy_per_character / math.log(2):.4f} bits)",
        ):
            assert f"| {number}" in readme, f"{grammar.name}: {number}"
