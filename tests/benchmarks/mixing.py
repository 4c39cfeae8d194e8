"""Kept models + a corpus -> one table of the ways to mix them: valid and test perplexity, seconds, tokens a second.

    python tests/benchmarks/mixing.py RUN/models/gpt RUN/models/lstm RUN/models/ngram --corpus ptb --out FOLDER

First each model alone, then all of them by every setting of a mixture. Weights are found on the validation split, which
flatters valid perplexity; test perplexity is as for any model. Writes ``table.md`` and ``environment.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from lmbench.benchmark.environment import describe_environment
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.text import Corpus
from lmbench.models.base import LanguageModel
from lmbench.models.mixture import Mixture, MixtureConfig
from lmbench.models.registry import describe, load
from lmbench.scoring.metrics import adaptive_perplexity, perplexity
from lmbench.scoring.scorer import score
from lmbench.training.checkpoints import write_json, write_text

WAYS = {
    "linear": MixtureConfig(),
    "linear, weights by confidence": MixtureConfig(buckets="confidence"),
    "power mean": MixtureConfig(mean="power"),
}
HEADING = """\
| model | valid perplexity | test perplexity | fitted in s | scored tokens/s |
| --- | ---: | ---: | ---: | ---: |
"""


def measure(name: str, model: LanguageModel, corpus: Corpus, seconds: float | None) -> tuple[str, str]:
    """One row of the table, and what the scores are of. ``seconds``: what finding the weights took."""
    valid = score(model, corpus, "valid")
    began = time.perf_counter()
    scores = score(model, corpus)
    rate = scores.events.sum() / (time.perf_counter() - began)
    spent = "" if seconds is None else f"{seconds:.1f}"
    found = " | ".join(f"{perplexity(split) or adaptive_perplexity(split):.2f}" for split in (valid, scores))
    row = f"| {name} | {found} | {spent} | {rate:,.0f} |"
    print(row, flush=True)
    return row, str(scores.signature)


def main() -> None:
    """See the module docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of kept models, at least two")
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    corpus = load_corpus(arguments.corpus)
    parts = {folder.name: load(folder) for folder in arguments.models}
    if len(parts) < len(arguments.models):
        parser.error("two folders have one name: name them differently")
    rows = [measure(name, part, corpus, None)[0] for name, part in parts.items()]
    valid = next(iter(parts.values())).tokenizer.encode(corpus.valid.units)
    told = []
    for name, config in WAYS.items():
        mixture = Mixture(config, list(parts.values()))
        began = time.perf_counter()
        notes, _ = mixture.fit_weights(valid)
        row, signature = measure(f"all, {name}", mixture, corpus, time.perf_counter() - began)
        rows.append(row)
        told += [f"- all, {name}: {note}" for note in notes]
    models = [f"- {name}: `{describe(part)}`" for name, part in parts.items()]
    text = f"{signature}\n\n{HEADING}" + "\n".join((*rows, "", *models, "", *told)) + "\n"
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "table.md", text)
    write_json(arguments.out / "environment.json", describe_environment())


if __name__ == "__main__":
    main()
