"""Folders of runs with the sums that a test wants, without training anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lmbench.benchmark.results import Result, RunFolder
from tests.report import made_run
from tests.report.made_run import Write

MakeRun = Callable[..., RunFolder]
SIGNATURE = {
    "corpus": "world", "corpus_sha256": "aaaaaaaaaa", "split": "test", "unit": "word", "vocabulary": 10000,
    "vocabulary_sha256": "bbbbbbbbbb", "events": 1000, "unknown_rate": 0.0, "events_sha256": "cccccccccc",
    "context": "sentence",
}  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run("name", {"kn5": nats, "lstm": {1: nats, 2: nats}})``: a run whose models have these nats per segment.

    ``nats``: (S,), or seed -> (S,). ``events``: (S,), by default 10 each. ``fields`` of every result; those of one
    model in ``special``. ``signature``: what differs from that of ``world``; ``line``: what a line is.
    """

    def make(
        name: str,
        nats: Mapping[str, object],
        events: np.ndarray | None = None,
        special: Mapping[str, Mapping[str, object]] | None = None,
        signature: Mapping[str, object] | None = None,
        line: str = "sentence",
        **fields: object,
    ) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        folder.create()
        folder.write_text("recipe.toml", "")
        results = []
        for model, given in nats.items():
            for seed, values in (given if isinstance(given, Mapping) else {None: given}).items():
                folder_name = model if seed is None or len(given) == 1 else f"{model}.seed{seed}"  # type: ignore[arg-type]
                sizes = np.full(len(values), 10) if events is None else events
                _write_sums(folder.scores(folder_name), values, sizes)
                known = {**SIGNATURE, **(signature or {})}
                result = Result(
                    model, seed, perplexity=float(np.exp(np.sum(values) / sizes.sum())), events=int(sizes.sum()),
                    signature=f"ppl|{known['corpus']}", comparison="one", kind="toy", folder=folder_name,
                    details={"signature": known, "test": {"lossless": True, "normalized": True, "adapts": False}},
                )  # fmt: skip
                results.append(replace(result, **{**fields, **(special or {}).get(model, {})}))  # type: ignore[arg-type]
        facts = {"corpus": {"name": "world", "line": line}, "tokenizer": {"spec": known["unit"]}, "lmbench": "0"}
        folder.write_results(facts, results)
        return folder

    return make


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """``write_run(results, language="zh")``: a run with all that a page shows; see ``made_run``."""
    return lambda *given, **settings: made_run.write_run(tmp_path / "run", *given, **settings)


def _write_sums(path: Path, nats: np.ndarray, events: np.ndarray) -> None:
    rows = [f"{unit}\t{float(n)!r}\t{e}\t0\t1\t50\t50" for unit, (n, e) in enumerate(zip(nats, events, strict=True))]
    path.write_text(
        "\n".join(["unit\tnats\tevents\tunknowns\twords\tcharacters\tbytes", *rows]) + "\n", encoding="utf-8"
    )
