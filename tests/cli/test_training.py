"""A training that breaks off, and its logs, as a user of the commands meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Call, complaint

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"
BROKEN = TINY + ":optimizer=sgd:clip=0:schedule=constant:warmup=0:learning_rate=3e38"


def test_divergence_is_one_paragraph_and_the_others_of_a_run_go_on(call: Call, corpus_file: Path, tmp_path: Path):
    common = ("--corpus", corpus_file, "--budget", "40steps", "--out")
    paragraph = complaint(call("train", BROKEN, *common, "one"))
    assert "training diverged. Lower learning_rate (it is 3e+38) or set a clip, such as clip=0.25" in paragraph
    result = call("run", "--models", f"{BROKEN},ngram:order=2", *common, "run")
    assert result.exit_code == 1
    assert "ngram:order=2" in result.stdout
    assert "training diverged" in result.stderr
    again = call("train", TINY, *common, "one")  # nothing good had been kept, so nothing is in the way
    assert again.exit_code == 0, again.stderr


def test_what_was_best_before_a_divergence_can_be_used_and_taken_up(
    call: Call, corpus_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from lmbench.models.network import Network

    loss, steps = Network.loss, []

    def broken(network: Network, rows: torch.Tensor, state: object = None) -> tuple[torch.Tensor, object]:
        steps.append(torch.is_grad_enabled())
        value, after = loss(network, rows, state)
        return value * (torch.nan if torch.is_grad_enabled() and sum(steps) == 30 else 1), after

    monkeypatch.setattr(Network, "loss", broken)
    common = ("--corpus", corpus_file, "--budget", "48steps", "--out", "kept")
    paragraph = complaint(call("train", TINY, *common))
    assert "best on validation are kept in kept/best" in paragraph
    assert "--resume" in paragraph
    assert call("eval", "kept/best", "--corpus", corpus_file).exit_code == 0
    done = call("train", f"{TINY}:learning_rate=5", *common, "--resume")
    assert done.exit_code == 0, done.stderr
    assert "now 5.0" in done.stderr
    assert not (tmp_path / "kept/best").exists()
    report = json.loads((tmp_path / "kept/training.json").read_text(encoding="utf-8"))
    assert report["steps"] == 48
    assert [{"tokens", "seconds", "epochs", "valid_perplexity"} <= set(point) for point in report["curve"]] == [
        True
    ] * 12


def test_logs_for_tensorboard(call: Call, corpus_file: Path, tmp_path: Path):
    pytest.importorskip("tensorboard")
    common = ("--corpus", corpus_file, "--budget", "20steps", "--tensorboard", "logs", "--out")
    assert call("train", TINY, *common, "one").exit_code == 0
    assert call("run", "--models", f"small={TINY},uniform", *common, "run").exit_code == 0
    assert {path.parent.name for path in (tmp_path / "logs").rglob("events*")} == {"one", "small"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("device=cuda", "this machine has none"),
        ("device=tpu", "no device 'tpu'"),
        ("precision=float16", "precision=bfloat16"),
        ("batch_size=4000", "the training text has"),
        ("checkpointing=yes", "families made of blocks"),
        ("validations=0", "at least 1"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_paragraph(
    call: Call, corpus_file: Path, settings: str, words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device = "" if settings.startswith("device") else ":device=cpu"
    command = ("train", f"lstm:hidden=8{device}:{settings}", "--corpus", corpus_file, "--budget", "1steps")
    assert words in complaint(call(*command, "--out", "one"))


def test_a_full_memory_names_what_saves_some(call: Call, corpus_file: Path, monkeypatch: pytest.MonkeyPatch):
    from lmbench.models.network import Network

    def full(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(Network, "loss", full)
    result = call("run", "--models", f"{TINY},ngram:order=2", "--corpus", corpus_file, "--budget", "2steps")
    assert result.exit_code == 1
    assert "Double accumulation" in result.stderr
    assert "ngram:order=2" in result.stdout
