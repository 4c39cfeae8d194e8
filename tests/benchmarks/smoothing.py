"""Text -> one table of all smoothing methods: valid and test perplexity, stored n-grams, seconds, at every order.

    python tests/benchmarks/smoothing.py --corpus ptb --out results/reference/smoothing

The text is counted anew for each model, as a user would have it; of ``--repeat`` fits the fastest gives the seconds of
counting and estimation. Writes ``table.csv``, a row a model, ``table.md``, a part a quantity, and ``environment.json``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from lmbench.benchmark.environment import describe_environment
from lmbench.benchmark.results import to_csv
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.text import Corpus, TokenizedCorpus
from lmbench.models.ngram.methods import METHODS
from lmbench.models.registry import create
from lmbench.scoring import metrics
from lmbench.scoring.scorer import score
from lmbench.training.checkpoints import write_json, write_text

COLUMNS = (
    "smoothing", "form", "order", "valid_perplexity", "test_perplexity", "valid_pseudo_perplexity",
    "test_pseudo_perplexity", "ngrams", "seconds", "specification", "signature",
)  # fmt: skip
PARTS = {
    "test_perplexity": "Test perplexity",
    "valid_perplexity": "Valid perplexity",
    "ngrams": "Stored n-grams",
    "seconds": "Seconds of counting and estimation",
}
FORMATS = {"ngrams": "{:,}", "seconds": "{:.2f}"}
NOTES = """\
mle gives some token probability 0, so its perplexity is infinite (inf). stupid-backoff is no distribution: the numbers
in brackets are the same formula of its scores, comparable with no other. k of add-k and the weights of jelinek-mercer
are fitted on the valid split, so their valid perplexity flatters them. From order 3 on, good-turing drops what was seen
once.
"""


def measure(name: str, form: str, order: int, corpus: Corpus, data: TokenizedCorpus, repeat: int) -> dict[str, Any]:
    """One row of the table."""
    several = len(METHODS[name].forms) > 1
    specification = f"ngram:order={order}:smoothing={name}" + (f":form={form}" if several else "")
    seconds = []
    for _ in range(repeat):
        model = create(specification)
        seconds.append(model.fit(data.train, data.valid).train_seconds)
    valid, test = (score(model, corpus, split) for split in ("valid", "test"))
    return {
        "smoothing": name,
        "form": form if several else "",
        "order": order,
        "valid_perplexity": metrics.perplexity(valid),
        "test_perplexity": metrics.perplexity(test),
        "valid_pseudo_perplexity": metrics.pseudo_perplexity(valid),
        "test_pseudo_perplexity": metrics.pseudo_perplexity(test),
        "ngrams": model.parameters,
        "seconds": min(seconds),
        "specification": specification,
        "signature": str(test.signature),
    }


def to_markdown(rows: list[dict[str, Any]], orders: list[int]) -> str:
    """A table for each of ``PARTS``, orders side by side, the best perplexity of each in bold."""
    methods = list(dict.fromkeys((row["smoothing"], row["form"]) for row in rows))
    found = {(row["smoothing"], row["form"], row["order"]): row for row in rows}
    signature = rows[0]["signature"]
    parts = [f"All smoothing methods of `ngram`, `{signature}`."]
    for column, title in PARTS.items():
        best = {order: min(r[column] or float("inf") for r in rows if r["order"] == order) for order in orders}
        lines = [
            "| " + " | ".join(["smoothing", "form", *(f"order {order}" for order in orders)]) + " |",
            "| --- | --- |" + " ---: |" * len(orders),
        ]
        for method in methods:
            cells = []
            for order in orders:
                row = found[(*method, order)]
                value = row[column]
                text = "" if value is None else FORMATS.get(column, "{:,.2f}").format(value)
                if value is None:
                    text = f"({row[column.replace('perplexity', 'pseudo_perplexity')]:,.2f})"
                cells.append(f"**{text}**" if "perplexity" in column and value == best[order] else text)
            lines.append("| " + " | ".join([*method, *cells]) + " |")
        parts.append("\n".join([f"## {title}", "", *lines]))
    return "\n\n".join([*parts, NOTES])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="ptb", help="catalog name, file or folder")
    parser.add_argument("--orders", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--repeat", type=int, default=3, help="fits of each model; the fastest is shown")
    parser.add_argument("--out", type=Path, default=Path("results/smoothing"), help="folder of the tables")
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.corpus)
    data = corpus.tokenize("word")
    rows = []
    for name, method in METHODS.items():
        for form in method.forms:
            for order in arguments.orders:
                rows.append(measure(name, form, order, corpus, data, arguments.repeat))
                print(rows[-1]["specification"], rows[-1]["valid_perplexity"], file=sys.stderr)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "table.csv", to_csv(COLUMNS, ([row[name] for name in COLUMNS] for row in rows)))
    write_text(arguments.out / "table.md", to_markdown(rows, arguments.orders))
    write_json(arguments.out / "environment.json", describe_environment())


if __name__ == "__main__":
    main()
