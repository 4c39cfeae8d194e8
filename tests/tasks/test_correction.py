"""Lines that were probably meant: by hand, against every possibility, and on planted errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lmbench.corpus.loading import load_corpus
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.registry import create
from lmbench.scoring.scorer import score
from lmbench.tasks.confusions import Candidates
from lmbench.tasks.correction import correct
from tests.tasks.table_models import Bigram

TABLE = np.array(
    [
        [0.1, 0.1, 0.6, 0.1, 0.1],
        [0.4, 0.2, 0.2, 0.1, 0.1],
        [0.2, 0.1, 0.1, 0.5, 0.1],
        [0.5, 0.1, 0.2, 0.1, 0.1],
        [0.5, 0.1, 0.2, 0.1, 0.1],
    ]
)
MODEL = Bigram("a b c", TABLE)
SETS = {"a": ("b", "c"), "b": ("a", "c"), "c": ("a", "b")}


def test_a_change_and_what_it_gains() -> None:
    (done,) = correct(MODEL, ["A  c."], Candidates(MODEL.tokenizer, {"c": ("b",)}, error_rate=0.5))
    assert done.corrected == "A  b."
    # p(b | a) = 0.5 instead of p(c | a) = 0.1, both end alike, and the channel charges ln 0.5
    gain = math.log(0.5 / 0.1) + math.log(0.5)
    assert done.nats == pytest.approx(gain)
    assert done.changes == ((3, 4, "c", "b", pytest.approx(gain)),)
    (kept,) = correct(MODEL, ["A  c."], Candidates(MODEL.tokenizer, {"c": ("b",)}, error_rate=0.1))
    assert (kept.corrected, kept.changes, kept.nats) == ("A  c.", (), 0.0)


def random_model(seed: int, reads: str = "left") -> Bigram:
    table = np.random.default_rng(seed).dirichlet(np.full(5, 0.3), 5) * 0.99 + 0.002
    model = Bigram("a b c", table)
    model.reads = reads  # type: ignore[assignment]
    return model


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reads", ["left", "both"])
def test_nothing_is_more_probable(seed: int, reads: str) -> None:
    """Against all 3^5 lines; what reads both sides finds no better one by changing a single word."""
    model, line, rate = random_model(seed, reads), "a c b a c", 0.3
    lines = [" ".join(words) for words in itertools.product("abc", repeat=5)]
    if reads == "both":
        lines = lines[:0]
    (done,) = correct(model, [line], Candidates(model.tokenizer, SETS, error_rate=rate), beam=300)
    if reads == "both":
        words = done.corrected.split()
        lines = [" ".join([*words[:i], word, *words[i + 1 :]]) for i in range(5) for word in "abc"]
    edits = [sum(a != b for a, b in zip(other.split(), line.split(), strict=True)) for other in lines]
    values = -score(model, lines).nats + math.log(rate) * np.array(edits)
    mine = float(-score(model, [done.corrected]).nats[0]) + math.log(rate) * len(done.changes)
    assert mine == pytest.approx(values.max())
    assert done.nats == pytest.approx(mine + float(score(model, [line]).nats[0]))
    assert all(change.nats > 0 for change in done.changes)


def test_each_line_is_corrected_as_if_alone() -> None:
    model = random_model(7)
    lines = ["a c b", "", "b b b b b b", "a", "c a c a", "x y"]
    candidates = Candidates(model.tokenizer, SETS, error_rate=0.3)
    together = correct(model, lines, candidates, beam=3)
    assert together == [correct(model, [line], candidates, beam=3)[0] for line in lines]
    assert [done.text for done in together] == lines
    assert together[1].corrected == ""
    assert together[5].changes == ()


def test_a_long_line_is_corrected_like_its_parts() -> None:
    """A bigram model sees one word back: what is far behind may be left out of what is read, and three beginnings, one
    for each last word, are enough. Against the best path by dynamic programming (Viterbi 1967)."""
    model = random_model(3)
    words = ["acbbac"[i % 6] for i in range(200)]
    (done,) = correct(model, [" ".join(words)], Candidates(model.tokenizer, SETS, error_rate=0.3), beam=3)
    best = model.table[0, 2:] + np.where(np.array(list("abc")) == words[0], 0, math.log(0.3))
    for word in words[1:]:
        channel = np.where(np.array(list("abc")) == word, 0, math.log(0.3))
        best = (best[:, None] + model.table[2:, 2:]).max(0) + channel
    mine = -float(score(model, [done.corrected]).nats[0]) + math.log(0.3) * len(done.changes)
    assert mine == pytest.approx(float((best + model.table[2:, 0]).max()))


def test_what_a_model_rules_out() -> None:
    table = TABLE.copy()
    table[2] = [0.5, 0, 0, 0.5, 0]  # nothing but the end or b after a
    (done,) = correct(Bigram("a b c", table), ["a c"], Candidates(MODEL.tokenizer, {"c": ("b",)}))
    assert done.corrected == "a b"
    assert math.isfinite(done.nats)


def test_a_beam_of_nothing() -> None:
    with pytest.raises(UsageError, match="at least 1 beginning"):
        correct(MODEL, [], Candidates(MODEL.tokenizer, SETS), beam=0)


# Planted errors --------------------------------------------------------------------------------------


def trained(sentences: list[str], tokenizer: str = "word:min_count=1", spec: str = "ngram:order=3") -> LanguageModel:
    model = create(spec)
    tokens = train_tokenizer(tokenizer, sentences).encode(sentences)
    model.fit(tokens, tokens)
    return model


OWNERS = [("the girls", "their"), ("the boys", "their"), ("the cats", "their"), ("the birds", "their")]
ENGLISH = [f"{who} lost {whose} {thing}" for who, whose in OWNERS for thing in ("way", "keys", "toys", "home")]
ENGLISH += [f"{who} {verb} there" for who, _ in OWNERS for verb in ("sleep", "eat", "wait", "sing")]
CHINESE = [f"{who}在{place}看书" for who in ("我", "你", "他们") for place in ("家里", "学校", "公园")]
CHINESE += [f"{who}明天再{act}" for who in ("我", "你", "他们") for act in ("来", "看", "说", "写")]


@pytest.mark.parametrize("tokenizer", ["word:min_count=1", "char", "bpe:size=300"])
def test_planted_confusions_in_english(tokenizer: str) -> None:
    model = trained(ENGLISH, tokenizer, "ngram:order=7" if tokenizer == "char" else "ngram:order=3")
    candidates = Candidates(model.tokenizer, {"their": ("there",), "there": ("their",)})
    planted = ["the cats lost there toys", "the boys wait their", "the  birds lost their keys"]
    done = correct(model, planted, candidates)
    assert [line.corrected for line in done] == ["the cats lost their toys", "the boys wait there", planted[2]]


@pytest.mark.parametrize("tokenizer", ["word:min_count=1", "char", "byte"])
def test_planted_confusions_in_chinese(tokenizer: str) -> None:
    model = trained(CHINESE, tokenizer, "ngram:order=9" if tokenizer == "byte" else "ngram:order=3")
    candidates = Candidates(model.tokenizer, {"在": ("再",), "再": ("在",)})
    planted = ["我再家里看书", "他们明天在说", "你在公园看书"]
    done = correct(model, planted, candidates)
    assert [line.corrected for line in done] == ["我在家里看书", "他们明天再说", "你在公园看书"]
    assert done[0].changes[0][:4] == (1, 2, "再", "在")


def test_planted_misspellings_of_held_out_sentences() -> None:
    """One word of each sentence of the embedded corpus; tests/benchmarks/correction.py measures this at length."""
    corpus = load_corpus("english", tokens=30_000)
    data = corpus.tokenize("word")
    model = create("ngram:order=3")
    model.fit(data.train, data.valid)
    known = set(model.tokenizer.vocabulary.types)
    sentences = [line for line in corpus.test.units if set(line.split()) <= known and len(line) > 20][:100]
    planted = [line[:12].replace("e", "x", 1) + line[12:] for line in sentences]
    done = correct(model, planted, Candidates(model.tokenizer, {}, distance=1))
    changes = [(change, line) for found, line in zip(done, sentences, strict=True) for change in found.changes]
    right = sum(
        line[change.start : change.start + len(change.replacement)] == change.replacement for change, line in changes
    )
    errors = sum(line != copy for line, copy in zip(sentences, planted, strict=True))
    assert errors > 60
    assert right > 0.95 * len(changes), "precision"
    assert right > 0.9 * errors, "recall"
    clean = correct(model, sentences, Candidates(model.tokenizer, {}, distance=1))
    assert not any(line.changes for line in clean)
