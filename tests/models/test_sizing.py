"""The size of a network follows the text, the time and the machine."""

from __future__ import annotations

import pytest
import torch

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models import sizing
from lmbench.models.sizing import affordable_width, expected_passes
from lmbench.training.budget import Budget

CPU = torch.device("cpu")
SENTENCES = ["a b c a b", "c a b a"] * 10
TEXT = train_tokenizer("word", SENTENCES).encode(SENTENCES)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets what the processor multiplies, and the threads."""

    def change(precision: torch.dtype, threads: int) -> None:
        monkeypatch.setattr(sizing, "resolve_precision", lambda name, device: precision)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)

    return change


def width(budget: Budget, text: Tokens = TEXT) -> int:
    """Of an LSTM of one layer, 8 w^2 multiply-adds, with a softmax over 67 types."""
    return affordable_width(lambda w: 8 * w**2, lambda w: 67 * w, text, budget, CPU)


def test_a_slower_machine_takes_a_smaller_network(machine):
    """Multiply-adds an event: 1.1 x 0.35 sqrt(1.7e11 x 150) = 1.94e6 on two cores that multiply bfloat16, and 8 x 384^2
    = 1.18e6 fits but 8 x 512^2 does not; 1.33e6 where they do not, where 384 fits still; 0.94e6 on one such core."""
    machine(torch.bfloat16, 2)
    assert width(Budget(seconds=150)) == 384
    machine(torch.float32, 2)
    assert width(Budget(seconds=150)) == 384
    machine(torch.float32, 1)
    assert width(Budget(seconds=150)) == 256


def test_a_budget_in_steps_gives_the_same_network_everywhere(machine):
    widths = set()
    for precision, threads in ((torch.bfloat16, 2), (torch.float32, 1), (torch.bfloat16, 64)):
        machine(precision, threads)
        widths.add(width(Budget(steps=100)))
    assert widths == {640}


def test_passes_over_the_text_follow_the_machine(machine):
    machine(torch.float32, 2)
    slow = expected_passes(1e6, TEXT, Budget(seconds=60), CPU)
    assert slow == pytest.approx(8e10 * 60 / (6 * 1e6 * TEXT.events))
    machine(torch.bfloat16, 64)
    assert expected_passes(1e6, TEXT, Budget(seconds=60), CPU) == pytest.approx(slow * 8 * 8.5 / 8)
    assert expected_passes(1e6, TEXT, Budget(epochs=3), CPU) == 3
