"""Which events a validation reads, and with how much history."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.training.budget import Budget
from lmbench.training.distributed import Processes
from lmbench.training.parallel import Parallel
from lmbench.training.plan import Clock
from lmbench.training.validation import Validation


class Spy(nn.Module):
    """Remembers what it is asked; the loss of an event is its id."""

    def __init__(self, stateful: bool, overlap: int) -> None:
        super().__init__()
        self.stateful, self.overlap, self.weight = stateful, overlap, nn.Parameter(torch.zeros(1))
        self.asked: list[int] = []
        self.states: list[int | None] = []

    def loss(self, rows, state=None):
        self.states.append(state)
        return self.loss_after(rows, 0), (state or 0) + 1

    def loss_after(self, rows, seen):
        self.asked += rows[:, 1 + seen :].flatten().tolist()
        return rows[:, 1 + seen :].double().mean()


def numbered(events: int) -> Tokens:
    """Ids that are positions, but for the boundaries."""
    ids = np.arange(events + 1, dtype=np.int32)
    ids[-1] = 0
    return Tokens(ids, train_tokenizer("word", ["a"]))


@pytest.mark.parametrize(("events", "length", "overlap"), [(50, 10, 5), (50, 10, 0), (7, 10, 5), (50, 1, 0)])
def test_windows_ask_for_every_event_once(events, length, overlap):
    network = Spy(stateful=False, overlap=overlap)
    tokens = numbered(events)
    loss = Validation(Parallel(network, Processes()), tokens, 3, length, events=1000).loss()
    assert network.asked == tokens.ids[1:].tolist()
    assert loss == pytest.approx(tokens.ids[1:].mean())  # parts of unlike size weigh as many events as they have


def test_windows_of_a_long_split_are_taken_evenly():
    network = Spy(stateful=False, overlap=4)
    Validation(Parallel(network, Processes()), numbered(1000), 3, 8, events=100).loss()
    asked = np.array(network.asked)
    # (1000 - 8) / 4 = 248 windows bring 992 events: every tenth is read, 25 of them, and the first of all
    assert len(asked) == 8 + 25 * 4
    assert set(np.diff(asked[8::4])) == {40}


def test_a_state_runs_on():
    network = Spy(stateful=True, overlap=0)
    Validation(Parallel(network, Processes()), numbered(1000), 3, 8, events=120).loss()
    assert network.states == [None, 1, 2, 3, 4]  # 3 rows, 40 columns of each, 8 at a time
    assert network.asked[:8] == list(range(1, 9))


@pytest.mark.parametrize("epochs", [13, 39, 55])
def test_validations_of_whole_epochs_end_them(epochs):
    """1 / 55 of a budget, 55 times, is not all of it in floating-point numbers: Penn Treebank has 1,328 steps."""
    clock, made = Clock(Budget(epochs=epochs), 1328), []
    for clock.step in range(1, epochs * 1328 + 1):
        if clock.due(epochs, len(made)):
            made.append(clock.step)
    assert made == [1328 * epoch for epoch in range(1, epochs + 1)]


def test_a_validation_reads_a_tenth_of_what_is_trained_on_between_two():
    assert Clock(Budget(epochs=39), 1328).affordable(39, 20 * 35) == 92_960  # all of Penn Treebank's 73,760
    assert Clock(Budget(steps=1000), 1328).affordable(10, 20 * 35) == 7_000
    assert Clock(Budget(seconds=60), 1328).affordable(10, 20 * 35) == 0
