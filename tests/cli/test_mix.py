"""``lmbench mix``, and ``a+b`` wherever a model is named."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from lmbench.models import registry
from tests.cli.conftest import Call, complaint


@pytest.fixture
def kept_pair(call: Call, corpus_file: Path, tmp_path: Path) -> list[Path]:
    folders = []
    for spec in ("ngram:order=2", "cache:order=2"):
        folders.append(tmp_path / spec.partition(":")[0])
        assert call("train", spec, "--corpus", corpus_file, "--out", folders[-1]).exit_code == 0
    return folders


def test_mix_keeps_a_model_like_any_other(call: Call, corpus_file: Path, kept_pair: list[Path]) -> None:
    result = call("mix", *kept_pair, "--corpus", corpus_file, "--out", "mix", "--format", "csv")
    assert result.exit_code == 0, result.stderr
    ngram, cache, mixture = csv.DictReader(io.StringIO(result.stdout))
    assert float(ngram["weight"]) + float(cache["weight"]) == pytest.approx(1)
    assert ngram["adaptive_valid_perplexity"] == cache["valid_perplexity"] == mixture["valid_perplexity"] == ""
    best = min(float(ngram["valid_perplexity"]), float(cache["adaptive_valid_perplexity"]))
    assert float(mixture["adaptive_valid_perplexity"]) <= best + 1e-6
    assert "Kept in mix" in result.stderr
    assert registry.load(Path("mix")).kind == "mixture"

    scored = call("score", "mix", input="the cat sleeps\n")
    assert scored.exit_code == 0, scored.stderr
    evaluated = call("eval", "mix", *kept_pair, "--corpus", corpus_file, "--format", "csv")
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(evaluated.stdout))}
    assert rows["mix"]["perplexity"] == ""
    assert float(rows["mix"]["adaptive_perplexity"]) > float(rows["mix"]["adaptive_low"])
    assert next(iter(rows)) == "ngram", "what learns from the text stands below"
    assert "|context:stream|" in rows["mix"]["signature"]
    assert "|adapts:yes|" in rows["mix"]["signature"]
    ranked = call("rank", "mix", "-", input="the cat sleeps\ncat the sleeps\n")
    assert ranked.exit_code == 0, ranked.stderr
    written = call("generate", "mix", "-n", "2", "--seed", "1")
    assert written.exit_code == 0, written.stderr
    assert len(written.stdout.splitlines()) == 2


def test_mix_by_buckets_tells_how_many(call: Call, corpus_file: Path, kept_pair: list[Path]) -> None:
    arguments = ("--corpus", corpus_file, "--out", "mix", "--buckets", "confidence")
    assert "buckets with weights of their own" in call("mix", *kept_pair, *arguments).stderr


def test_mix_by_a_power_mean_tells_its_numbers(call: Call, corpus_file: Path, kept_pair: list[Path]) -> None:
    result = call("mix", *kept_pair, "--corpus", corpus_file, "--out", "mix", "--mean", "power")
    assert "power mean, r = " in result.stderr
    written = call("generate", "mix", "-n", "2", "--seed", "1")
    assert written.exit_code == 0, written.stderr


def test_mix_refuses_what_cannot_be(call: Call, corpus_file: Path, kept_pair: list[Path]) -> None:
    assert "at least two parts" in complaint(call("mix", kept_pair[0], "--corpus", corpus_file, "--out", "mix"))
    call("train", "uniform", "--corpus", corpus_file, "--tokenizer", "char", "--out", "letters")
    told = complaint(call("mix", kept_pair[0], "letters", "--corpus", corpus_file, "--out", "mix"))
    assert "only models that predict the same events can be mixed" in told
    assert not Path("mix/model.json").exists()
    told = complaint(call("mix", *kept_pair, "--corpus", corpus_file, "--out", kept_pair[0]))
    assert "holds a trained model already" in told
    assert "Did you mean 'cache'?" in complaint(call("train", "ngram+cahce", "--corpus", corpus_file, "--out", "x"))


def test_a_mixture_that_was_cut_off_goes_on(
    call: Call, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    arguments = ("train", "ngram:order=2+cache", "--corpus", corpus_file, "--out", tmp_path / "cut")
    with monkeypatch.context() as patched:
        patched.setattr("lmbench.models.cache.Cache.fit", interrupt)
        cut = call(*arguments)
    assert cut.exit_code == 130
    assert "Go on with" in cut.stderr
    assert "--resume" in complaint(call(*arguments))
    again = call(*arguments, "--resume")
    assert again.exit_code == 0, again.stderr
    assert "was done before" in again.stderr


def test_a_mixture_is_trained_and_run_by_its_name(call: Call, corpus_file: Path) -> None:
    result = call("train", "ngram:order=2+cache", "--corpus", corpus_file, "--out", "trained")
    assert result.exit_code == 0, result.stderr
    assert "adaptive_valid_perplexity" in result.stdout
    result = call("run", "--models", "ngram+cache,ngram", "--corpus", corpus_file, "--budget", "1steps", "--out", "out")
    assert result.exit_code == 0, result.stderr
    mixed = json.loads(Path("out/models/ngram+cache/fit.json").read_text(encoding="utf-8"))
    assert mixed["specification"].startswith("ngram:order=5")
    assert mixed["specification"].endswith("+cache")
    assert call("eval", "out", "--corpus", corpus_file).exit_code == 0, (
        "the parts of a kept mixture are no models apart"
    )
