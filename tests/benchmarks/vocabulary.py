"""Size of the vocabulary, family, softmax -> peak memory and rate of training and of scoring, each in its own process.

    python tests/benchmarks/vocabulary.py [--types 10000,30000,100000] [--steps 10]

Generated text whose words follow Zipf's law, one in four told by the word before it. The sizes are those of the
reference runs on Penn Treebank words: ``lstm`` of 256, ``gpt`` of 4 x 128. A process trains for so many steps with
validations in between, keeping its state on the disk, then scores 5,000 events; peaks are of its whole resident memory,
of which some 300 MiB are the interpreter and torch. The loss is the best of its validations. Rates are those of
the fastest of five steps, and of scoring; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lmbench.benchmark.environment import PeakMemory
from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import WordConfig, WordTokenizer
from lmbench.corpus.vocabulary import Vocabulary
from lmbench.models.neural import NeuralModel
from lmbench.models.registry import create
from lmbench.training.budget import Budget
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.optimizers import build_optimizer, update

SIZES = {"lstm": "lstm:hidden=256", "gpt": "gpt:width=128"}
COLUMNS = ("parameters", "training MiB", "scoring MiB", "trained/s", "scored/s", "loss")


def zipfian(types: int, events: int) -> np.ndarray:
    """int32: 0 < ids < ``types``, p(id) ~ 1 / id; a quarter follow from the id before, a tenth are boundaries."""
    random = np.random.default_rng(1)
    weights = 1.0 / np.arange(1, types)
    ids = 1 + np.searchsorted(np.cumsum(weights / weights.sum()), random.random(events)).clip(max=types - 2)
    told = random.random(events) < 0.25
    told[0] = False
    ids[told] = 1 + (7919 * ids[np.flatnonzero(told) - 1]) % (types - 1)
    ids[random.random(events) < 0.1] = ids[0] = ids[-1] = 0
    return ids.astype(np.int32)


def measure(spec: str, types: int, steps: int) -> dict[str, float]:
    """Train and score a model in this process."""
    tokenizer = WordTokenizer(WordConfig(), Vocabulary(("</s>", "<unk>", *(f"w{n}" for n in range(2, types)))))
    train, valid = (Tokens(zipfian(types, events), tokenizer) for events in (200_000, 2_000))
    model = create(spec)
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as training:
        report = model.fit(train, valid, Budget(steps=steps), checkpoints=Checkpoints(Path(folder)))
    row = zipfian(types, 5_000).astype(np.int64)
    with PeakMemory() as scoring:
        began = time.perf_counter()
        model.log_probs(Batch.of([row]))
        seconds = time.perf_counter() - began
    rate, loss = training_rate(model, train.ids), report.valid_loss
    found = model.parameters, training.mib, scoring.mib, rate, 5_000 / seconds, loss
    return dict(zip(COLUMNS, found, strict=True))


def training_rate(model: NeuralModel, ids: np.ndarray) -> float:
    """Tokens a second of the fastest of five steps."""
    plan, network = model.config, model._fitted().train()
    optimizer = build_optimizer(plan.optimizer, network, 1e-3, plan.weight_decay)
    shape = plan.batch_size, plan.sequence_length + 1
    rows = torch.from_numpy(ids[: shape[0] * shape[1]].reshape(shape).astype(np.int64))
    fastest = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        network.loss(rows)[0].backward()
        update(optimizer, 1e-3, plan.clip)
        fastest = min(fastest, time.perf_counter() - began)
    return plan.batch_size * plan.sequence_length / fastest


def main() -> None:
    """Print one row a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--types", default="10000,30000,100000")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        spec, types = arguments.measure
        print(json.dumps(measure(spec, int(types), arguments.steps)))
        return
    print(f"{'types':>8} {'family':<6}{'softmax':<10}{''.join(f'{name:>14}' for name in COLUMNS)}", flush=True)
    for types in arguments.types.split(","):
        for family, spec in SIZES.items():
            for softmax in ("full", "adaptive"):
                asked = [f"{spec}:softmax={softmax}:device=cpu", types, "--steps", str(arguments.steps)]
                command = [sys.executable, __file__, "--measure", *asked]
                answer = subprocess.run(command, capture_output=True, text=True, check=False)
                if answer.returncode:
                    print(f"{types:>8} {family:<6}{softmax:<10} failed: {answer.stderr.strip().splitlines()[-1]}")
                    continue
                found = json.loads(answer.stdout.splitlines()[-1])
                whole = "".join(f"{found[name]:>14,.0f}" for name in COLUMNS[:-1])
                print(f"{types:>8} {family:<6}{softmax:<10}{whole}{found['loss']:>14.3f}", flush=True)


if __name__ == "__main__":
    main()
