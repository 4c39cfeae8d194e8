"""Training and scoring rates of the networks, beside the same LSTM written plainly.

    python tests/benchmarks/networks.py [--steps 20]

Random tokens, vocabulary of 10,000: the time of a step does not depend on what the tokens are. Each figure is the
fastest of the steps; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lmbench.corpus.batches import Batch
from lmbench.models.gpt import GPT, GPTConfig
from lmbench.models.neural import NeuralModel
from lmbench.models.recurrent import LSTM, RecurrentConfig
from lmbench.training.optimizers import build_optimizer

VOCABULARY = 10_000


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


def step_seconds(
    network: nn.Module, loss: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int], n: int
) -> float:
    """Seconds of the fastest of ``n`` training steps on rows of ``shape``."""
    optimizer = build_optimizer("sgd", network.train(), 0.1, 0.0)
    rows = torch.randint(1, VOCABULARY, (shape[0], shape[1] + 1))
    fastest = float("inf")
    for _ in range(n):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss(rows).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.25)
        optimizer.step()
        fastest = min(fastest, time.perf_counter() - began)
    return fastest


def report(name: str, model: NeuralModel, shape: tuple[int, int], n: int) -> float:
    """Print the rates of one model; returns its seconds a step."""
    torch.manual_seed(1)
    model._place(model.build(VOCABULARY))
    network = model._fitted()
    seconds = step_seconds(network, lambda rows: network.loss(rows)[0], shape, n)
    events = shape[0] * shape[1]
    row = np.concatenate(([0], np.random.default_rng(1).integers(1, VOCABULARY, 20_000)))
    began = time.perf_counter()
    model.log_probs(Batch.of([row]))
    scoring = 20_000 / (time.perf_counter() - began)
    print(f"{name:<24}{1000 * seconds:8.1f} ms a step {events / seconds:10,.0f} tokens/s {scoring:10,.0f} scored/s")
    return seconds


def main() -> None:
    """Print one line a model, and how much faster the LSTM is than the plain one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for hidden, layers in ((256, 1), (200, 2)):
        plain = Plain(hidden, layers)
        reference = step_seconds(plain, plain.loss, (20, 35), steps)
        print(
            f"{f'plain LSTM {layers} x {hidden}':<24}{1000 * reference:8.1f} ms a step"
            f" {700 / reference:10,.0f} tokens/s"
        )
        ours = report(
            f"lstm {layers} x {hidden}",
            LSTM(RecurrentConfig(hidden=hidden, layers=layers, dropout=0.2)),
            (20, 35),
            steps,
        )
        print(f"{'':<24}{reference / ours:8.2f} times as fast")
    for width in (128, 256):
        config = GPTConfig(width=width, heads=width // 64, sequence_length=64, dropout=0.1)
        report(f"gpt 4 x {width}", GPT(config), (16, 64), steps)


if __name__ == "__main__":
    main()
