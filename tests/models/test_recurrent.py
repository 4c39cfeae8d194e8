"""Recurrent families: their equations, each regularisation of Zaremba's and Merity's LSTM, restart."""

from __future__ import annotations

import math
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import UsageError
from lmbench.models.recurrent import LockedDropout, RecurrentConfig, RecurrentLayer, RecurrentNetwork
from lmbench.models.registry import create, load
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints

TINY = "hidden=6:batch_size=2:sequence_length=5:device=cpu"
PLAIN = f"{TINY}:dropout=0.3:learning_rate=1"
MERITY = (
    f"lstm:{TINY}:layers=2:embedding_size=4:locked=yes:dropout=0.4:input_dropout=0.6:hidden_dropout=0.2"
    ":embedding_dropout=0.1:weight_drop=0.5:activation_penalty=2:change_penalty=1:learning_rate=1"
)


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, Tokens]:
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(60)]
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:50]), tokenizer.encode(units[50:])


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _one_cell(kind: str, rows: int) -> RecurrentLayer:
    """A layer of one cell on one input: W = 1, U = 2, both biases 0.25, for each of its gates."""
    layer = RecurrentLayer(kind, 1, 1, 0.0)
    with torch.no_grad():
        for name, value in (("weight_ih_l0", 1.0), ("weight_hh_l0", 2.0), ("bias_ih_l0", 0.25), ("bias_hh_l0", 0.25)):
            assert getattr(layer.cell, name).shape[0] == rows
            getattr(layer.cell, name).fill_(value)
    return layer


@pytest.mark.parametrize(("kind", "squash"), [("tanh", math.tanh), ("sigmoid", _sigmoid)])
def test_a_simple_layer_is_its_equation(kind, squash):
    # h_1 = f(1 * 0.3 + 2 * 0 + 0.5), h_2 = f(1 * -0.7 + 2 h_1 + 0.5)
    first = squash(0.8)
    second = squash(-0.2 + 2 * first)
    outputs, memory = _one_cell(kind, 1)(torch.tensor([0.3, -0.7]).view(2, 1, 1))
    assert outputs.flatten().tolist() == pytest.approx([first, second], abs=1e-6)
    assert memory.tolist() == [[pytest.approx(second, abs=1e-6)]]


def test_gated_layers_are_their_equations():
    # gru from h = 0.4, x = 0.3: r = z = s(0.3 + 0.8 + 0.5), n = tanh(0.3 + 0.25 + r (0.8 + 0.25)), h' = (1 - z) n + z h
    gate = _sigmoid(1.6)
    wanted = (1 - gate) * math.tanh(0.55 + gate * 1.05) + gate * 0.4
    outputs, _ = _one_cell("gru", 3)(torch.tensor([[[0.3]]]), torch.tensor([[0.4]]))
    assert outputs.item() == pytest.approx(wanted, abs=1e-6)
    # lstm from h = 0.4, c = -0.2: i = f = o = s(1.6), g = tanh(1.6), c' = f c + i g, h' = o tanh(c')
    cell = gate * -0.2 + gate * math.tanh(1.6)
    outputs, memory = _one_cell("lstm", 4)(torch.tensor([[[0.3]]]), torch.tensor([[0.4, -0.2]]))
    assert memory.tolist() == [[pytest.approx(gate * math.tanh(cell), abs=1e-6), pytest.approx(cell, abs=1e-6)]]
    assert outputs.item() == pytest.approx(memory[0, 0].item())


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "gru", "lstm"])
def test_state_carried_over_equals_reading_on(kind):
    torch.manual_seed(1)
    network = RecurrentNetwork(7, RecurrentConfig(hidden=5, layers=3, embedding_size=4), kind).eval()
    ids = torch.randint(0, 7, (2, 9))
    whole, end = network(ids)
    first, state = network(ids[:, :4])
    second, again = network(ids[:, 4:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), whole)
    torch.testing.assert_close(again, end)
    assert whole.shape == (2, 9, 4)  # the last layer is as wide as the tied embedding


def test_locked_dropout_drops_the_same_cells_at_every_step():
    torch.manual_seed(1)
    drop = LockedDropout(0.5)
    y = drop(torch.ones(6, 50, 40))
    assert (y == y[:1]).all()
    assert float((y[0] == 0).float().mean()) == pytest.approx(0.5, abs=0.05)  # 2,000 draws: standard error 0.011
    assert not (y[0, 0] == y[0, 1]).all()
    assert (drop.eval()(torch.ones(2, 1, 3)) == 1).all()


def test_embedding_dropout_drops_whole_words_wherever_they_stand():
    torch.manual_seed(1)
    network = RecurrentNetwork(200, RecurrentConfig(hidden=3, embedding_dropout=0.5), "tanh").train()
    ids = torch.arange(200).repeat(2, 1)  # each word twice
    x = network._embedded(ids)
    dropped = (x == 0).all(-1)
    assert (dropped[0] == dropped[1]).all()
    assert 60 < int(dropped[0].sum()) < 140  # 100 expected, standard deviation 7
    torch.testing.assert_close(x[~dropped], 2 * network.embedding.weight[ids][~dropped])
    assert not (network.eval()._embedded(ids) == 0).any()


def test_dropped_weights_are_dropped_in_training_alone():
    torch.manual_seed(1)
    whole, dropped = RecurrentLayer("lstm", 4, 4, 0.0), RecurrentLayer("lstm", 4, 4, 0.5)
    dropped.load_state_dict(whole.state_dict())
    x, memory = torch.randn(3, 2, 4), torch.randn(2, 8)
    assert not torch.equal(dropped(x, memory)[0], whole(x, memory)[0])
    torch.testing.assert_close(dropped.eval()(x, memory)[0], whole.eval()(x, memory)[0])
    gradient = torch.autograd.grad(dropped.train()(x, memory)[0].sum(), dropped.cell.weight_hh_l0)[0]
    assert 0.2 < float((gradient == 0).float().mean()) < 0.8  # a dropped weight has no part in the loss


def test_penalties_are_added_to_the_loss_in_training_alone():
    plain = RecurrentConfig(hidden=4)
    network = RecurrentNetwork(7, plain, "lstm")
    rows = torch.randint(0, 7, (2, 6), generator=torch.Generator().manual_seed(1))
    x = network(rows[:, :-1])[0]  # (B, T, H); without dropout, outputs before and after it are the same
    wanted = network.loss(rows)[0] + 2 * x.square().mean() + 3 * (x[:, 1:] - x[:, :-1]).square().mean()
    network.penalties = 2.0, 3.0
    torch.testing.assert_close(network.loss(rows)[0], wanted)
    assert torch.isfinite(network.loss(rows[:, :2])[0])  # a single event changes from nothing
    with torch.no_grad():
        penalised = network.eval().loss(rows)[0]
        network.penalties = 0.0, 0.0
        torch.testing.assert_close(penalised, network.loss(rows)[0])


def test_zarembas_form_is_untied_and_begins_within_its_range():
    network = RecurrentNetwork(50, RecurrentConfig(hidden=8, layers=2, tied=False, initial_range=0.05), "lstm")
    assert network.softmax_weight is network.output
    assert all(0 < float(weight.detach().abs().max()) <= 0.05 for weight in network.parameters())
    # embedding and softmax 50 x 8 each, bias 50, two layers of 4 x (8 x 8 + 8 x 8 + 8 + 8)
    assert sum(weight.numel() for weight in network.parameters()) == 2 * 400 + 50 + 2 * 4 * 144


class Interrupt(Silent):
    """Interrupts this process once step 40 is shown."""

    sent = False

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] >= 40 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("spec", [MERITY, f"gru:{PLAIN}:layers=2", f"rnn:{TINY}:dropout=0.3"])
def test_an_interrupted_training_goes_on_to_the_same_numbers(tokens, tmp_path, spec):
    whole, cut, rest = create(spec), create(spec), create(spec)
    report = whole.fit(*tokens, Budget(steps=90))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(*tokens, Budget(steps=90), Interrupt(), Checkpoints(tmp_path))
    torch.manual_seed(99)  # the state of the generator comes from the checkpoint
    again = rest.fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    assert [point.valid_loss for point in again.curve] == [point.valid_loss for point in report.curve]
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(rest.log_probs(batch), whole.log_probs(batch))


def test_an_lstm_of_version_0_1_is_still_read(tokens, tmp_path):
    model = create(f"lstm:{TINY}:layers=2")
    model.fit(*tokens, Budget(steps=3))
    model.save(tmp_path)
    path = tmp_path / "weights.safetensors"
    weights = load_file(path)
    for name in [name for name in weights if name.startswith("layers.")]:
        _, number, _, kind = name.split(".")  # layers.1.cell.weight_ih_l0 was lstm.weight_ih_l1
        weights[f"lstm.{kind[:-1]}{number}"] = weights.pop(name)
    save_file(weights, path)
    batch = Batch.of(tokens[1].rows())
    np.testing.assert_array_equal(load(tmp_path).log_probs(batch), model.log_probs(batch))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("lstm:weight_drop=1", "weight_drop must be at least 0 and below 1"),
        ("gru:input_dropout=-0.1", "input_dropout"),
        ("lstm:change_penalty=-1", "change_penalty must be at least 0"),
        ("lstm:embedding_size=0", "embedding_size must be at least 1"),
        ("lstm:initial_range=0", "initial_range must be above 0"),
        ("lstm:hidden=8:embedding_size=4", "tied=no"),
        ("rnn:activation=relu", "tanh"),
    ],
)
def test_impossible_settings_name_what_to_change(spec, words):
    with pytest.raises(UsageError, match=words):
        create(spec)


def test_a_large_lstm_is_the_same_by_either_way(monkeypatch):
    """In bfloat16, numbers of 8 bits: both ways are within 2 % of float64, by norm, in outputs and all gradients."""
    torch.manual_seed(1)
    layer = RecurrentLayer("lstm", 12, 16, 0.0)
    x, memory, weight = torch.randn(9, 4, 12, requires_grad=True), torch.randn(4, 32), torch.randn(9, 4, 16)
    exact = RecurrentLayer("lstm", 12, 16, 0.0).double()
    exact.load_state_dict(layer.state_dict())

    def found(one, inputs, precision):
        outputs, after = one(inputs, memory.to(inputs.dtype), precision)
        total = (outputs * weight).sum()
        return [outputs, after, *torch.autograd.grad(total, [inputs, *one.parameters()])]

    want = found(exact, x.detach().double().requires_grad_(), torch.float64)
    for cached, by_hand in ((15, True), (16, False)):
        monkeypatch.setattr("lmbench.models.recurrent.CACHED", cached)
        assert layer._by_hand(x.bfloat16()) is by_hand
        assert not layer._by_hand(x)  # float32
        for ours, theirs in zip(found(layer, x, torch.bfloat16), want, strict=True):
            assert (ours.double() - theirs).norm() < 0.02 * theirs.norm()
