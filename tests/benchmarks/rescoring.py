"""N-best lists of two recognisers -> tables of word and character error rates, first hypothesis to oracle.

    python tests/benchmarks/rescoring.py --data DATA --out results/nbest
    python tests/benchmarks/rescoring.py --data DATA --models ngram:order=4,lstm:hidden=256 --budget 60s

ATIS (``nbest/train_atis.json``, ``nbest/test_atis.json``, with scores): models learn from the references of the
training lists, and the weights are tuned on the same lists, so each fifth of them is scored by models that learned from
the other four. With the weights so tuned, models that learned from all references choose in the test lists.

Common Voice (``nbest/test_cv.json``, without scores): models learn from other text, the novels and Penn Treebank, both
reduced to lower-case words. There are no other lists, so each fifth is decided by weights from the other four. The rows
``model alone`` are choices by log probability only.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmbench import specification
from lmbench.benchmark.environment import describe_environment
from lmbench.benchmark.results import to_csv
from lmbench.corpus.reading import read_text, text_files
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.models.base import LanguageModel
from lmbench.models.registry import create
from lmbench.tasks.minimum_error import joined
from lmbench.tasks.nbest import read_nbest
from lmbench.tasks.rescoring import Rescoring, features, hypothesis_errors, normalised, rescore, tune_weights
from lmbench.training.budget import Budget
from lmbench.training.checkpoints import write_json, write_text

FOLDS = 5
HELD_OUT = 20
"""One sentence in so many is kept from training, for networks to stop by."""
COLUMNS = (
    "lists", "text", "models", "utterances", "wer_first", "wer", "wer_oracle", "difference", "low", "high", "p",
    "substitutions", "insertions", "deletions", "cer_first", "cer", "cer_oracle", "better", "worse", "weights",
)  # fmt: skip


def fitted(spec: str, sentences: Sequence[str], budget: str) -> LanguageModel:
    """A model of ``sentences``; words seen once are unknown ones."""
    valid = list(sentences[::HELD_OUT])
    train = [sentence for number, sentence in enumerate(sentences) if number % HELD_OUT]
    tokenizer = train_tokenizer("word:min_count=2", train)
    model = create(spec)
    model.fit(tokenizer.encode(train), tokenizer.encode(valid), Budget.parse(budget))
    return model


def atis(data: Path, specs: Sequence[str], budget: str) -> list[dict[str, Any]]:
    """Rows of each model, and of all together."""
    train, test = (read_nbest(data / f"nbest/{name}_atis.json")[0] for name in ("train", "test"))
    references = [entry.reference or "" for entry in train]
    parts = np.array_split(np.arange(len(train)), FOLDS)
    jackknife = []
    for part in parts:
        others = np.setdiff1d(np.arange(len(train)), part)
        jackknife.append({spec: fitted(spec, [references[i] for i in others], budget) for spec in specs})
    full = {spec: fitted(spec, references, budget) for spec in specs}
    edits = hypothesis_errors(train, "word")
    rows = []
    for chosen in combinations(specs):
        known = [
            features({spec: models[spec] for spec in chosen}, [train[i] for i in part])
            for models, part in zip(jackknife, parts, strict=True)
        ]
        tuning = tune_weights(joined(known), edits, len(chosen))
        done = rescore({spec: full[spec] for spec in chosen}, test, weights=tuning.weights)
        rows.append(row("ATIS", "ATIS", chosen, done, tuning.weights))
    return rows


def common_voice(data: Path, specs: Sequence[str], budget: str) -> list[dict[str, Any]]:
    """Rows of each model of each text, and of the models of both."""
    lists, _ = read_nbest(data / "nbest/test_cv.json")
    texts = {"novels": novels(data / "novels"), "ptb": read_text(data / "ptb/ptb.train.txt").split("\n")}
    models = {
        text: {spec: fitted(spec, [line for line in lines if line], budget) for spec in specs}
        for text, lines in texts.items()
    }
    rows = []
    for text, of_text in models.items():
        for chosen in combinations(specs):
            named = {spec: of_text[spec] for spec in chosen}
            rows.append(row("Common Voice", text, chosen, rescore(named, lists, folds=FOLDS)))
        for spec in specs:
            alone = rescore({spec: of_text[spec]}, lists, weights={spec: 1.0})
            rows.append(row("Common Voice", text, [f"{spec}, model alone"], alone))
    every = {f"{spec} of {text}": model for text, of_text in models.items() for spec, model in of_text.items()}
    rows.append(row("Common Voice", "novels and ptb", specs, rescore(every, lists, folds=FOLDS)))
    return rows


def novels(folder: Path) -> list[str]:
    """Sentences as the recogniser writes: lower-case words, without even apostrophes."""
    text = "\n".join(read_text(path) for path in text_files(folder))
    sentences = re.split(r"(?<=[.!?])[\"'”’)]*\s+|\n", text)
    return [normalised(line, ["lower", "punctuation"]).replace("'", "") for line in sentences]


def combinations(specs: Sequence[str]) -> list[list[str]]:
    """Each alone, and all together where there are several."""
    return [[spec] for spec in specs] + ([list(specs)] if len(specs) > 1 else [])


def row(
    lists: str, text: str, models: Sequence[str], done: Rescoring, weights: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """One line of the table; rates in percent."""
    difference, chosen = done.difference, done.errors("chosen")
    low, high = difference.interval if difference and difference.interval else (None, None)
    given = weights or (done.tunings[0].weights if len(done.tunings) == 1 else {})
    found = {
        "lists": lists,
        "text": text,
        "models": " + ".join(models),
        "utterances": len(done.lists),
        "wer_first": 100 * done.errors("first").rate,
        "wer": 100 * chosen.rate,
        "wer_oracle": 100 * done.errors("oracle").rate,
        "difference": 100 * difference.rate if difference else None,
        "low": None if low is None else 100 * low,
        "high": None if high is None else 100 * high,
        "p": difference.p if difference else None,
        "substitutions": int(chosen.substitutions.sum()),
        "insertions": int(chosen.insertions.sum()),
        "deletions": int(chosen.deletions.sum()),
        "cer_first": 100 * done.errors("first", "character").rate,
        "cer": 100 * done.errors("chosen", "character").rate,
        "cer_oracle": 100 * done.errors("oracle", "character").rate,
        "better": difference.better if difference else None,
        "worse": difference.worse if difference else None,
        "weights": ",".join(f"{name}={weight:.4g}" for name, weight in given.items() if weight),
    }
    print(found["lists"], found["text"], found["models"], f"{found['wer']:.2f}", file=sys.stderr)
    return found


def to_markdown(rows: Sequence[Mapping[str, Any]], budget: str) -> str:
    """The rows, a table for each kind of lists."""
    parts = [f"Word and character error rates, percent. A network is trained for {budget}."]
    for lists in dict.fromkeys(row["lists"] for row in rows):
        of = [row for row in rows if row["lists"] == lists]
        first = of[0]
        lines = [
            f"## {lists}, {first['utterances']:,} utterances",
            "",
            "| models | text | WER | less 1-best | 95 % interval | p | better, worse | CER |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
            f"| 1-best | | {first['wer_first']:.2f} | | | | | {first['cer_first']:.2f} |",
        ]
        lines += [
            f"| {r['models']} | {r['text']} | {r['wer']:.2f} | {r['difference']:+.2f} | {r['low']:+.2f} to "
            f"{r['high']:+.2f} | {r['p']:.2g} | {r['better']}, {r['worse']} | {r['cer']:.2f} |"
            for r in of
        ]
        lines.append(f"| oracle | | {first['wer_oracle']:.2f} | | | | | {first['cer_oracle']:.2f} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path(os.environ.get("LMBENCH_DATA", "data"))
    parser.add_argument(
        "--data", type=Path, default=folder, help="folder with nbest/, novels/ and ptb/ [$LMBENCH_DATA]"
    )
    parser.add_argument("--models", default="ngram:order=4", help="specifications, separated by commas")
    parser.add_argument("--budget", default="60s", help="training of each network")
    parser.add_argument("--out", type=Path, default=Path("results/nbest"), help="folder of the tables")
    given = parser.parse_args()
    if not (given.data / "nbest").is_dir():
        print(f"There are no lists to rescore in {given.data / 'nbest'}; name their folder: --data", file=sys.stderr)
        return
    specs = specification.split(given.models)
    rows = [*atis(given.data, specs, given.budget), *common_voice(given.data, specs, given.budget)]
    given.out.mkdir(parents=True, exist_ok=True)
    write_text(given.out / "table.csv", to_csv(COLUMNS, ([row[name] for name in COLUMNS] for row in rows)))
    write_text(given.out / "table.md", to_markdown(rows, given.budget))
    write_json(given.out / "environment.json", describe_environment())


if __name__ == "__main__":
    main()
