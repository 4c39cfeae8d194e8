"""What is the convolutional network's own: its equation, how far it sees, and what it carries on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models.convolution import Block, ConvolutionConfig, ConvolutionNetwork
from lmbench.models.registry import create
from lmbench.training.budget import Budget


def network(kernel: int, steps: list[int]) -> ConvolutionNetwork:
    torch.manual_seed(1)
    return ConvolutionNetwork(9, width=8, kernel=kernel, steps=steps, dropout=0.0).double().eval()


def test_a_block_is_its_equation():
    torch.manual_seed(1)
    block = Block(width=3, kernel=2, dilation=2, layers=1, dropout=0.0).double().eval()
    x, before = torch.randn(1, 4, 3).double(), torch.randn(1, 2, 3).double()
    ours, after = block(x, before)
    weight, bias = block.convolve.weight.detach().numpy(), block.convolve.bias.detach().numpy()
    y = x[0].numpy() / np.sqrt((x[0].numpy() ** 2).mean(1, keepdims=True) + np.finfo(np.float64).eps)
    read = np.concatenate((before[0].numpy(), y))  # y[t] stands at t + 2
    for t in range(4):
        both = weight[:, :, 1] @ read[t + 2] + weight[:, :, 0] @ read[t] + bias  # the newest, and two before it
        gated = both[:3] / (1 + np.exp(-both[3:]))
        expected = x[0, t].numpy() + block.mix.weight.detach().numpy() @ gated
        np.testing.assert_allclose(ours[0, t].detach().numpy(), expected, atol=1e-7)
    np.testing.assert_array_equal(after[0].detach().numpy(), read[-2:])


@pytest.mark.parametrize(("kernel", "steps", "window"), [(2, [1, 1], 3), (3, [1, 1], 5), (2, [1, 2, 4], 8)])
def test_it_sees_its_window_and_nothing_more(kernel, steps, window):
    """1 + (kernel - 1) x the sum of the steps: 1 + 1 x 2, 1 + 2 x 2, 1 + 1 x 7."""
    net = network(kernel, steps)
    assert net.window == window
    row = torch.randint(1, 9, (1, 20), generator=torch.Generator().manual_seed(1))
    whole, _ = net(row)
    for place in range(20):
        changed = row.clone()
        changed[0, place] = 0
        differs = (net(changed)[0] - whole).abs().amax(2)[0] > 1e-12
        assert differs.tolist() == [place <= position < place + window for position in range(20)]
    # cut to its window, a history gives the same: no zero that stands before it is read
    torch.testing.assert_close(net(row[:, -window:])[0][:, -1], whole[:, -1])


@pytest.mark.parametrize("steps", [[1, 1, 1], [1, 2, 4]])
def test_the_state_joins_pieces_of_a_row(steps):
    net = network(3, steps)
    row = torch.randint(9, (2, 23), generator=torch.Generator().manual_seed(1))
    whole, _ = net(row)
    state, pieces = None, []
    for piece in row.split([1, 2, 13, 7], 1):  # shorter than what the layers read, and longer
        part, state = net(piece, state)
        assert state.shape == (2, 2 * sum(steps), 8)
        pieces.append(part)
    torch.testing.assert_close(torch.cat(pieces, 1), whole)


def test_a_word_far_back_is_found():
    """Each sentence ends as it began, five words later: only its first word is a guess, among four."""
    random = np.random.default_rng(1)
    lines = [f"{first} is what we see {first}" for first in random.choice(list("abcd"), 1200)]
    train, valid = Split("train", ("\n".join(lines[:1000]),)), Split("valid", ("\n".join(lines[1000:]),))
    data = Corpus("made", train, valid, valid).tokenize("word")
    model = create("cnn:width=32:layers=3:kernel=3:learning_rate=0.02:batch_size=8:dropout=0:device=cpu")
    report = model.fit(data.train, data.valid, Budget(steps=80))
    # four first words, seven events: ln 4 / 7 = 0.198 nats an event; for who forgets the first, 2 ln 4 / 7 = 0.396
    assert report.valid_loss < 0.25


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("kernel=1", "kernel must be at least 2"),
        ("dilation=0", "dilation must be at least 1"),
        ("layers=20:dilation=2", "more than 65,536.*smaller dilation"),
    ],
)
def test_settings_that_cannot_be(settings, complaint):
    with pytest.raises(UsageError, match=complaint):
        create(f"cnn:{settings}")


def test_it_says_how_far_it_sees():
    assert ConvolutionConfig(layers=6, kernel=4, dilation=1).window == 19  # 1 + 3 x 6
    assert ConvolutionConfig(layers=4, kernel=3, dilation=3).window == 81  # 1 + 2 x (1 + 3 + 9 + 27)
