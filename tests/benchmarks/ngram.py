"""Text -> seconds by stage, peak memory, tokens scored per second, of one n-gram model in a process of its own.

    python tests/benchmarks/ngram.py [--corpus NAME|PATH] [--order 5] [--repeat 3]

The whole process is timed: start of the interpreter, imports, reading, vocabulary, ids, counts, estimates. The time of
the fastest run is shown, since other work on the machine can only add to it. lmplz needs 1.72 s and 788 MB for PTB
on two cores; the goal is 1.5 s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time


def measure(corpus_name: str, order: int, began: float) -> dict[str, float]:
    """Seconds by stage of a fit in this process, which began at ``began`` (``time.time()``), and what it reached."""
    import resource

    import numpy as np

    from lmbench.corpus.loading import load_corpus
    from lmbench.models.ngram.counting import count
    from lmbench.models.ngram.model import NGram, NGramConfig
    from lmbench.models.ngram.smoothing import modified_kneser_ney
    from lmbench.scoring.scorer import token_log_probs

    stages: dict[str, float] = {}
    last = began

    def stage(name: str) -> None:
        nonlocal last
        now = time.time()
        stages[name], last = now - last, now

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    stage("start and imports")
    corpus = load_corpus(corpus_name)
    stage("reading")
    data = corpus.tokenize("word")
    train = data.train
    stage("vocabulary and ids")
    text_memory = peak()
    counts = count(train.ids, train.vocabulary_size, order)
    stage("counts")
    table = modified_kneser_ney(counts)
    stage("estimates")
    figures = {"whole process": sum(stages.values()), "peak MiB before counting": text_memory, "peak MiB": peak()}
    model, test = NGram.of(table, data.tokenizer, NGramConfig(order=order)), data.test
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        nats = -token_log_probs(model, test, "sentence")
        best = min(best, time.perf_counter() - start)
    return {
        **stages,
        **figures,
        "train events": train.events,
        "n-grams": table.entries,
        "test events": test.events,
        "tokens scored per second": test.events / best,
        "test perplexity": float(np.exp(nats.mean())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="catalog name, file or folder; ptb where LMBENCH_DATA has it, else english")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3, help="processes started; the fastest is shown")
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.began is not None:
        print(json.dumps(measure(arguments.corpus, arguments.order, arguments.began)))
        return
    from lmbench.corpus.places import locate

    name = arguments.corpus or ("ptb" if locate("ptb") else "english")
    print(f"{name}, order {arguments.order}, fastest of {arguments.repeat} processes; seconds by stage")
    runs = []
    for _ in range(arguments.repeat):
        command = [sys.executable, __file__, "--corpus", name, "--order", str(arguments.order)]
        answer = subprocess.run([*command, "--began", repr(time.time())], capture_output=True, text=True)
        if answer.returncode:
            sys.exit(answer.stderr)
        runs.append(json.loads(answer.stdout.splitlines()[-1]))
    for name, value in min(runs, key=lambda run: run["whole process"]).items():
        print(f"{name:<26}{value:>14,.3f}" if isinstance(value, float) else f"{name:<26}{value:>14,}")


if __name__ == "__main__":
    main()
