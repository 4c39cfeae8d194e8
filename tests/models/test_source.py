"""The source as a model: exact in every tokenizer, and it keeps the contract."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.grammar import Grammar, load_grammar
from lmbench.corpus.minimal_pairs import minimal_pairs
from lmbench.corpus.text import Corpus, Split
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError
from lmbench.models.base import LanguageModel
from lmbench.models.registry import load
from lmbench.models.source import LOG_ZERO, Source
from lmbench.scoring.scorer import score

TOKENIZERS = [
    ("english", "word:min_count=1"),
    ("english", "char"),
    ("english", "byte"),
    ("english", "bpe:size=500"),
    ("chinese", "word:min_count=1"),
    ("chinese", "char"),
    ("chinese", "byte"),
]
TOY = 'S -> A B [1] | A "and" S [1]\nA ~ cat cats dog\nB ~ run runs'


@pytest.fixture(scope="module")
def grammars() -> dict[str, Grammar]:
    return {name: load_grammar(name) for name in ("english", "chinese")}


@pytest.fixture(scope="module")
def sources(grammars) -> dict[tuple[str, str], Source]:
    """One source for each tokenizer, trained on every word that the grammar has."""
    built = {}
    for name, spec in TOKENIZERS:
        grammar = grammars[name]
        everything = [grammar.separator.join(word for _, word, _ in grammar.words)]
        built[name, spec] = Source(grammar, train_tokenizer(spec, grammar.sample(5000, 1) + everything))
    return built


def toy(spec: str = "word:min_count=1") -> Source:
    grammar = Grammar.parse(TOY)
    return Source(grammar, train_tokenizer(spec, grammar.sample(2000, 1)))


def corpus_of(grammar: Grammar, tokens: int) -> Corpus:
    train, valid, test = (("\n".join(grammar.sample(tokens, (9, stream))),) for stream in range(3))
    return Corpus("sampled", Split("train", train), Split("valid", valid), Split("test", test))


@pytest.mark.parametrize("key", TOKENIZERS)
def test_tokens_of_a_sentence_sum_to_its_probability(sources, grammars, key):
    source, grammar = sources[key], grammars[key[0]]
    sentences = grammar.sample(400, seed=21)
    rows = source.tokenizer.encode(sentences).rows()
    assert source.tokenizer.encode(sentences).unknowns == 0
    sums = source.log_probs(Batch.of(rows)).sum(1)
    np.testing.assert_allclose(sums, [grammar.log_prob(sentence) for sentence in sentences], rtol=0, atol=1e-9)


@pytest.mark.parametrize("key", TOKENIZERS)
def test_next_log_probs_sum_to_one_and_agree_with_log_probs(sources, grammars, key):
    source = sources[key]
    rows = source.tokenizer.encode(grammars[key[0]].sample(150, seed=22)).rows()
    scored = source.log_probs(Batch.of(rows))
    for row, values in zip(rows, scored, strict=True):
        places = range(1, len(row))
        following = source.next_log_probs(Batch.of_prefixes([row[:place] for place in places]))
        np.testing.assert_allclose(np.exp(following).sum(1), 1, rtol=0, atol=1e-9)
        np.testing.assert_allclose(following[range(len(row) - 1), row[1:]], values[1 : len(row)], atol=1e-9)


def test_a_toy_by_hand():
    """S -> A B [1/2] | A and S [1/2]; A: cat 6/11, cats 3/11, dog 2/11; B: run 2/3, runs 1/3."""
    source = toy()
    following = source.next_log_probs(Batch.of_prefixes([np.array([0])]))[0]
    ids = source.tokenizer.vocabulary.ids
    assert math.exp(following[ids["cats"]]) == pytest.approx(3 / 11)
    assert following[0] == LOG_ZERO  # no sentence is empty
    following = source.next_log_probs(Batch.of_prefixes([np.array([0, ids["dog"]])]))[0]
    assert [math.exp(following[ids[word]]) for word in ("and", "run", "runs")] == pytest.approx([1 / 2, 1 / 3, 1 / 6])


def test_characters_of_a_toy_by_hand():
    """After "cat": a space, or the s of "cats", which has 3/11 of the 9/11 that begin with cat."""
    source = toy("char")
    ids = source.tokenizer.vocabulary.ids
    following = source.next_log_probs(Batch.of_prefixes([np.array([0, *(ids[c] for c in "cat")])]))[0]
    assert math.exp(following[ids["s"]]) == pytest.approx(1 / 3)
    assert math.exp(following[ids[" "]]) == pytest.approx(2 / 3)


def test_unknown_words_are_one_event_with_the_mass_of_all():
    grammar = Grammar.parse(TOY)
    source = Source(grammar, train_tokenizer("word:min_count=1", ["cat and run"]))
    following = source.next_log_probs(Batch.of_prefixes([np.array([0])]))[0]
    assert math.exp(following[1]) == pytest.approx(5 / 11)  # cats and dog
    result = score(source, ["dog runs"])
    # <unk> 5/11, then B 1/2 of which runs is 1/3 (unknown), then the end
    assert result.nats[0] == pytest.approx(-math.log(5 / 11 * 1 / 2 * 1 / 3))


def test_one_long_row_equals_padded_sentences(sources, grammars):
    source = sources["english", "word:min_count=1"]
    tokens = source.tokenizer.encode(grammars["english"].sample(500, seed=23))
    one = source.log_probs(Batch.of([tokens.ids]))[0, 1:]
    many = source.log_probs(Batch.of(tokens.rows()))
    targets = Batch.of(tokens.rows()).targets
    np.testing.assert_array_equal(one, many[targets])


def test_only_targets_are_answered():
    source = toy()
    row = source.tokenizer.encode(["cat and dog runs"]).ids
    wanted = np.array([False, False, True, False, True, False])
    values = source.log_probs(Batch.of([row], [wanted]))[0]
    np.testing.assert_array_equal(values != 0, wanted)
    np.testing.assert_array_equal(values[wanted], source.log_probs(Batch.of([row]))[0][wanted])


def test_a_row_may_begin_inside_a_sentence():
    source = toy()
    whole = source.tokenizer.encode(["cat runs"]).ids
    np.testing.assert_array_equal(
        source.log_probs(Batch.of([whole[1:]]))[0, 1:], source.log_probs(Batch.of([whole]))[0, 2:]
    )


def test_what_the_grammar_rules_out_costs_a_thousand_nats_and_the_rest_is_uniform():
    source = toy()
    size = len(source.tokenizer.vocabulary)
    tokens = source.tokenizer.encode(["run cat", "cat runs"])
    values = source.log_probs(Batch.of([tokens.ids]))[0]
    np.testing.assert_allclose(values[1:4], [LOG_ZERO, -math.log(size), -math.log(size)])
    assert values[4:].sum() == pytest.approx(source.grammar.log_prob("cat runs"))  # a boundary begins anew
    following = source.next_log_probs(Batch.of_prefixes([tokens.ids[:2]]))
    np.testing.assert_allclose(following, -math.log(size))


def test_the_future_is_not_read(sources):
    source = sources["english", "char"]
    rows = source.tokenizer.encode(["the dog sleeps", "the dog and so on"]).rows()
    values = source.log_probs(Batch.of(rows))
    np.testing.assert_array_equal(values[0, :9], values[1, :9])


@pytest.mark.parametrize("spec", ["word", "char", "byte"])
def test_save_and_load(tmp_path, spec):
    source = toy(spec)
    source.save(tmp_path)
    restored = load(tmp_path)
    assert isinstance(restored, Source)
    assert isinstance(restored, LanguageModel)
    batch = Batch.of(source.tokenizer.encode(["cat and dog runs", "cats run"]).rows())
    np.testing.assert_array_equal(restored.log_probs(batch), source.log_probs(batch))
    assert restored.parameters == source.parameters == 2 + 6  # two rules; "and" is a word like the other five
    assert restored.grammar.sha256 == source.grammar.sha256


def test_forgetting_changes_nothing(monkeypatch):
    kept, forgetful = toy("char"), toy("char")
    tokens = kept.tokenizer.encode(Grammar.parse(TOY).sample(500, 3))
    monkeypatch.setattr("lmbench.corpus.prefixes.LIMIT", 20)
    forgotten = forgetful.log_probs(Batch.of([tokens.ids]))
    monkeypatch.undo()
    np.testing.assert_array_equal(forgotten, kept.log_probs(Batch.of([tokens.ids])))


def test_its_perplexity_on_a_sample_is_that_of_the_grammar(grammars):
    """Cross-entropy on 1,500 sentences lies within three standard errors of the entropy."""
    grammar = grammars["chinese"]
    corpus = corpus_of(grammar, 20_000)
    result = score(Source(grammar, train_tokenizer("word:min_count=1", corpus.train.units + corpus.test.units)), corpus)
    error = result.nats.std() / math.sqrt(len(result.nats))
    assert abs(result.nats.mean() - grammar.entropy_per_sentence) < 3 * error


@pytest.mark.parametrize("key", [("english", "char"), ("chinese", "word:min_count=1")])
def test_every_minimal_pair_is_decided_rightly(sources, grammars, key):
    source = sources[key]
    pairs = minimal_pairs(grammars[key[0]], 5, seed=4)
    good, bad = (score(source, sentences).nats for sentences in zip(*((p.good, p.bad) for p in pairs), strict=True))
    assert (good < -LOG_ZERO).all()
    assert (bad >= -LOG_ZERO).all()


def test_a_tokenizer_that_joins_words_is_refused(grammars):
    grammar = grammars["chinese"]
    tokenizer = train_tokenizer("bpe:size=1000", grammar.sample(5000, 1))
    with pytest.raises(ModelError, match="Choose word, char or byte"):
        Source(grammar, tokenizer)


AMBIGUOUS = """
separator: "{separator}"
S -> A B [2] | B A B [1] | A [1] | C
A ~ a ab b abc
B ~ b bc a c
C -> A B B [1] | B [2]
"""


def sentences_of(grammar: Grammar) -> dict[str, float]:
    """Every sentence of a grammar without recursion, and its probability, by writing all derivations out."""
    words = {s: [(w, p) for left, w, p in grammar.words if left == s] for s in range(len(grammar.symbols))}

    def derive(symbols: tuple[int, ...]) -> list[tuple[tuple[str, ...], float]]:
        if not symbols:
            return [((), 1.0)]
        tails = derive(symbols[1:])
        heads = [((word,), p) for word, p in words[symbols[0]]]
        for left, right, probability in grammar.rules:
            if left == symbols[0]:
                heads += [(head, probability * p) for head, p in derive(right)]
        return [(head + tail, p * q) for head, p in heads for tail, q in tails]

    found: dict[str, float] = {}
    for leaves, probability in derive((0,)):
        sentence = grammar.separator.join(leaves)
        found[sentence] = found.get(sentence, 0.0) + probability
    return found


@pytest.mark.parametrize(
    ("separator", "spec"),
    [(" ", "word:min_count=1"), (" ", "word:size=4"), (" ", "char"), (" ", "byte"), ("", "char"), ("", "byte")],
)
def test_every_prefix_agrees_with_writing_all_derivations_out(separator, spec):
    """Even where sentences have many derivations and can be cut into words in many ways."""
    grammar = Grammar.parse(AMBIGUOUS.format(separator=separator))
    sentences = sentences_of(grammar)
    assert sum(sentences.values()) == pytest.approx(1)
    for sentence, probability in sentences.items():
        assert math.exp(grammar.log_prob(sentence)) == pytest.approx(probability)
    tokenizer = train_tokenizer(spec, list(sentences))
    source = Source(grammar, tokenizer)
    mass: dict[tuple[int, ...], float] = {}
    for sentence, probability in sentences.items():
        row = tuple(tokenizer.encode([sentence]).ids.tolist())
        for end in range(1, len(row) + 1):
            mass[row[:end]] = mass.get(row[:end], 0.0) + probability
    prefixes = [prefix for prefix in mass if (prefix[1:] and prefix[-1] != 0) or prefix == (0,)]
    following = np.exp(source.next_log_probs(Batch.of_prefixes([np.array(prefix) for prefix in prefixes])))
    for prefix, chances in zip(prefixes, following, strict=True):
        expected = [mass.get((*prefix, token), 0.0) / mass[prefix] for token in range(len(chances))]
        np.testing.assert_allclose(chances, expected, atol=1e-12)
