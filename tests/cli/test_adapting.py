"""Models in parentheses as a user types them: in a run, trained alone, scored, ranked, refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Call, complaint

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"
CACHED = "neural-cache(net):size=20"
DYNAMIC = "dynamic(net):rate=0.001:decay=0.01"


def test_a_run_trains_the_network_once_and_lends_it(call: Call, corpus_file: Path, tmp_path: Path) -> None:
    models = f"net={TINY},{CACHED}+ngram:order=2,cached={CACHED},{DYNAMIC},neighbours(net)"
    result = call("run", "--models", models, "--corpus", corpus_file, "--budget", "5steps", "--out", "out")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("read and not trained again") == 4
    assert result.stdout.count("adapts:yes") == 3
    assert "adaptive perplexity" in result.stdout
    weights = sorted((tmp_path / "out/models").rglob("weights.safetensors"))
    assert len(weights) == 5
    assert all(os.path.samefile(weights[0], path) for path in weights[1:])
    again = call("run", "--models", models, "--corpus", corpus_file, "--budget", "5steps", "--out", "out", "--resume")
    assert again.stdout == result.stdout


@pytest.mark.parametrize("model", [DYNAMIC, CACHED])
def test_one_is_trained_kept_and_used(call: Call, corpus_file: Path, tmp_path: Path, model: str) -> None:
    model = model.replace("net", TINY)
    result = call("train", model, "--corpus", corpus_file, "--budget", "5steps", "--out", "kept")
    assert result.exit_code == 0, result.stderr
    assert "validation split" in result.stderr
    evaluated = call("eval", "kept", "--corpus", corpus_file, "--split", "valid")
    assert "adapts:yes" in evaluated.stdout
    (tmp_path / "lines.txt").write_text("one two\ntwo one\n", encoding="utf-8")
    for command in (("score", "kept", "lines.txt"), ("rank", "kept", "lines.txt"), ("next", "kept", "--prompt", "one")):
        again = call(*command)
        assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("dynamic(ngram)", "cannot wrap ngram"),
        ("dynamic()", "no model in its parentheses"),
        ("dynamic", "names none"),
        ("dynamic(lstm", "a parenthesis is not closed"),
        ("neural-cache(lsmt)", "Did you mean 'lstm'"),
        ("dynamic(lstm):rate=-1", "rate must be at least 0"),
    ],
)
def test_what_cannot_be_is_told_in_one_paragraph(call: Call, corpus_file: Path, model: str, told: str) -> None:
    assert told in complaint(call("train", model, "--corpus", corpus_file, "--out", "kept"))
    assert told in complaint(call("run", "--models", f"uniform,{model}", "--corpus", corpus_file, "--out", "out"))
