"""Results and a folder of a run with all that a page shows, made up: no model is trained for a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.benchmark.results import Heldout, Result, RunFolder

CURVE = [{"seconds": s, "tokens": 1000 * s, "epochs": s / 2, "valid_loss": 5.0 - s / 4} for s in (1.0, 2.0, 3.0)]
ENGLISH = ("the", "old", "cat", "sleeps", "</s>")
CHINESE = ("老", "猫", "睡", "了", "</s>")


def made(model: str, perplexity: float | None = None, **fields: Any) -> Result:
    """A result with what a page asks of one; ``fields`` over all else."""
    signature = {
        "corpus": "world", "split": "test", "unit": "word", "events": 1000, "unknown_rate": 0.0, "vocabulary": 50,
        "context": "sentence", "events_sha256": "e",
    }  # fmt: skip
    phenomena = {
        name: {"sets": 100, "correct": 80.0, "accuracy": share, "low": share - 0.1, "high": share + 0.1}
        for name, share in (("agreement", 0.8), ("order", 0.7))
    }
    interval = {} if perplexity is None else {"perplexity_low": 0.9 * perplexity, "perplexity_high": 1.1 * perplexity}
    known = {
        "seed": None, "kind": "toy", "comparison": "one", "signature": f"ppl|{model}", "folder": model,
        "train_seconds": 10.0, "parameters": 1000, "peak_memory_mib": 400.0, "memory_added_mib": 90.0,
        "score_tokens_per_second": 2000.0, "valid_perplexity": perplexity, "bits_per_byte": 1.0,
        "details": {"signature": signature, "ranking": {"phenomena": phenomena}, "fit": {"curve": CURVE}},
        **interval, **fields,
    }  # fmt: skip
    return Result(model=model, perplexity=perplexity, **known)


def sentence(tokens: Sequence[str], nats: float) -> dict[str, Any]:
    """What one model says of a sentence: an entry of reader.json."""
    top = [[[token, 0.5], ["dog", 0.25]] for token in tokens]
    count = len(tokens)
    return {"nats": [nats + i for i in range(count)], "rank": [1 + i for i in range(count)],
            "entropy": [1.5] * count, "top": top}  # fmt: skip


Write = Callable[..., Path]


def write_run(path: Path, results: Sequence[Result], language: str = "en", tokens: Sequence[str] = ENGLISH) -> Path:
    """Make ``path`` the folder of a run, with two sentences and a sample of each model."""
    folder = RunFolder(path)
    folder.create()
    corpus = {"name": "world", "language": language, "line": "sentence", "splits": {}}
    folder.write_results({"lmbench": "0", "corpus": corpus}, results)
    folder.recipe.write_text('corpus = "world"\n', encoding="utf-8")
    (folder.path / "environment.json").write_text(json.dumps({"date": "2026-11-25T10:00:00", "cores": 2}), "utf-8")
    ids, ends = np.arange(len(tokens), dtype=np.int32), np.array([len(tokens)])
    counts, separator = np.ones(len(tokens), np.int64), "" if language == "zh" else " "
    text = (tuple(tokens), separator, None, "sentence", "word", None, len(tokens), "e")
    folder.write_heldout(Heldout(ids, ends, ends, ends, counts, *text))  # type: ignore[arg-type]
    sentences = [tokens, (*reversed(tokens[:-1]), "</s>")]
    folder.write_reader(
        {
            "sentences": [{"unit": number, "tokens": list(one)} for number, one in enumerate(sentences)],
            "models": {
                result.label: [sentence(one, 0.5 + number) for one in sentences]
                for number, result in enumerate(results)
            },
        }
    )
    written = {"settings": {"seed": 1}, "texts": ["".join(tokens[:2])], "diversity": {"distinct_1": 0.5}}
    folder.write_samples({result.label: written for result in results})
    return folder.path
