"""minGRU: its scan, in value and gradient; its state."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.models.blocks import BlockConfig, BlockNetwork
from lmbench.models.mingru import MinGRUBlock
from lmbench.models.registry import create
from lmbench.models.scan import _scan_chunks, linear_scan
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints


def _one_by_one(decay: torch.Tensor, inputs: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    states = [start]
    for a, b in zip(decay, inputs, strict=True):
        states.append(a * states[-1] + b)
    return torch.stack(states[1:])


@given(events=st.integers(1, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_the_scan_equals_the_recurrence_in_value_and_gradient(events, seed):
    random = torch.Generator().manual_seed(seed)
    parts = [torch.rand(shape, generator=random, dtype=torch.float64) for shape in ((events, 2, 3),) * 2 + ((2, 3),)]
    weights = torch.rand((events, 2, 3), generator=random, dtype=torch.float64)
    results = []
    for scan in (linear_scan, _one_by_one):
        inputs = [part.clone().requires_grad_() for part in parts]
        h = scan(*inputs)
        (h * weights).sum().backward()
        results.append((h.detach(), *(x.grad for x in inputs)))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


def test_the_scan_by_chunks_which_serves_other_devices_gives_the_same():
    random = torch.Generator().manual_seed(1)
    decay, inputs = (torch.rand((23, 2, 3), generator=random, dtype=torch.float64) for _ in range(2))
    start = torch.rand((2, 3), generator=random, dtype=torch.float64)
    torch.testing.assert_close(_scan_chunks(decay, inputs, start), linear_scan(decay, inputs, start))


def test_the_scan_is_safe_where_memory_is_lost_at_once_or_kept_for_ever():
    inputs = torch.ones(10_000, 1, 1)
    for decay, last in ((0.0, 1.0), (1e-30, 1.0), (1.0, 10_000.0)):  # a sum of ones counts them
        h = linear_scan(torch.full_like(inputs, decay), inputs, torch.zeros(1, 1))
        assert h[-1].item() == last
        assert torch.isfinite(h).all()


@pytest.mark.parametrize("convolution", [1, 4])
def test_state_carried_over_equals_reading_on(convolution):
    torch.manual_seed(1)
    config = BlockConfig(width=6, layers=2, convolution=convolution)
    network = BlockNetwork(7, config, MinGRUBlock).eval()
    ids = torch.randint(0, 7, (2, 9))
    whole, end = network(ids)
    state, parts = None, []
    for first, last in ((0, 1), (1, 3), (3, 9)):  # shorter and longer than the convolution
        part, state = network(ids[:, first:last], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(state, end)
    # two blocks, each with 1.5 x 6 cells and the 6 values of each of the tokens before that a convolution reads
    assert end.shape == (2, 2 * (9 + 6 * (convolution - 1)))


class Interrupt(Silent):
    """Interrupts this process once step 40 is shown."""

    sent = False

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] >= 40 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_training_goes_on_to_the_same_numbers(tmp_path):
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(60)]
    tokenizer = train_tokenizer("word", units)
    tokens = tokenizer.encode(units[:50]), tokenizer.encode(units[50:])
    spec = "mingru:width=6:layers=2:batch_size=2:sequence_length=5:dropout=0.2:device=cpu"
    whole, cut, rest = create(spec), create(spec), create(spec)
    whole.fit(*tokens, Budget(steps=90))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(*tokens, Budget(steps=90), Interrupt(), Checkpoints(tmp_path))
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    rest.fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))


@pytest.mark.parametrize(("spec", "words"), [("mingru:expansion=0", "expansion"), ("mingru:convolution=0", "1, which")])
def test_impossible_settings_name_what_to_change(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)
