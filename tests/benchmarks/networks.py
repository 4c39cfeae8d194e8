"""Training and scoring rates of the networks, beside a plain LSTM and beside the matrix rate of the machine.

    python tests/benchmarks/networks.py [MODEL...] [--steps 20] [--device cpu] [--out FILE.md]

Random tokens: the time of a step does not depend on what the tokens are. Each figure is the fastest of the steps; run
it on a quiet machine. The last column counts, for each event, two operations for each weight that it is multiplied by,
three times (forward, and backward to inputs and weights), attention and all else aside, and divides by what the machine
reaches on a 2048 x 2048 product in the same precision. Steps, products and those of a plain LSTM take turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmbench.benchmark.environment import describe_environment
from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import WordConfig, WordTokenizer
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.models import registry
from lmbench.models.neural import NeuralModel
from lmbench.training.compilation import compiled
from lmbench.training.devices import reuse_memory
from lmbench.training.optimizers import build_optimizer, update
from lmbench.training.replay import Replay

VOCABULARY = 10_000
FAMILIES = {
    "ffnn": "ffnn:width=256:order=6:batch_size=20:sequence_length=35",
    "rnn": "rnn:hidden=256",
    "gru": "gru:hidden=256",
    "lstm": "lstm:hidden=256",
    "mingru": "mingru:width=128",
    "mamba": "mamba:width=128",
    "cnn": "cnn:width=128",
    "gpt": "gpt:width=128",
    "bert": "bert:width=128",
}
"""About the sizes that each takes for Penn Treebank and some minutes."""
MODELS = [
    *FAMILIES.values(),
    "lstm:hidden=200:layers=2",
    "lstm:hidden=650:layers=2",
    "gpt:width=384",
    "gpt:width=384:batch_size=32:sequence_length=128",
    *(f"{FAMILIES[name]}:compile=yes" for name in ("ffnn", "lstm", "mingru", "mamba", "cnn", "gpt", "bert")),
    "gpt:width=384:compile=yes",
    "gpt:width=384:batch_size=32:sequence_length=128:compile=yes",
]
PLAIN = {"lstm:hidden=256": (256, 1), "lstm:hidden=200:layers=2": (200, 2), "lstm:hidden=650:layers=2": (650, 2)}
"""Cells and layers of the plain LSTM that each is compared with."""


class Plain(nn.Module):
    """Embedding, ``nn.LSTM``, ``nn.Dropout``, the whole softmax at once in float32."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, hidden)
        self.lstm, self.drop = nn.LSTM(hidden, hidden, layers), nn.Dropout(0.2)
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def loss(self, rows: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.drop(self.embedding(rows[:, :-1].t())))
        logits = self.drop(hidden) @ self.embedding.weight.t() + self.bias
        return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].t().flatten())


@contextmanager
def training(
    network: nn.Module, loss: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int]
) -> Iterator[Callable[[], None]]:
    """A training step on rows of ``shape``, within the context; replayed where training replays it."""
    device = next(network.parameters()).device
    replay = None
    if device.type == "cuda" and getattr(network, "replayable", False):
        replay = Replay(lambda rows, state: (loss(rows), state), network.parameters(), device)
    optimizer = build_optimizer("sgd", network.train(), 0.1, 0.0)
    rows = torch.randint(1, VOCABULARY, (shape[0], shape[1] + 1), device=device)

    def step() -> None:
        optimizer.zero_grad()
        if replay is None:
            loss(rows).backward()
        else:
            replay(rows, None, 1.0)
        update(optimizer, 0.1, 0.25)

    with replay.turn() if replay is not None else nullcontext():
        yield step


def product(precision: torch.dtype, device: torch.device) -> Callable[[], torch.Tensor]:
    """What multiplies two matrices of 2048 x 2048."""
    matrix = torch.randn(2048, 2048, device=device).to(precision)
    return lambda: matrix @ matrix


def fastest(n: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of each, the fastest of ``n``. They take turns: a machine is now faster, now slower."""
    rounds = [[_timed(work) for work in works] for _ in range(n)]
    return [min(seconds) for seconds in zip(*rounds, strict=True)]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measured(spec: str, n: int, device: torch.device) -> tuple[str, str | None]:
    """A row of the table and, where there is a plain LSTM of the same size, a line of how much longer that takes.

    The steps of both and the product take turns. The fastest is never that in which torch.compile builds.
    """
    torch.manual_seed(1)
    tokenizer = WordTokenizer(WordConfig(), Vocabulary(("</s>", *(f"w{n}" for n in range(VOCABULARY - 1)))))
    left = "" if "dropout" in spec else ":dropout=0.2"
    model = registry.create(f"{spec}{left}:device={device}")
    if not isinstance(model, NeuralModel):
        raise SystemExit(f"{spec} is no network.")
    usual = model.usual(False, model.width or 0, 5.0)
    left_open = {name: value for name, value in usual.items() if getattr(model.config, name) is None}
    model.config = dataclasses.replace(model.config, **left_open)
    model.tokenizer = tokenizer
    network = model.build(VOCABULARY)
    model._place(network)
    shape, size = (model.config.batch_size, model.config.sequence_length), PLAIN.get(spec)
    plain = Plain(*size).to(device) if size else None
    with (
        compiled(network) if model.config.compile else nullcontext(),
        training(network, lambda rows: network.loss(rows)[0], shape) as step,
        training(plain, plain.loss, shape) if plain else nullcontext() as plain_step,
    ):
        matrix = product(network.precision, device)
        works = (matrix, step, plain_step) if plain_step else (matrix, step)
        of_product, seconds, *of_plain = fastest(n, *works)
    rate, events = 2 * 2048**3 / of_product, shape[0] * shape[1]
    weights = sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)
    weights -= 0 if network.output is None else network.embedding.weight.numel()
    share = 6 * events * weights / seconds / rate
    count = 2_000 if model.reads == "both" else 20_000
    row = np.concatenate(([0], np.random.default_rng(1).integers(1, VOCABULARY, count)))
    if model.reads == "both":
        row[::25] = 0  # sentences: what a masked model reads for each token
    scoring = count / _timed(lambda: model.log_probs(Batch.of([row])))
    cells = (
        spec,
        str(network.precision).removeprefix("torch."),
        f"{1000 * seconds:.1f}",
        f"{events / seconds:,.0f}",
        f"{scoring:,.0f}",
        f"{rate / 1e9:,.0f}",
        f"{100 * share:.0f} %",
    )
    line = None
    if size:
        line = (
            f"A step of nn.LSTM and F.cross_entropy in float32, {size[1]} x {size[0]}, {shape[0]} rows of {shape[1]}: "
            f"{1000 * of_plain[0]:.1f} ms; `{spec}` is {of_plain[0] / seconds:.2f} times as fast."
        )
    return "| " + " | ".join(cells) + " |", line


def main() -> None:
    """Print the table and the ratios to the plain LSTM; with --out, write them as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help="Other models than the usual ones.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", type=torch.device, default="cpu")
    given = parser.parse_args()
    reuse_memory()
    on_cpu = given.device.type == "cpu"
    lines, ratios = [], []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    about = describe_environment()
    name = (
        f"{about['processor']}, {torch.get_num_threads()} threads"
        if on_cpu
        else torch.cuda.get_device_name(given.device)
    )
    features = ", " + " ".join(about["vector_extensions"]) if on_cpu and about["vector_extensions"] else ""
    say(f"torch {torch.__version__}, {name}{features}\n")
    say("| model | precision | ms a step | trained tokens/s | scored tokens/s | product, GFLOP/s | of that |")
    say("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for spec in given.models:
        row, ratio = measured(spec, given.steps, given.device)
        say(row)
        ratios += [ratio] if ratio else []
    say("")
    for ratio in ratios:
        say(ratio)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
