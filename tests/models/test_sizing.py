"""The size of a network follows the text, the time and the machine."""

from __future__ import annotations

import pytest
import torch

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models import sizing
from lmbench.models.sizing import affordable_operations, affordable_width, expected_passes, product_rate
from lmbench.training.budget import Budget

CPU = torch.device("cpu")
SENTENCES = ["a b c a b", "c a b a"] * 10
TEXT = train_tokenizer("word", SENTENCES).encode(SENTENCES)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Sets at what rate the processor multiplies, and its threads."""

    def change(rate: float, threads: int) -> None:
        monkeypatch.setattr(sizing, "product_rate", lambda precision, threads: rate)
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)

    return change


def width(budget: Budget, text: Tokens = TEXT) -> int:
    """Of an LSTM of one layer, 8 w^2 multiply-adds, with a softmax over 67 types."""
    return affordable_width(lambda w: 8 * w**2, lambda w: 67 * w, text, affordable_operations(budget, CPU))


def passes(budget: Budget) -> float:
    """Of a network of a million multiply-adds an event."""
    return expected_passes(1e6, TEXT, budget, affordable_operations(budget, CPU))


def test_a_slower_machine_takes_a_smaller_network(machine):
    """Multiply-adds an event: 1.1 x 0.35 sqrt(0.31 x 2^40 x 150) = 2.75e6, and 8 x 512^2 = 2.10e6 fits; 1.95e6 at 2^39,
    where 8 x 384^2 = 1.18e6 fits; 0.97e6 at 2^37, where it does not. 0.9 and 1.1 times a rate round to it.
    """
    for factor in (0.9, 1.0, 1.1):
        for exponent, expected in ((40, 512), (39, 384), (37, 256)):
            machine(factor * 2**exponent, 2)
            assert width(Budget(seconds=150)) == expected


def test_a_budget_in_steps_gives_the_same_network_everywhere(machine):
    widths = set()
    for rate, threads in ((4.25e11, 2), (1e11, 1), (1e13, 64)):
        machine(rate, threads)
        widths.add(width(Budget(steps=100)))
    assert widths == {640}


def test_passes_over_the_text_follow_the_machine(machine):
    """Of 64 threads no more than 8 count."""
    machine(2**37, 2)
    assert passes(Budget(seconds=60)) == pytest.approx(0.31 * 2**37 * 60 / (6 * 1e6 * TEXT.events))
    slow = passes(Budget(seconds=60))
    machine(2**42, 64)
    assert passes(Budget(seconds=60)) == pytest.approx(4 * slow)
    assert passes(Budget(epochs=3)) == 3


def test_the_rate_of_a_product_is_measured_once():
    """Two operations for each of 1024^3 multiply-adds, which take between 10 microseconds and 20 seconds anywhere."""
    rate = product_rate(torch.float32, torch.get_num_threads())
    assert 1e8 < rate < 2e14
    assert product_rate(torch.float32, torch.get_num_threads()) == rate
