"""Text -> seconds by stage, peak memory, tokens scored per second, of one n-gram model; KenLM beside it.

    python tests/benchmarks/ngram.py [--corpus NAME|PATH] [--order 5] [--repeat 3]

Training is timed as a whole process: start of the interpreter, imports, reading, vocabulary, ids, counts, estimates. A
folder of texts without splits, such as the novels, is read whole, as lmplz would. Scoring is timed from a file on disk
to the sums of every sentence, in one process with ``kenlm.Model.score`` on the same model and file, where the module
kenlm is installed. The fastest of the repeated runs is shown, since other work on the machine can only add to it.

lmplz, two cores, elsewhere measured: Penn Treebank 1.72 s, 788 MB; 2.5 million words of novels 5.9 s, 832 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LMPLZ = {"ptb": (1.72, 788.0), "novels": (5.9, 832.0)}
"""Seconds and MB of lmplz at order 5, by name of the corpus: the reference figures of another machine of two cores."""


def train(corpus_name: str, order: int, began: float, keep: Path) -> dict[str, float]:
    """Seconds by stage of a fit in this process, which began at ``began`` (``time.time()``), and what it reached."""
    import resource

    from lmbench.corpus.loading import load_corpus
    from lmbench.models.ngram.counting import count
    from lmbench.models.ngram.model import NGram, NGramConfig
    from lmbench.models.ngram.smoothing import modified_kneser_ney

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
    tokens = data.train
    stage("vocabulary and ids")
    text_memory = peak()
    counts = count(tokens.ids, tokens.vocabulary_size, order)
    stage("counts")
    table = modified_kneser_ney(counts)
    stage("estimates")
    figures = {"whole process": sum(stages.values()), "peak MiB before counting": text_memory, "peak MiB": peak()}
    NGram.of(table, data.tokenizer, NGramConfig(order=order)).save(keep)
    return {**stages, **figures, "train events": tokens.events, "n-grams": table.entries}


def score(folder: Path, text: Path, repeat: int) -> dict[str, float]:
    """Tokens per second from the file ``text`` to the sum of each sentence: ours, then KenLM's on the same model."""
    import numpy as np

    from lmbench.corpus import reading
    from lmbench.corpus.text import Split
    from lmbench.models.ngram.arpa.writing import write_arpa
    from lmbench.models.ngram.model import NGram
    from lmbench.scoring.scorer import score as score_text

    began = time.perf_counter()
    model = NGram.load(folder)
    figures = {"opening the model, seconds": time.perf_counter() - began}
    score_text(model, Split("warm", (" ".join(model.tokenizer.vocabulary.types[2:40_000]),)))  # compiled code is loaded
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        document, _ = reading.sentences(reading.read_text(text), "keep", text)
        scores = score_text(model, Split("test", (document,)))
        seconds.append(time.perf_counter() - began)
    ours, events = scores.nats, int(scores.events.sum())
    figures |= {"tokens scored": events, "tokens scored per second": events / min(seconds)}
    figures["perplexity of what is scored"] = float(np.exp(ours.sum() / events))
    try:
        import kenlm
    except ImportError:
        print("kenlm is not installed: pip install kenlm", file=sys.stderr)
        return figures
    write_arpa(folder / "model.arpa", model)
    peer = kenlm.Model(str(folder / "model.arpa"))
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        with open(text, encoding="utf-8") as file:
            theirs = [peer.score(line) for line in file]
        seconds.append(time.perf_counter() - began)
    figures["kenlm.Model.score, tokens per second"] = events / min(seconds)
    figures["ours / kenlm"] = figures["tokens scored per second"] / figures["kenlm.Model.score, tokens per second"]
    figures["largest difference, log10 a sentence"] = float(np.abs(ours / np.log(10) + np.array(theirs)).max())
    return figures


def prepare(name: str, folder: Path) -> tuple[str, Path]:
    """The corpus to train on, and a text file to score. A folder of plain texts becomes one training text."""
    from lmbench.corpus.loading import load_corpus
    from lmbench.corpus.places import locate

    found = locate(name)
    path = Path(name) if Path(name).exists() else found and Path(found)
    if path is not None and path.is_dir() and not list(path.glob("*train*")):
        texts = [file.read_text(encoding="utf-8") for file in sorted(path.glob("*.txt"))]
        (folder / "train.txt").write_text("\n".join(texts), encoding="utf-8")
        for split in ("valid", "test"):
            (folder / f"{split}.txt").write_text(texts[0][:20_000], encoding="utf-8")
        name = str(folder)
    corpus = load_corpus(name)
    text = folder / "score.txt"
    text.write_text("\n".join(corpus.train.documents) + "\n", encoding="utf-8")
    return name, text


def run(arguments: list[str]) -> dict[str, Any]:
    """What this file prints when it is called with ``arguments`` in a process of its own."""
    answer = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if answer.returncode:
        sys.exit(answer.stderr)
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", help="catalog name, file or folder; ptb where LMBENCH_DATA has it, else english")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3, help="processes started; the fastest is shown")
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.score is not None:
        print(json.dumps(score(given.keep, given.score, given.repeat)))
        return
    if given.began is not None:
        print(json.dumps(train(given.corpus, given.order, given.began, given.keep)))
        return
    from lmbench.corpus.places import locate

    name = given.corpus or ("ptb" if locate("ptb") else "english")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        corpus, text = prepare(name, folder)
        print(f"{name}, order {given.order}, fastest of {given.repeat}; training is a whole process, seconds by stage")
        shared = ["--corpus", corpus, "--order", str(given.order), "--keep", str(folder / "model")]
        runs = [run([*shared, "--began", repr(time.time())]) for _ in range(given.repeat)]
        figures = min(runs, key=lambda one: one["whole process"])
        seconds, megabytes = LMPLZ.get(Path(name).name, (None, None))
        if seconds and megabytes and given.order == 5:
            figures["lmplz, reference / ours: time"] = seconds / figures["whole process"]
            figures["lmplz, reference / ours: memory"] = megabytes / (figures["peak MiB"] * 1.048576)
        figures |= run([*shared, "--repeat", str(given.repeat), "--score", str(text)])
    for label, value in figures.items():
        print(f"{label:<38}{value:>16,.3f}" if isinstance(value, float) else f"{label:<38}{value:>16,}")


if __name__ == "__main__":
    main()
