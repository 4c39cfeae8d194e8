"""Several processes, as a user asks for them."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch

from tests.cli.conftest import complaint, process, start

GPT = "gpt:width=8:heads=2:layers=1:batch_size=4:sequence_length=8:device=cpu"
LAUNCH = ("--launch", "torchrun", "--processes")


def test_two_processes_train_one_model(corpus_file, tmp_path, call):
    out = tmp_path / "kept"
    done = process("train", GPT, "--corpus", corpus_file, "--budget", "20steps", "--out", out, *LAUNCH, 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("valid_perplexity") == 1
    assert done.stderr.count("structure") == 1
    assert "Warning" not in done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["model.json", "training.json", "weights.safetensors"]
    assert call("eval", out, "--corpus", corpus_file).exit_code == 0


def test_rows_that_do_not_divide_are_told_once(corpus_file, tmp_path):
    done = process("train", GPT, "--corpus", corpus_file, "--out", tmp_path / "kept", *LAUNCH, 3)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("lmbench: 4 rows of a step cannot be divided evenly among 3 processes") == 1
    assert done.stderr.count("lmbench: ") == 1
    assert "Traceback" not in done.stderr


def test_an_interrupted_launch_ends_in_one_paragraph_and_goes_on(corpus_file, tmp_path):
    out = tmp_path / "kept"
    arguments = ("train", GPT, "--corpus", corpus_file, "--budget", "3000000steps", "--out", out, *LAUNCH, 2)
    with start(*arguments) as running:
        deadline = time.monotonic() + 60
        while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(running.pid, signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert told.count("lmbench: ") == 1
    assert "Go on with: lmbench train" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((*LAUNCH, 0), "--processes 0 leaves nobody"),
        ((*LAUNCH, -2), "--processes -2 leaves nobody"),
        (("--launch", "torchrun"), "needs the number of processes"),
        (("--launch", "other", "--processes", 2), "There is no launcher 'other'"),
        (("--processes", 2), "Add --launch torchrun"),
        (("--shard",), "--shard divides the weights among several processes"),
    ],
)
@pytest.mark.parametrize("command", [("train", GPT, "--out", "kept"), ("run", "--models", GPT)])
def test_what_cannot_be_launched_is_refused(call, corpus_file, command, asked, told):
    assert told in complaint(call(*command, "--corpus", corpus_file, *asked))


def test_more_processes_than_cards_are_refused(call, corpus_file, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for device in ("cuda", "auto"):
        command = ("train", "gpt", "--corpus", corpus_file, "--out", "kept", "--device", device, *LAUNCH, 2)
        assert "2 processes need 2 cuda devices, one each, and this machine has 1" in complaint(call(*command))


def test_one_process_needs_no_launching(call, corpus_file):
    command = ("train", "uniform", "--corpus", corpus_file, "--out", "kept", *LAUNCH, 1)
    assert call(*command).exit_code == 0
