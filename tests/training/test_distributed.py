"""Two processes on this machine give the model and the scores of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import two_processes
from safetensors.numpy import load_file
from two_processes import SCORED, SHARDED, STEPS, TRAINED, tokens

from lmbench.errors import UsageError
from lmbench.models.registry import create
from lmbench.scoring.scorer import token_log_probs
from lmbench.training import devices, distributed
from lmbench.training.devices import resolve_device
from lmbench.training.distributed import Processes
from lmbench.training.parallel import check_shards

SCORED_SPECS = {
    "ngram": "ngram:order=2",
    "ngram+lstm": "ngram:order=2+" + two_processes.LSTM,
    "lstm": two_processes.LSTM,
    "gpt": two_processes.GPT,
    "ffnn": "ffnn:order=3:width=8:batch_size=4:sequence_length=8:device=cpu",
    "bert": "bert:width=8:heads=2:layers=1:batch_size=4:sequence_length=16:device=cpu",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes have left, each started as torchrun starts it."""
    folder = tmp_path_factory.mktemp("two")
    for name, spec in SCORED_SPECS.items():
        model = create(spec)
        model.fit(*tokens()[:2], two_processes.Budget(steps=5))
        model.save(folder / f"scored-{name}")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums in other threads round otherwise
    command = [sys.executable, two_processes.__file__, str(folder)]
    started = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    assert [process.wait(200) for process in started] == [0, 0]
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "weights.safetensors")


def assert_same(some: dict[str, np.ndarray], others: dict[str, np.ndarray], tolerance: float) -> None:
    assert some.keys() == others.keys()
    for name, value in some.items():
        np.testing.assert_allclose(value, others[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("kept", "name", "spec"),
    [*(("two", *item) for item in TRAINED.items()), *(("sharded", *item) for item in SHARDED.items())],
)
def test_two_processes_learn_what_one_learns_from_the_same_rows(folder, tmp_path, kept, name, spec):
    alone = create(spec)
    start = {key: value.clone() for key, value in _begun(spec).items()}
    alone.fit(*tokens()[:2], STEPS)
    alone.save(tmp_path)
    assert_same(weights(folder / f"{kept}-{name}"), weights(tmp_path), 1e-5)
    moved = max(float(np.abs(value - start[key].numpy()).max()) for key, value in weights(tmp_path).items())
    assert moved > 0.01, "the steps have changed something"


def _begun(spec: str) -> dict[str, torch.Tensor]:
    """The weights with which the training begins."""
    model = create(spec)
    torch.manual_seed(1)
    model.tokenizer = tokens()[0].tokenizer
    return model.build(len(model.tokenizer.vocabulary)).state_dict()


@pytest.mark.parametrize("kept", ["cut", "sharded-cut"])
def test_an_interruption_of_one_process_is_one_of_all_and_they_go_on_to_the_same_numbers(folder, kept):
    assert_same(weights(folder / f"{kept}-rest"), weights(folder / f"{kept}-whole"), 0)
    assert (folder / kept / "checkpoint.safetensors").is_file()


@pytest.mark.parametrize("context", ["sentence", "stream"])
@pytest.mark.parametrize("name", SCORED)
def test_scores_of_two_processes_are_those_of_one(folder, name, context):
    model = distributed_model(folder, name)
    alone = token_log_probs(model, tokens()[2], context)
    together = np.load(folder / f"{name}.{context}.npy")
    # A masked model makes one copy of a sentence for each token that is asked for: batches of another size.
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5 if name == "bert" else 0)


def distributed_model(folder: Path, name: str):
    from lmbench.models.registry import load

    return load(folder / f"scored-{name}")


def test_the_clock_of_process_0_ends_the_training_of_all(folder):
    steps = [json.loads((folder / f"timed.{rank}.json").read_text()) for rank in (0, 1)]
    assert steps[0] == steps[1] > 0


def test_rows_are_shared_and_dealt():
    rows = np.arange(6)
    assert [Processes(rank, 3).share(rows).tolist() for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    dealt = [Processes(rank, 4).dealt(rows[:3]) for rank in range(4)]
    assert [(part.tolist(), number) for part, number in dealt] == [([0], 1), ([1], 1), ([2], 1), ([0], 0)]


def test_rows_that_cannot_be_divided_are_refused():
    Processes(0, 3).check(6)
    with pytest.raises(UsageError, match="4 rows of a step cannot be divided evenly among 3 processes"):
        Processes(0, 3).check(4)


def test_alone_nothing_is_sent():
    alone = Processes()
    assert alone.agree(1.5, True) == (1.5, True)
    assert alone.mean(2.0) == 2.0
    assert alone.failed_together()
    assert alone.speaks()
    alone.wait()
    alone.leave()
    assert not torch.distributed.is_initialized()


def test_what_needs_whole_matrices_cannot_be_sharded():
    check_shards("adamw", averaged=False)
    for optimizer, averaged in (("muon", False), ("asgd", False), ("adamw", True)):
        with pytest.raises(UsageError, match="--shard divides"):
            check_shards(optimizer, averaged)


def test_each_process_has_a_card_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for local, asked in ((0, "auto"), (1, "cuda")):
        monkeypatch.setattr(devices, "processes", lambda local=local: Processes(local, 3, local))
        assert resolve_device(asked) == torch.device("cuda", local)
    monkeypatch.setattr(devices, "processes", lambda: Processes(2, 3, 2))
    with pytest.raises(UsageError, match="3 processes need 3 cuda devices"):
        resolve_device("cuda")
    with pytest.raises(UsageError, match="one card"):
        resolve_device("cuda:0")


def test_another_process_that_is_gone_is_told_from_a_fault(monkeypatch):
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    assert not distributed.lost(gone)
    monkeypatch.setattr(distributed, "processes", lambda: Processes(0, 2))
    assert distributed.lost(gone)
    assert not distributed.lost(RuntimeError("shapes cannot be multiplied"))
