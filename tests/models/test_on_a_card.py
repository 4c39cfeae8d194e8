"""What is trained on a CUDA card is the model that a CPU would have trained, and scores there as it does here."""

from __future__ import annotations

import os
import signal
from itertools import pairwise

import numpy as np
import pytest
import torch

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.registry import create
from lmbench.models.scan import linear_scan
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.replay import Replay

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")

MODELS = [
    "ffnn:order=4:width=32:layers=2:batch_size=4:sequence_length=8",
    "rnn:hidden=32:activation=tanh:layers=2:batch_size=4:sequence_length=8",
    "rnn:hidden=32:activation=sigmoid:batch_size=4:sequence_length=8",
    "gru:hidden=32:layers=2:batch_size=4:sequence_length=8",
    "lstm:hidden=32:layers=2:batch_size=4:sequence_length=8:learning_rate=0.01:optimizer=adamw",
    "lstm:hidden=30:layers=2:embedding_size=17:batch_size=4:sequence_length=8:optimizer=sgd:learning_rate=5",
    "mingru:width=32:layers=2:batch_size=4:sequence_length=8",
    "mamba:width=32:layers=2:batch_size=4:sequence_length=8",
    "cnn:width=32:layers=3:kernel=2:dilation=2:batch_size=4:sequence_length=8",
    "gpt:width=32:heads=2:layers=2:sequence_length=16:batch_size=4",
    "gpt:width=32:heads=2:layers=2:sequence_length=16:batch_size=4:feed_forward=swiglu:sliding_window=4",
    "bert:width=32:heads=2:layers=2:sequence_length=16:batch_size=4",
    "lstm:hidden=32:batch_size=4:sequence_length=8:softmax=adaptive",
    "neural-cache(gpt:width=32:heads=2:layers=2:sequence_length=16:batch_size=4):size=5",
    "dynamic(lstm:hidden=32:batch_size=4:sequence_length=8):segment=2:rate=0.01:decay=0.01",
    "neighbours(lstm:hidden=32:batch_size=4:sequence_length=8):temperature=0.2:weight=0.3",
]


@pytest.fixture(scope="module")
def tokens() -> tuple[Tokens, Tokens]:
    random = np.random.default_rng(5)
    halves = [" ".join(random.choice(list("abcdefghij"), 4)) for _ in range(120)]
    units = [f"{half} {half}" for half in halves]  # what comes after four letters is only told by what came before
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:100]), tokenizer.encode(units[100:])


def on(spec: str, device: str, more: str = "") -> str:
    """``spec`` with its innermost model on ``device``."""
    head, bracket, tail = spec.partition(")")
    return f"{head}{more}:device={device}{bracket}{tail}"


@pytest.mark.parametrize("spec", MODELS)
def test_in_float32_it_learns_and_scores_as_on_a_cpu(tokens, spec):
    """Without dropout, whose random numbers differ, only the rounding differs: 1e-3 of the loss after 20 steps."""
    models = [create(on(spec, device, ":dropout=0:precision=float32")) for device in ("cpu", "cuda")]
    losses = [model.fit(*tokens, Budget(steps=20)).valid_loss for model in models]
    if models[0].kind != "bert":  # whose masks are drawn on the device
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    rows = Batch.of([row.astype(np.int64) for row in tokens[1].rows()])
    here, there = (model.log_probs(rows) for model in models)
    if models[0].kind != "bert":
        np.testing.assert_allclose(there, here, atol=0.02)


@pytest.mark.parametrize("spec", MODELS)
def test_a_kept_model_scores_on_either_device_alike(tokens, spec, tmp_path, monkeypatch):
    model = create(on(spec, "cuda", ":dropout=0.2:patience=100"))
    report = model.fit(*tokens, Budget(steps=40))
    assert report.valid_loss < np.log(tokens[0].vocabulary_size) + 0.2
    rows = Batch.of([row.astype(np.int64) for row in tokens[1].rows()])
    there = model.log_probs(rows)
    model.save(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = type(model).load(tmp_path).log_probs(rows)
    np.testing.assert_allclose(there, here, atol=2e-4)
    if model.reads == "left":
        prefixes = Batch.of_prefixes([row[:3].astype(np.int64) for row in tokens[1].rows()[:5]])
        sums = np.exp(model.next_log_probs(prefixes).astype(np.float64)).sum(1)
        np.testing.assert_allclose(sums, 1, atol=1e-4)


class Interrupt(Silent):
    """Sends the process SIGINT when step 40 is shown."""

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] == 40:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("spec", MODELS[4:11])
def test_a_training_goes_on(tokens, tmp_path, spec):
    """Sums of parallel threads are rounded as they come, so the numbers are near, not equal."""
    spec = on(spec, "cuda", ":dropout=0.3:precision=float32:patience=100")
    whole = create(spec).fit(*tokens, Budget(steps=90))
    with pytest.raises(KeyboardInterrupt):
        create(spec).fit(*tokens, Budget(steps=90), Interrupt(), Checkpoints(tmp_path))
    again = create(spec).fit(*tokens, Budget(steps=90), None, Checkpoints(tmp_path))
    assert again.steps == whole.steps
    assert again.valid_loss == pytest.approx(whole.valid_loss, rel=1e-2)


@pytest.mark.parametrize(
    "spec",
    [
        "lstm:hidden=32:layers=2:batch_size=4:sequence_length=8:optimizer=sgd:learning_rate=5:varied=yes:reset=0.2",
        "lstm:hidden=32:batch_size=4:sequence_length=8:accumulation=2:weight_drop=0:average_decay=0.9",
        "lstm:hidden=32:batch_size=4:sequence_length=8:optimizer=asgd:learning_rate=5:schedule=constant"
        ":activation_penalty=2:change_penalty=1:locked=yes",
        *MODELS[:11],
    ],
)
def test_replayed_steps_are_those_run_kernel_by_kernel(tokens, spec, monkeypatch):
    losses = []
    for replayed in (True, False):
        model = create(on(spec, "cuda", ":dropout=0:precision=float32"))
        if not replayed:
            monkeypatch.setattr("lmbench.models.network.Network.replayable", False)
        losses.append([point.valid_loss for point in model.fit(*tokens, Budget(steps=60)).curve])
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-3)
    assert min(losses[0]) < losses[0][0]


@pytest.mark.parametrize("spec", ["lstm:hidden=32:dropout=0.5", "gpt:width=32:heads=2:dropout=0:attention_dropout=0.5"])
def test_a_replayed_step_drops_out_others(tokens, spec):
    model = create(spec + ":batch_size=4:sequence_length=8:device=cuda")
    model.fit(*tokens, Budget(steps=1))
    network, rows = model.network.train(), torch.randint(1, 11, (4, 9), device="cuda")
    replay = Replay(network.loss, network.parameters(), torch.device("cuda"))
    with replay.turn():
        losses = {float(replay(rows, None, 1.0)[0]) for _ in range(6)}
    assert len(losses) == 6


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1, 9, 12), (7, 3, 5, 5), (20, 4, 6, 9, 13), (35, 20, 650, 650, 650)])
def test_layers_of_an_lstm_are_those_of_torch(shape, precision):
    """In float32 to the rounding of sums; in bfloat16 to 2.5 % of the largest gradient, its numbers having 8 bits."""
    from lmbench.models.wavefront import Layer, lstm_layers

    events, rows, *sizes = shape
    torch.manual_seed(1)

    def draw(*size, scale=1.0):
        return (scale * torch.randn(size, device="cuda")).to(precision)

    x = draw(events, rows, sizes[0])
    layers = []
    for number, (e, h) in enumerate(pairwise(sizes)):
        matrices = draw(4 * h, e, scale=e**-0.5), draw(4 * h, h, scale=h**-0.5)
        many = 1 if number else events
        mask = None if number == len(sizes) - 2 else torch.rand(many, rows, h, device="cuda")
        layers.append(Layer(*matrices, draw(4 * h), draw(rows, h), draw(rows, h).float(), mask))
    factors, found = [], []
    for exact in (False, True):
        kind = torch.float64 if exact else None
        leaves = [x, *(part for layer in layers for part in layer if part is not None)]
        leaves = [leaf.to(kind or leaf.dtype).clone().requires_grad_() for leaf in leaves]
        rest = iter(leaves[1:])
        copies = [Layer(*(None if part is None else next(rest) for part in layer)) for layer in layers]
        masks = [layer.mask for layer in copies if layer.mask is not None]
        outputs, states = (by_torch if exact else lstm_layers)(leaves[0], copies)
        parts = [outputs, *(part for state in states for part in state)]
        factors = factors or [draw(*part.shape) for part in parts]
        sum((part * factor.to(part.dtype)).sum() for part, factor in zip(parts, factors, strict=True)).backward()
        found.append([*parts, *(leaf.grad for leaf in leaves if not any(leaf is mask for mask in masks))])
    for ours, theirs in zip(*found, strict=True):
        limit = (1e-5 if precision == torch.float32 else 0.025) * theirs.abs().max().item()
        np.testing.assert_allclose(ours.detach().double().cpu(), theirs.detach().cpu(), atol=limit, rtol=0)


def by_torch(x, layers):
    """The equations, layer by layer and event by event."""
    states = []
    for w, u, b, h, c, mask in layers:
        outputs = []
        for event in x:
            i, f, g, o = (event @ w.t() + b + h @ u.t()).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        states.append((h, c))
        x = torch.stack(outputs) * (1 if mask is None else mask)
    return x, states


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 3, 7), (64, 32, 384)])
def test_a_scan_on_a_card_is_that_of_a_cpu(shape):
    torch.manual_seed(1)
    decay, inputs, start = torch.rand(shape), torch.randn(shape), torch.randn(shape[1:])
    weight = torch.randn(shape)
    found = []
    for device in ("cpu", "cuda"):
        leaves = [a.to(device).clone().requires_grad_() for a in (decay, inputs, start)]
        h = linear_scan(*leaves)
        (h * weight.to(device)).sum().backward()
        found.append([h, *(leaf.grad for leaf in leaves)])
    for here, there in zip(*found, strict=True):
        np.testing.assert_allclose(there.detach().cpu(), here.detach().cpu(), atol=1e-4)
