"""Tokens -> seconds, peak memory and n-grams of an n-gram model, in memory and with --memory, each in its own process.

    python tests/benchmarks/scale.py [--millions 1,3,10] [--memory 2G] [--order 5] [--novels] [--folder DIR]

The texts are sampled from the embedded english grammar, once, as text files in ``--folder`` (100 million tokens: 0.5 GB
and some minutes). A process reads a whole file, numbers its words (all are kept), counts, estimates and saves.
``anonymous`` is the memory that only swapping could free (RssAnon, looked at every 10 ms); ``resident`` counts pages of
mapped files too, which the system takes back when it needs them.

``--novels`` compares with lmplz on two cores: 2.5 million words of novels 5.9 s and 832 MB, 14.2 million words 33 s and
1.87 GB. Only 2.5 million words are here, so the 14.2 are drawn from their trigrams, one word in four after the last
word alone, so that new n-grams come up: no more word types than in the novels, fewer than in a text of that length.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

LMPLZ = {"novels": (5.9, 832), "novels, drawn": (33.0, 1870)}
"""Seconds and MB of lmplz at order 5, measured on a machine of two cores."""
NOVEL_WORDS = 14_200_000


def sample_grammar(path: Path, tokens: int) -> None:
    """Write sentences of the english grammar until there are so many ``tokens``, ends of sentences counted."""
    from lmbench.corpus.grammar import load_grammar

    grammar = load_grammar("english")
    spelling = np.array([word + end for end in " \n" for _, word, _ in grammar.words], object)
    with path.open("w", encoding="utf-8") as file:
        for leaves in grammar.derive(0):
            last = np.zeros(len(leaves.words), np.int64)
            last[leaves.starts[1:] - 1] = len(grammar.words)
            file.write("".join(spelling[leaves.words + last]))
            tokens -= len(leaves.words) + len(leaves.starts) - 1
            if tokens <= 0:
                break


def sample_trigrams(path: Path, source: Path, words: int) -> None:
    """Write so many ``words`` of sentences drawn from the trigrams of ``source``, every fourth from its bigrams."""
    from lmbench.corpus.streaming import lines_of
    from lmbench.corpus.tokenizers import train_and_encode
    from lmbench.models.ngram.counting import count

    tokenizer, tokens = train_and_encode("word:min_count=1", [line for lines in lines_of(source) for line in lines])
    _, pairs, triples = count(tokens.ids, tokens.vocabulary_size, 3).orders
    sums = [np.concatenate(([0], np.cumsum(grams.raw, dtype=np.int64))) for grams in (pairs, triples)]
    spelling, random = np.array(tokenizer.vocabulary.types, object), np.random.default_rng(0)

    def draw(grams: int, contexts: np.ndarray) -> np.ndarray:
        begins, total = (pairs, triples)[grams].begins, sums[grams]
        low, high = total[begins[contexts]], total[begins[contexts + 1]]
        return np.searchsorted(total, random.integers(low, high), "right") - 1

    with path.open("w", encoding="utf-8") as file:
        while words > 0:
            rows, state = np.arange(100_000), draw(0, np.zeros(100_000, np.int64))  # state: a pair of words
            drawn = []
            while len(rows):
                drawn.append((rows, pairs.words[state]))
                going = pairs.words[state] != 0
                rows, state = rows[going], state[going]
                shorter = random.random(len(rows)) < 0.25
                longer = state[~shorter]
                state[shorter] = draw(0, pairs.words[state[shorter]])
                state[~shorter] = triples.suffix[draw(1, longer)]
            row, word = (np.concatenate(part) for part in zip(*drawn, strict=True))
            word = word[np.argsort(row, kind="stable")]
            pieces = np.where(word == 0, "\n", spelling[word] + " ")
            file.write("".join(pieces).replace(" \n", "\n"))
            words -= int((word != 0).sum())


def watch(peak: list[int]) -> None:
    """Keep the highest RssAnon of this process, in KiB, in ``peak[0]``."""
    while True:
        status = Path("/proc/self/status").read_text()
        peak[0] = max(peak[0], int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.01)


def measure(path: Path, order: int, memory: str | None, folder: Path, began: float) -> dict[str, float]:
    """Fit and save a model of all of ``path`` in this process, which began at ``began``."""
    peak = [0]
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    from lmbench.corpus.loading import load_corpus
    from lmbench.corpus.streaming import StreamedCorpus
    from lmbench.corpus.tokenizers import train_and_encode
    from lmbench.models.ngram.model import NGram, NGramConfig
    from lmbench.training.checkpoints import Checkpoints

    class Whole(StreamedCorpus):
        """All of the file is for training, its first lines for validation too, since something must be."""

        def blocks(self) -> Iterator[list[tuple[str, int, list[str]]]]:
            for parts in super().blocks():
                yield [("valid", 0, parts[0][2][:1]), *(("train", 0, lines) for _, _, lines in parts)]

    if memory:
        data = Whole.open(path, folder / "text").tokenize("word:min_count=1")
        train, valid = data.train, data.valid
    else:
        corpus = load_corpus(path)
        lines = [line for split in corpus for line in split.units]
        del corpus
        _, train = train_and_encode("word:min_count=1", lines)
        del lines
        valid = train
    read, reading_peak = time.time(), peak[0]
    model = NGram(NGramConfig(order=order, memory=memory))
    model.fit(train, valid, checkpoints=Checkpoints(folder))
    fitted = time.time()
    model.save(folder)
    return {
        "tokens": train.events,
        "n-grams": model.parameters,
        "reading": read - began,
        "estimating": fitted - read,
        "saving": time.time() - fitted,
        "seconds": time.time() - began,
        "anonymous": peak[0] / 1024,
        "anonymous while reading": reading_peak / 1024,
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def row(title: str, path: Path, order: int, memory: str | None) -> None:
    """Measure in a process of its own, and print the row."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [sys.executable, __file__, "--order", str(order), *(["--memory", memory] if memory else [])]
        hidden = ["--measure", str(path), "--folder", folder, "--began", repr(time.time())]
        answer = subprocess.run([*command, *hidden], capture_output=True, text=True, check=False)
    if answer.returncode:
        print(f"{title:<22} failed: {answer.stderr.strip().splitlines()[-1]}")
        return
    found = json.loads(answer.stdout.splitlines()[-1])
    columns = [f"{found[name]:>13,.0f}" for name in ("tokens", "n-grams")]
    columns += [f"{found[name]:>11,.1f}" for name in ("reading", "estimating", "saving", "seconds")]
    columns += [f"{found[name]:>11,.0f}" for name in ("anonymous", "resident")]
    print(f"{title:<22}{memory or 'in memory':>10}{''.join(columns)}", flush=True)
    if title in LMPLZ and order == 5:
        seconds, megabytes = LMPLZ[title]
        mebibytes = megabytes / 1.048576
        share = f"{found['seconds'] / seconds:.2f} of its time, {found['resident'] / mebibytes:.2f} of its memory"
        print(f"{'':<22}{'lmplz':>10}{'':>59}{seconds:>11.1f}{'':>11}{mebibytes:>11,.0f}   {share}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", default="1,3,10", help="millions of tokens; 1,3,10,30,100 takes some minutes")
    parser.add_argument("--memory", help="of the second measurement; 2G unless it is given")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--novels", action="store_true", help="compare with lmplz on the novels under LMBENCH_DATA")
    parser.add_argument("--folder", type=Path, help="for the texts and models; the texts stay there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(
            json.dumps(measure(arguments.measure, arguments.order, arguments.memory, arguments.folder, arguments.began))
        )
        return
    memory = arguments.memory or "2G"
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        header = ["reading", "estimating", "saving", "seconds", "anonymous", "resident"]
        print(f"order {arguments.order}; seconds by stage and in all, peak memory in MiB")
        print(f"{'':<22}{'':>10}{'tokens':>13}{'n-grams':>13}{''.join(f'{name:>11}' for name in header)}", flush=True)
        for title, path in texts(arguments, folder):
            for limit in (None, memory):
                row(title, path, arguments.order, limit)


def texts(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    """The texts to be measured: title and file, made where they are missing."""
    if arguments.novels:
        from lmbench.corpus.places import locate

        found = locate("novels")
        if found is None:
            sys.exit("There is no folder novels under LMBENCH_DATA.")
        novels, drawn = folder / "novels.txt", folder / "drawn.txt"
        if not novels.exists():
            novels.write_bytes(b"\n".join(path.read_bytes() for path in sorted(found.glob("*.txt"))))
        yield "novels", novels
        if not drawn.exists():
            sample_trigrams(drawn, novels, NOVEL_WORDS)
        yield "novels, drawn", drawn
        return
    for millions in map(float, arguments.millions.split(",")):
        path = folder / f"english-{millions:g}.txt"
        if not path.exists():
            sample_grammar(path, int(millions * 1e6))
        yield f"english, {millions:g} million", path


if __name__ == "__main__":
    main()
