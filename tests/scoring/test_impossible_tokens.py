"""Probability 0 on the whole way: from a model that rules tokens out to tables, intervals, ranks and files."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import ModelError
from lmbench.models.ngram.model import NGram
from lmbench.models.registry import create
from lmbench.scoring import metrics
from lmbench.scoring.scorer import Scores, score
from lmbench.scoring.significance import bootstrap_perplexity
from lmbench.tasks.generation import generate
from lmbench.tasks.ranking import rank

TRAIN = ("\n".join(["the cat sat", "the dog sat", "a cat slept", "the cat slept near a dog"] * 3),)
TEST = ("\n".join(["the cat sat", "the dog slept", "a dog sat"]),)


def fitted(spec: str) -> tuple[NGram, Corpus]:
    corpus = Corpus("made", Split("train", TRAIN), Split("valid", TRAIN), Split("test", TEST))
    tokens = corpus.tokenize("word:min_count=1")
    model = create(spec)
    assert isinstance(model, NGram)
    model.fit(tokens.train, tokens.valid)
    return model, corpus


def scored(spec: str) -> Scores:
    return score(*fitted(spec))


def test_perplexity_is_infinite() -> None:
    scores = scored("ngram:order=2:smoothing=mle")
    # "dog slept" was never seen; "the cat sat" and "a dog sat" were, word by word.
    assert np.isinf(scores.nats).tolist() == [False, True, False]
    summary = metrics.summary(scores)
    assert summary["perplexity"] == math.inf
    assert summary["nats_per_event"] == math.inf
    assert metrics.perplexity_without_unknowns(scores) == math.inf
    assert bootstrap_perplexity(scores.nats, scores.events) is None


def test_candidates_that_are_ruled_out_come_last_and_tie() -> None:
    model, _ = fitted("ngram:order=2:smoothing=mle")
    ranking = rank(model, ["the dog slept", "the cat sat", "a dog slept"])
    assert [(placed.text, placed.place) for placed in ranking.ordered(0)] == [
        ("the cat sat", 1.0), ("the dog slept", 2.5), ("a dog slept", 2.5)
    ]  # fmt: skip
    assert ranking.ordered(0)[-1].log_prob == -math.inf
    text = rank(model, ["the dog slept", "the cat sat"], line="text")
    assert not np.isnan(text.log_probs).any()


def test_closed_vocabulary_rules_unknown_words_out() -> None:
    model, _ = fitted("ngram:order=2:closed=true")
    assert score(model, ["the unicorn sat", "the cat sat"]).nats.tolist() == [math.inf, pytest.approx(2.5, abs=2)]


def test_not_a_number_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model, corpus = fitted("ngram:order=2")
    for value in (math.nan, math.inf):
        monkeypatch.setattr(model, "log_probs", lambda batch, value=value: np.full(batch.ids.shape, value))
        with pytest.raises(ModelError, match="cannot be scored"):
            score(model, corpus)


def test_stupid_backoff_has_no_perplexity() -> None:
    model, corpus = fitted("ngram:order=3:smoothing=stupid-backoff")
    assert not model.normalized
    scores = score(model, corpus)
    assert metrics.perplexity(scores) is None
    assert metrics.pseudo_perplexity(scores) is not None
    assert np.exp(model.next_log_probs(Batch.of_prefixes([np.array([0, 2])]))).sum() != pytest.approx(1, abs=0.01)
    assert rank(model, ["the cat sat", "sat cat the"]).ordered(0)[0].text == "the cat sat"
    texts = generate(model, "the", 3, seed=1, top_p=0.9)  # drawn in proportion to the scores
    assert all(text.startswith("the") for text in texts)


def test_kept_model_remembers_what_it_is(tmp_path: Path) -> None:
    model, corpus = fitted("ngram:order=3:smoothing=stupid-backoff")
    model.save(tmp_path)
    again = NGram.load(tmp_path)
    assert not again.normalized
    assert np.array_equal(score(again, corpus).nats, score(model, corpus).nats)


def test_a_probability_above_one_is_told_not_averaged() -> None:
    model, corpus = fitted("ngram:order=2")
    model.table.orders[1].log_probs[0] = 5.0  # as a damaged file may hold
    model.table.orders[0].log_probs[:] = 5.0
    with pytest.raises(ModelError, match="log probability 5, and no probability is above 1"):
        score(model, corpus)


def test_a_run_with_all_of_them(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from lmbench.cli.application import lmbench

    (tmp_path / "text").mkdir()
    for part, text in (("train", TRAIN), ("valid", TRAIN), ("test", TEST)):
        (tmp_path / "text" / f"{part}.txt").write_text(text[0] + "\n", encoding="utf-8")
    models = (
        "ngram:order=2:smoothing=mle,ngram:order=2,ngram:order=2:smoothing=stupid-backoff,ngram:order=1:smoothing=mle"
    )
    arguments = ["run", "--models", models, "--corpus", str(tmp_path / "text"), "--tokenizer", "word:min_count=1"]
    run = CliRunner().invoke(lmbench, [*arguments, "--out", str(tmp_path / "run"), "--format", "csv"])
    assert run.exit_code == 0, run.output
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(run.stdout))}
    assert rows["ngram:order=2:smoothing=mle"]["perplexity"] == "inf"
    assert rows["ngram:order=2:smoothing=mle"]["perplexity_low"] == ""
    assert rows["ngram:order=2:smoothing=stupid-backoff"]["perplexity"] == ""
    content = (tmp_path / "run" / "metrics.json").read_text(encoding="utf-8")
    json.loads(content, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    table = (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    places = [table.index(f"| {model} |") for model in models.split(",")]
    assert sorted(range(4), key=places.__getitem__) == [1, 3, 0, 2]  # infinite after finite, no distribution last
    assert "A perplexity is infinite" in table
    lines = CliRunner().invoke(
        lmbench, ["score", str(tmp_path / "run"), "-", "--format", "jsonl"], input="the dog slept\n"
    )
    assert lines.exit_code == 0, lines.output
    found = [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in lines.stdout.splitlines()]
    assert "-inf" in [row["log_prob"] for row in found]
