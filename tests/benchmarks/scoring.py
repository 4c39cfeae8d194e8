"""Kept models -> seconds until ``score -`` answers its first line, and sentences scored a second.

    python tests/benchmarks/scoring.py [MODEL ...] [--lines 10000]

Models are specifications, trained for a moment on the English grammar, or folders of kept models. The first answer is
timed as a user meets it, in a process of its own: from the heading, which is printed once the model is loaded, to the
row of the first line, which is sent then. Speed is that of the whole process, loading included, over a file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lmbench.corpus.loading import load_corpus

MODELS = ("ngram", "lstm", "gpt")
COMMAND = (sys.executable, "-m", "lmbench", "score")
DETAILS = ((), ("--per-token",), ("--per-word",))


def main() -> None:
    """Measure, and print a row for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--lines", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        units = load_corpus("english").train.units
        text = Path(place) / "text.txt"
        text.write_text("\n".join(units[i % len(units)] for i in range(given.lines)) + "\n", encoding="utf-8")
        print(f"| model | loaded, s | first answer, s | {given.lines:,} sentences, s | per token, s | per word, s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for number, spec in enumerate(given.models):
            folder = Path(spec)
            if not (folder / "model.json").is_file():
                folder = Path(place) / str(number)
                train(spec, folder)
            loaded, answered = first_answer(folder, units[0])
            spent = [f"{scored(folder, text, options):.1f}" for options in DETAILS]
            print(f"| {spec} | {loaded:.2f} | {answered:.2f} | {' | '.join(spent)} |", flush=True)


def train(spec: str, folder: Path) -> None:
    """A model that has learned a little, kept in ``folder``."""
    arguments = ["train", spec, "--corpus", "english", "--budget", "20steps", "--out", str(folder)]
    subprocess.run([sys.executable, "-m", "lmbench", *arguments], check=True, capture_output=True)


def first_answer(folder: Path, line: str) -> tuple[float, float]:
    """Seconds until the model is loaded, and from there until the first line is answered."""
    began = time.perf_counter()
    with subprocess.Popen(
        [*COMMAND, str(folder), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        if running.stdin is None or running.stdout is None:
            raise SystemExit("The process has no streams.")
        running.stdout.readline()
        loaded = time.perf_counter()
        running.stdin.write(line + "\n")
        running.stdin.flush()
        row = running.stdout.readline()
        answered = time.perf_counter()
        running.communicate()
    if line not in row:
        raise SystemExit(f"{folder} answered {row!r} to {line!r}.")
    return loaded - began, answered - loaded


def scored(folder: Path, text: Path, options: tuple[str, ...]) -> float:
    """Seconds of a process that scores ``text``."""
    began = time.perf_counter()
    subprocess.run([*COMMAND, str(folder), str(text), *options], check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
