"""A folder of a causal model, and sentences -> their log probabilities by minicons, and how long each batch size took.

    python tests/benchmarks/minicons_scores.py FOLDER SENTENCES.txt THREADS SIZES TRIED RUNS

For ``pretrained.py``, in an environment of its own: only minicons is imported. Every batch size of SIZES (8,16,...)
reads the first TRIED sentences; the fastest then reads all of them, RUNS times. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any


def total(log_probs: Any) -> float:
    """That of a sentence, its end included."""
    return log_probs.sum(0).item()


def scored(model: Any, sentences: list[str], size: int) -> tuple[float, list[float]]:
    """Seconds, and the log probability of each sentence, nats."""
    began, found = time.perf_counter(), []
    for first in range(0, len(sentences), size):
        some = sentences[first : first + size]
        found += model.sequence_score(some, reduction=total, bos_token=True, eos_token=True)
    return time.perf_counter() - began, found


def main() -> None:
    """Time and score what the command line names."""
    import torch
    from minicons.scorer import IncrementalLMScorer

    folder, file, threads, sizes, tried, runs = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(threads))
    model = IncrementalLMScorer(folder, "cpu")
    sentences = Path(file).read_text("utf-8").splitlines()
    some = sentences[: int(tried)]
    scored(model, some[:32], 8)  # the first call of all is slower
    seconds = {size: scored(model, some, size)[0] for size in map(int, sizes.split(","))}
    best = min(seconds, key=lambda size: seconds[size])
    results = [scored(model, sentences, best) for _ in range(int(runs))]
    facts = {"sizes": seconds, "best": best, "seconds": [spent for spent, _ in results], "log_probs": results[0][1]}
    print(json.dumps({**facts, "torch": torch.__version__, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
