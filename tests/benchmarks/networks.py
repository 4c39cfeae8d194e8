"""Training and scoring rates of the networks, beside a plain LSTM and beside the matrix rate of the machine.

    python tests/benchmarks/networks.py [MODEL...] [--steps 20] [--device cpu] [--out FILE.md]

Random tokens: the time of a step does not depend on what the tokens are. Each figure is the fastest of the steps; run
it on a quiet machine. The share of the matrix rate counts, for each event, two operations for each weight that it is
multiplied by, three times (forward, and backward to inputs and weights), attention and all else aside, and divides by
what the machine reaches on a 2048 x 2048 product in the same precision.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmbench.corpus.batches import Batch
from lmbench.corpus.tokenizers import WordConfig, WordTokenizer
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.models import registry
from lmbench.models.neural import NeuralModel
from lmbench.training.compilation import compiled
from lmbench.training.devices import resolve_precision, reuse_memory
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
    *(f"{FAMILIES[name]}:compile=yes" for name in ("gpt", "mingru", "cnn", "lstm")),
]


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


def matrix_rate(precision: torch.dtype, device: str) -> float:
    """Floating-point operations a second of a 2048 x 2048 product."""
    matrix = torch.randn(2048, 2048, device=device).to(precision)
    return 2 * 2048**3 / min(_timed(lambda: matrix @ matrix) for _ in range(10))


def step_seconds(
    network: nn.Module, loss: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int], n: int
) -> float:
    """Seconds of the fastest of ``n`` training steps on rows of ``shape``, replayed where training replays them."""
    device = next(network.parameters()).device
    replay = None
    if device.type == "cuda" and getattr(network, "replayable", False):
        replay = Replay(lambda rows, state: (loss(rows), state), device)
    optimizer = build_optimizer("sgd", network.train(), 0.1, 0.0)
    rows = torch.randint(1, VOCABULARY, (shape[0], shape[1] + 1), device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=replay is None)
        if replay is None:
            loss(rows).backward()
        else:
            replay(rows, None, 1.0)
        update(optimizer, 0.1, 0.25)

    with replay.turn() if replay is not None else nullcontext():
        return min(_timed(step) for _ in range(n))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measured(spec: str, rates: dict[torch.dtype, float], n: int, device: str) -> tuple[str, float]:
    """A row of the table, and the seconds of a step, the fastest of ``n``: never that in which torch.compile builds."""
    torch.manual_seed(1)
    tokenizer = WordTokenizer(WordConfig(), Vocabulary(["</s>", *(f"w{n}" for n in range(VOCABULARY - 1))]))
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
    shape = model.config.batch_size, model.config.sequence_length
    with compiled(network) if model.config.compile else nullcontext():
        seconds = step_seconds(network, lambda rows: network.loss(rows)[0], shape, n)
    events = shape[0] * shape[1]
    weights = sum(weight.numel() for weight in network.parameters() if weight.dim() > 1)
    weights -= 0 if network.output is None else network.embedding.weight.numel()
    share = 6 * events * weights / seconds / rates[network.precision]
    count = 2_000 if model.reads == "both" else 20_000
    row = np.concatenate(([0], np.random.default_rng(1).integers(1, VOCABULARY, count)))
    if model.reads == "both":
        row[::25] = 0  # sentences: what a masked model reads for each token
    scoring = count / _timed(lambda: model.log_probs(Batch.of([row])))
    precision = str(network.precision).removeprefix("torch.")
    cells = (
        spec,
        precision,
        f"{1000 * seconds:.1f}",
        f"{events / seconds:,.0f}",
        f"{scoring:,.0f}",
        f"{100 * share:.0f} %",
    )
    return "| " + " | ".join(cells) + " |", seconds


def main() -> None:
    """Print the table and the ratios to the plain LSTM; with --out, write them as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL", help="Other models than the usual ones.")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    reuse_memory()
    native = resolve_precision("auto", torch.device(given.device))  # where it is not bfloat16, that takes minutes
    rates = {precision: matrix_rate(precision, given.device) for precision in dict.fromkeys((torch.float32, native))}
    machine = (
        f"{torch.get_num_threads()} threads" if given.device == "cpu" else torch.cuda.get_device_name(given.device)
    )
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    say(
        f"torch {torch.__version__}, {machine}; product of 2048 x 2048: "
        + ", ".join(f"{str(name).removeprefix('torch.')} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items())
        + "\n"
    )
    say("| model | precision | ms a step | trained tokens/s | scored tokens/s | of the matrix rate |")
    say("| --- | --- | ---: | ---: | ---: | ---: |")
    ours: dict[str, float] = {}
    for spec in given.models:
        row, ours[spec] = measured(spec, rates, given.steps, given.device)
        say(row)
    say("")
    for hidden, layers in ((200, 2), (256, 1), (650, 2)):
        spec = f"lstm:hidden={hidden}" + (f":layers={layers}" if layers > 1 else "")
        if spec not in ours:
            continue
        plain = Plain(hidden, layers).to(given.device)
        reference = step_seconds(plain, plain.loss, (20, 35), given.steps)
        say(
            f"A step of nn.LSTM and F.cross_entropy in float32, {layers} x {hidden}, 20 rows of 35: "
            f"{1000 * reference:.1f} ms; `{spec}` is {reference / ours[spec]:.2f} times as fast."
        )
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
