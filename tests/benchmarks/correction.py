"""Errors planted into held-out sentences -> how many are found: precision, recall, F 0.5, sentences a second.

    python tests/benchmarks/correction.py --out results/correction
    python tests/benchmarks/correction.py --corpora english,ptb,chinese,web.txt --models ngram,lstm --budget 60s

One error a sentence, of two kinds. ``spelling``: a letter of a word of four or more is left out, added, exchanged, or
changes places with the next; only where words stand between spaces. ``confusion``: a word of the sets that come with
lmbench becomes another of its set that the model knows. A change is right where it gives the sentence back.

    precision = right changes / changes    recall = right changes / errors    F 0.5 = 1.25 P R / (0.25 P + R)

F 0.5 (van Rijsbergen 1979) counts a wrong change worse than an error that stays. ``false_alarms``: changes in as many
sentences without an error.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmbench import specification
from lmbench.benchmark.environment import describe_environment
from lmbench.benchmark.results import to_csv
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.segmentation import split_words
from lmbench.models.base import LanguageModel
from lmbench.models.registry import create
from lmbench.tasks.confusions import Candidates, Sets, read_confusions, reads_words, shipped_confusions
from lmbench.tasks.correction import correct
from lmbench.training.budget import Budget
from lmbench.training.checkpoints import write_json, write_text

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SENTENCE_END = re.compile(r"(?<=[。！？])|\n")
SHORTEST, LONGEST = 4, 60
"""Words, or characters of Chinese, of the sentences that are taken."""
COLUMNS = (
    "corpus", "model", "kind", "error_rate", "errors", "changes", "right", "precision", "recall", "f05",
    "false_alarms", "sentences_per_second",
)  # fmt: skip


def misspelt(word: str, generator: np.random.Generator) -> str:
    """``word`` one edit away from itself; now and then itself, where the edit changes nothing."""
    i, letter = int(generator.integers(len(word) - 1)), LETTERS[generator.integers(len(LETTERS))]
    return (
        word[:i] + word[i + 1 :],
        word[:i] + letter + word[i:],
        word[:i] + letter + word[i + 1 :],
        word[:i] + word[i + 1] + word[i] + word[i + 2 :],
    )[generator.integers(4)]


def planted(
    sentences: Sequence[str], model: LanguageModel, kind: str, sets: Sets, number: int
) -> list[tuple[str, str]]:
    """Sentences with one error, and without it."""
    generator, types = np.random.default_rng(1), model.tokenizer.vocabulary.ids
    han = not reads_words(model.tokenizer)
    result = []
    for sentence in sentences:
        words = split_words([sentence], han=han)
        if kind == "spelling":
            wrong = {
                i: [misspelt(word, generator)] for i, word in enumerate(words) if len(word) >= 4 and word.isalpha()
            }
        else:
            others = {i: [other for other in sets.get(word, ()) if other in types] for i, word in enumerate(words)}
            wrong = {i: found for i, found in others.items() if found and words[i] in types}
        if not wrong or not SHORTEST <= len(words) <= LONGEST:
            continue
        place = list(wrong)[generator.integers(len(wrong))]
        copy = [*words[:place], wrong[place][generator.integers(len(wrong[place]))], *words[place + 1 :]]
        if copy != words:
            result.append((("" if han else " ").join(copy), ("" if han else " ").join(words)))
        if len(result) == number:
            break
    return result


def measure(model: LanguageModel, pairs: Sequence[tuple[str, str]], candidates: Candidates) -> dict[str, Any]:
    """What is found of the errors, and what is changed where there is none."""
    began = time.perf_counter()
    done = correct(model, [copy for copy, _ in pairs], candidates)
    seconds = time.perf_counter() - began
    changes = sum(len(line.changes) for line in done)
    right = sum(line.corrected == sentence for line, (_, sentence) in zip(done, pairs, strict=True))
    clean = correct(model, [sentence for _, sentence in pairs], candidates)
    precision, recall = right / max(1, changes), right / len(pairs)
    return {
        "errors": len(pairs),
        "changes": changes,
        "right": right,
        "precision": precision,
        "recall": recall,
        "f05": 1.25 * precision * recall / (0.25 * precision + recall) if right else 0.0,
        "false_alarms": sum(len(line.changes) for line in clean),
        "sentences_per_second": len(pairs) / seconds,
    }


def to_markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| corpus | model | errors | error rate | precision | recall | F 0.5 | false alarms | sentences/s |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {r['corpus']} | {r['model']} | {r['errors']} {r['kind']} | {r['error_rate']:g} | {r['precision']:.3f} | "
        f"{r['recall']:.3f} | {r['f05']:.3f} | {r['false_alarms']} | {r['sentences_per_second']:,.0f} |"
        for r in rows
    ]
    return "\n".join(["One error in each held-out sentence; false alarms in as many without one.", "", *lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", default="english,chinese", help="names or paths, separated by commas")
    parser.add_argument("--models", default="ngram", help="specifications, separated by commas")
    parser.add_argument("--budget", default="60s", help="training of each network")
    parser.add_argument("--error-rates", type=float, nargs="+", default=[0.1, 0.01, 0.001])
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--out", type=Path, help="folder of the tables")
    given = parser.parse_args()
    sets = read_confusions([shipped_confusions()])
    rows = []
    for name in given.corpora.split(","):
        corpus = load_corpus(name)
        data = corpus.tokenize("word")
        sentences = [
            part for unit in corpus.test.units for part in SENTENCE_END.split(unit) if part and "<unk>" not in part
        ]
        for spec in specification.split(given.models):
            model = create(spec)
            model.fit(data.train, data.valid, Budget.parse(given.budget))
            for kind in ("spelling", "confusion") if reads_words(model.tokenizer) else ("confusion",):
                pairs = planted(sentences, model, kind, sets, given.sentences)
                for rate in given.error_rates:
                    distance = int(kind == "spelling")
                    tried = Candidates(model.tokenizer, {} if distance else sets, distance=distance, error_rate=rate)
                    found = measure(model, pairs, tried)
                    rows.append({"corpus": corpus.name, "model": spec, "kind": kind, "error_rate": rate, **found})
                    print(rows[-1], file=sys.stderr)
    print(to_markdown(rows))
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        write_text(given.out / "table.csv", to_csv(COLUMNS, ([row[name] for name in COLUMNS] for row in rows)))
        write_text(given.out / "table.md", to_markdown(rows))
        write_json(given.out / "environment.json", describe_environment())


if __name__ == "__main__":
    main()
