"""Mamba-2: its recurrence by chunks, in value and gradient, against the one that it stands for; its state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmbench.errors import UsageError
from lmbench.models import mamba
from lmbench.models.blocks import BlockNetwork
from lmbench.models.mamba import MambaBlock, MambaConfig, state_space
from lmbench.models.registry import create


def _one_by_one(u: Tensor, b: Tensor, c: Tensor, steps: Tensor, falls: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """M_t = exp(falls_t) M_{t-1} + steps_t b_t u_t', y_t = M_t' c_t."""
    outputs = []
    for t in range(u.shape[2]):
        written = steps[:, :, t, None, None] * b[:, t, None, :, None] * u[:, :, t, None, :]
        memory = falls[:, :, t, None, None].exp() * memory + written
        outputs.append((memory * c[:, t, None, :, None]).sum(2))
    return torch.stack(outputs, 2), memory


@given(events=st.integers(1, 20), heads=st.integers(1, 3), seed=st.integers(0, 99), strong=st.booleans())
@settings(deadline=None, max_examples=40)
def test_all_events_at_once_equal_one_after_the_other_in_value_and_gradient(events, heads, seed, strong):
    random = torch.Generator().manual_seed(seed)
    shapes = (
        (2, heads, events, 5),
        (2, events, 4),
        (2, events, 4),
        (2, heads, events),
        (2, heads, events),
        (2, heads, 4, 5),
    )
    given_parts = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes]
    given_parts[3] = given_parts[3].abs()
    given_parts[4] = -given_parts[4].abs() * (1000 if strong else 1)  # all is forgotten at once, or not
    weights = [torch.randn(shape, generator=random, dtype=torch.float64) for shape in (shapes[0], shapes[5])]
    results = []
    for way in (state_space, _one_by_one):
        parts = [part.clone().requires_grad_() for part in given_parts]
        y, memory = way(*parts)
        ((y * weights[0]).sum() + (memory * weights[1]).sum()).backward()
        results.append((y.detach(), memory.detach(), *(part.grad for part in parts)))
    for ours, plain in zip(*results, strict=True):
        # ours is rounded to float32 nowhere but in the memory
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convolution", [1, 4])
def test_state_carried_over_equals_reading_on(convolution, monkeypatch):
    monkeypatch.setattr(mamba, "CHUNK", 4)
    torch.manual_seed(1)
    config = MambaConfig(width=6, layers=2, convolution=convolution, head_size=4, state_size=3)
    network = BlockNetwork(7, config, MambaBlock).eval()
    ids = torch.randint(0, 7, (2, 11))
    whole, end = network(ids)
    state, parts = None, []
    for first, last in ((0, 1), (1, 3), (3, 11)):  # shorter and longer than the convolution, and than a chunk
        part, state = network(ids[:, first:last], state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    torch.testing.assert_close(state, end)
    # two blocks, each with 3 heads of 4 cells of 3 numbers, and 12 + 2 x 3 values of each token before
    assert end.shape == (2, 2 * (36 + 18 * (convolution - 1)))


def test_at_first_memories_are_of_2_to_64_events():
    torch.manual_seed(1)
    block = MambaBlock(MambaConfig(width=64, head_size=1, expansion=8))
    with torch.no_grad():
        steps = torch.nn.functional.softplus(block.step_bias)
        events = 1 / (steps * block.fading.exp())
    assert 0.199 < float(steps.min()) < 0.22
    assert 0.95 < float(steps.max()) < 1.001
    assert 1.99 < float(events.min()) < 2.2
    assert 58 < float(events.max()) < 64.1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("mamba:expansion=0", "expansion must be above 0"),
        ("mamba:convolution=0", "1, which is none"),
        ("mamba:head_size=0", "head_size must be at least 1"),
        ("mamba:state_size=0", "state_size must be at least 1"),
    ],
)
def test_impossible_settings_name_what_to_change(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)
