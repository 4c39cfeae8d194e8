"""What each of two processes does for test_distributed.py: a folder of models to score -> answers beside them."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from lmbench.corpus.batches import Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.registry import create, load
from lmbench.scoring.scorer import token_log_probs
from lmbench.training.budget import Budget, Silent
from lmbench.training.checkpoints import Checkpoints
from lmbench.training.distributed import SHARD, processes

GPT = "gpt:width=8:heads=2:layers=2:batch_size=4:sequence_length=5:device=cpu:precision=float32:dropout=0"
LSTM = "lstm:hidden=8:batch_size=4:sequence_length=5:device=cpu:precision=float32:dropout=0:learning_rate=1"
TRAINED = {
    "gpt": GPT,
    "gpt-accumulated": GPT + ":accumulation=2:average_decay=0.9",
    "lstm": LSTM,
    "lstm-accumulated": LSTM + ":accumulation=2:label_smoothing=0.1",
}
SHARDED = {"gpt": GPT + ":accumulation=2:optimizer=adamw", "lstm": LSTM + ":layers=2"}
SCORED = ("ngram", "ngram+lstm", "lstm", "gpt", "ffnn", "bert")
DROPPED = LSTM.replace("dropout=0", "dropout=0.3")
STEPS = Budget(steps=12)


def tokens() -> tuple[Tokens, Tokens, Tokens]:
    """To learn from, to validate on, to score."""
    random = np.random.default_rng(5)
    units = [" ".join(random.choice(list("abcdef"), 6)) for _ in range(280)]
    tokenizer = train_tokenizer("word", units)
    return tokenizer.encode(units[:60]), tokenizer.encode(units[60:80]), tokenizer.encode(units[80:])


class Interrupt(Silent):
    """Sends one signal, to process 1 alone."""

    sent = False

    def update(self, fraction: float, **figures: float) -> None:
        if figures["step"] >= 5 and processes().rank == 1 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


def train(folder: Path, kept: str, specs: dict[str, str]) -> None:
    for name, spec in specs.items():
        model = create(spec)
        model.fit(*tokens()[:2], STEPS)
        model.save(folder / f"{kept}-{name}")


def interrupt_and_go_on(folder: Path, kept: str, spec: str) -> None:
    whole, cut, rest = create(spec), create(spec), create(spec)
    whole.fit(*tokens()[:2], STEPS)
    try:
        cut.fit(*tokens()[:2], STEPS, Interrupt(), Checkpoints(folder / kept))
    except KeyboardInterrupt:
        processes().wait()
        rest.fit(*tokens()[:2], STEPS, None, Checkpoints(folder / kept))
    whole.save(folder / f"{kept}-whole")
    rest.save(folder / f"{kept}-rest")


def main(folder: Path) -> None:
    train(folder, "two", TRAINED)
    interrupt_and_go_on(folder, "cut", DROPPED)
    text = tokens()[2]
    for name in SCORED:
        for context in ("sentence", "stream"):
            answer = token_log_probs(load(folder / f"scored-{name}"), text, context)  # type: ignore[arg-type]
            if processes().leads:
                np.save(folder / f"{name}.{context}.npy", answer)
    timed = create(LSTM).fit(*tokens()[:2], Budget(seconds=0.5))  # the clock of process 0 decides
    (folder / f"timed.{processes().rank}.json").write_text(json.dumps(timed.steps))
    os.environ[SHARD] = "1"
    processes.cache_clear()
    train(folder, "sharded", SHARDED)
    interrupt_and_go_on(folder, "sharded-cut", GPT.replace("dropout=0", "dropout=0.3"))
    processes().leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
