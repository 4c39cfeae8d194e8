"""The two sentences of a page: every case reads as a person would write it."""

from __future__ import annotations

import math

import pytest

from lmbench.benchmark.results import Result
from lmbench.report.summary import duration, percent, summarize
from tests.report.made_run import made

UNSIGNED = {"details": {}}
TEXT = "the 1,000 word tokens of the world test split"


def p_of(*pairs: tuple[str, str, float]) -> dict[frozenset[str], float]:
    return {frozenset((one, other)): p for one, other, p in pairs}


CASES = [
    ([], {}, "No model of this run has finished yet."),
    (
        [made("gpt", 88.987, perplexity_low=86.04, perplexity_high=91.96, parameters=2_084_352, train_seconds=420.0)],
        {},
        f"gpt predicts {TEXT} with the perplexity 89.0 (95 % interval 86.0 to 92.0). "
        "It has 2.08 million parameters and took 7 minutes to train.",
    ),
    (  # (100 - 88) / 100 = 12 %; 100 / 88 = 1.136
        [made("ngram", 100.0, kind="ngram", train_seconds=0.5), made("gpt", 88.0, train_seconds=420.0)],
        p_of(("ngram", "gpt", 0.0002)),
        f"Of the two models, gpt predicts {TEXT} better: its perplexity is 88.0, 12 % below that of ngram (100.0), a "
        "difference that chance does not explain (p < 0.001). It has 1,000 parameters and took 7 minutes to train; the "
        "quickest, ngram, took 0.5 seconds and comes to 100.0, 14 % higher.",
    ),
    (
        [made("a", 50.0), made("b", 50.5, train_seconds=20.0), made("c", 51.0), made("d", 99.0)],
        p_of(("a", "b", 0.31), ("a", "c", 0.08), ("a", "d", 0.001)),
        f"Of four models, a predicts {TEXT} best: its perplexity is 50.0, but its lead of 1.0 % over b (50.5) could be "
        "chance (p = 0.31), as could that over c. It was also the quickest to train, in 10 seconds, against 20 seconds "
        "for b, and has 1,000 parameters.",
    ),
    (
        [made("a", 50.0), made("b", 150.0), made("c", 151.0)],
        {},
        f"Of three models, a predicts {TEXT} best: its perplexity is 50.0, against 150.0 for b, the next.",
    ),
    (
        [made("a", 50.0, **UNSIGNED), made("b", 50.0, **UNSIGNED)],
        {},
        "a and b are even on the test text: each has the perplexity 50.0.",
    ),
    (
        [made("a", 50.0), made("b", 50.0), made("c", 60.0)],
        {},
        f"Of three models, a and b predict {TEXT} best, with the same perplexity of 50.0; the next, c, has 60.0.",
    ),
    (
        [made("source", 30.0, kind="source"), made("a", 50.0), made("b", 60.0)],
        {},
        f"Of the two models, a predicts {TEXT} better: its perplexity is 50.0 (the source of the text, which none can "
        "beat, has 30.0), 17 % below that of b (60.0).",
    ),
    (
        [made("a", 50.0, train_seconds=None, parameters=None)],
        {},
        f"a predicts {TEXT} with the perplexity 50.0 (95 % interval 45.0 to 55.0). It has an unknown "
        "number of parameters.",
    ),
    (  # seeds 1 and 2 of lstm: mean 51
        [
            made("lstm", 50.0, seed=1, folder="lstm.seed1"),
            made("lstm", 52.0, seed=2, folder="lstm.seed2"),
            made("ngram", 60.0),
        ],
        p_of(("lstm", "ngram", 0.02)),
        f"Of the two models, lstm predicts {TEXT} better: its perplexity is 51.0, the mean of two seeds, 15 % below "
        "that of ngram (60.0), a difference that chance does not explain (p = 0.02).",
    ),
    (
        [made("lstm", 50.0, seed=1, folder="lstm.seed1"), made("lstm", 52.0, seed=2, folder="lstm.seed2")],
        {},
        f"lstm, trained with two seeds, predicts {TEXT} with a mean perplexity of 51.0, from 50.0 to 52.0.",
    ),
    (
        [made("a+cache", None, adaptive_perplexity=40.0), made("b+cache", None, adaptive_perplexity=50.0)],
        {},
        f"Of the two models, a+cache predicts {TEXT} better: its adaptive perplexity is 40.0, 20 % below that of "
        "b+cache (50.0).",
    ),
    (
        [made("a", 50.0, bits_per_byte=1.5), made("bytes", 3.0, comparison="two", bits_per_byte=1.6)],
        {},
        f"The models predict different events and stand in two tables, whose perplexities must not be compared: a has "
        f"50.0 on {TEXT} and bytes has 3.00 on {TEXT}. In bits per byte of the text, which may be compared, a is best "
        "with 1.500, before bytes with 1.600.",
    ),
    (
        [made("a", 50.0, bits_per_byte=None), made("c", 55.0), made("bytes", 3.0, comparison="two")],
        {},
        f"The models predict different events and stand in two tables, whose perplexities must not be compared: a "
        f"leads with 50.0 on {TEXT} and bytes has 3.00 on {TEXT}. To train, a took 10 seconds and "
        "bytes took 10 seconds.",
    ),
    (
        [made("bert", None, pseudo_perplexity=12.3, ranking_accuracy=0.519, ranking_sets=600)],
        {},
        "bert (12.30) has a pseudo-perplexity only, which is comparable with its like and with nothing else. bert puts "
        "the right sentence first in 51.9 % of 600 candidate sets.",
    ),
    (
        [made("mle", math.inf), made("mle4", math.inf)],
        {},
        f"mle and mle4 rule out some token of {TEXT} that does occur: their perplexities are infinite.",
    ),
    (
        [made("gpt", None, status="failed", reason="ModelError: no room.", comparison="", details={})],
        {},
        "The one model of this run, gpt, failed and has no numbers. The reason: ModelError: no room.",
    ),
    (
        [
            made(name, None, status="failed", reason="ModelError: no room.", comparison="", details={})
            for name in ("gpt", "rnn")
        ],
        {},
        "None of the two models of this run has numbers: gpt and rnn failed. The first of them, gpt, says: ModelError: "
        "no room.",
    ),
]


@pytest.mark.parametrize(("results", "p_values", "expected"), CASES)
def test_every_case_is_a_sentence(results: list[Result], p_values: dict[frozenset[str], float], expected: str) -> None:
    sentences = summarize(results, p_values).sentences
    told = " ".join(sentences)
    assert told.startswith(expected)
    assert len(sentences) <= 2
    assert all(sentence.endswith(".") and ".." not in sentence and "  " not in sentence for sentence in sentences)


def test_what_does_not_fit_stands_aside() -> None:
    results = [
        made("a", 50.0),
        made("b", 60.0),
        made("a+cache", None, adaptive_perplexity=40.0),
        made("bert", None, pseudo_perplexity=9.0),
        made("mle", math.inf),
        made("rnn", None, status="failed", reason="no room", comparison=""),
    ]
    assert summarize(results).asides == (
        "What learns from the test text as it reads it stands apart: a+cache has an adaptive perplexity of 40.0.",
        "bert has a pseudo-perplexity only, which is not ranked with the others.",
        "mle rules out some token that does occur: an infinite perplexity.",
        "rnn failed; the reason stands below the table.",
    )


def test_amounts_are_said_as_one_says_them() -> None:
    assert [duration(s) for s in (0.0, 0.6, 59.0, 90.0, 100.0, 5399.0, 86400.0)] == [
        "less than 0.1 seconds", "0.6 seconds", "59 seconds", "1.5 minutes", "1.7 minutes", "90 minutes", "24 hours",
    ]  # fmt: skip
    assert [percent(p) for p in (0.0, 0.00099, 0.001, 0.0996, 0.1, 0.5)] == [
        "less than 0.1 %", "less than 0.1 %", "0.1 %", "10.0 %", "10 %", "50 %",
    ]  # fmt: skip
