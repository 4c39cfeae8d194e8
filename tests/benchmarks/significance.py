"""Simulated texts -> whether the intervals and p-values of comparisons keep what they promise.

    python tests/benchmarks/significance.py --out results/reference/significance

Many data sets are drawn whose true difference is known, and each is compared as ``lmbench compare`` would: a 95 %
interval must hold the truth in 95 of 100, p-values must be uniform where nothing differs. The texts are made up
(sentences of heavy-tailed lengths, losses correlated between models, running text with slowly changing topics) or drawn
from the sums of reference runs, whose whole is then the truth. Writes ``table.csv``, ``table.md`` and
``environment.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.stats import kstest

from lmbench.benchmark.environment import describe_environment
from lmbench.benchmark.results import RunFolder, to_csv
from lmbench.scoring.comparison import paired_differences
from lmbench.scoring.significance import bootstrap_ratio, mcnemar, resampled_sums
from lmbench.training.checkpoints import write_json, write_text

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
PAIRS = {
    "ptb sentences, lstm - 5-gram": ("ptb", "lstm", "ngram:order=5"),
    "zh documents, lstm - 5-gram": ("zh", "lstm", "ngram"),
    "shakespeare blocks, order 5 - 6": ("shakespeare-orders", "ngram:order=5", "ngram:order=6"),
}
"""Populations from reference runs: run, and the two models."""
SMALL = 20
"""Segments up to which more is drawn: their widened percentiles lie far out."""
COLUMNS = ("part", "data", "segments", "effective", "measure", "method", "value", "data_sets")
TITLES = {
    "coverage": "How often a 95 % interval holds the true difference",
    "uniform": "p-values where nothing differs: Kolmogorov-Smirnov test of uniformity, and how many are at most 0.05",
    "seeds": "Models trained with several seeds: how often a 95 % interval holds the true difference",
    "family": "Five models that do not differ: how often some pair is said to",
    "ranking": "Two models that are right equally often: how often McNemar's p is at most 0.05",
    "power": "How often a difference is found, at the 5 % level",
}


def resamples(segments: int) -> int:
    """Draws for a text of so many segments."""
    return 5000 if segments <= SMALL else 1000


Text = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
"""(generator, segments) -> nats (2, S) of two models, and events (S,)."""


def sentences(gap: float = 0.0) -> Text:
    """Lengths lognormal, losses shared by both models but for topics that suit one of them better, with heavy tails.

    ``gap``: true difference in nats per event. Differences are skewed: most sentences favour one model a little, some
    the other a lot.
    """

    def draw(generator: np.random.Generator, segments: int) -> tuple[np.ndarray, np.ndarray]:
        sizes = 2 + np.floor(generator.lognormal(np.log(18), 0.6, segments))
        shared = sizes * generator.gamma(12, 5 / 12, segments)
        topic = 0.3 * (generator.exponential(1, segments) - 1)
        noise = 0.8 * np.sqrt(sizes) * generator.standard_t(4, segments)
        return np.stack([shared + sizes * (gap + topic) + noise, shared]), sizes

    return draw


def running_text(length: int, persistence: float = 0.98) -> Text:
    """Text in blocks of ``length`` events, the difference of each event that of the one before and a bit of its own."""

    def draw(generator: np.random.Generator, segments: int) -> tuple[np.ndarray, np.ndarray]:
        events = segments * length
        steps = generator.standard_normal(events + 2000)
        topic = 0.1 * lfilter([1.0], [1.0, -persistence], steps)[2000:]
        difference = (topic + generator.standard_t(4, events)).reshape(segments, length).sum(1)
        shared = length * generator.gamma(50, 0.1, segments)
        return np.stack([shared + difference, shared]), np.full(segments, float(length))

    return draw


def reference(run: str, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    """Nats (2, S) and events (S,) of two models of a reference run."""
    folder = RunFolder(REFERENCE / run)
    results = {result.label: result for result in folder.read_results()}
    sums = [folder.read_scores(results[label]) for label in (one, other)]
    return np.stack([part.nats for part in sums]), sums[0].events.astype(float)


def drawn(nats: np.ndarray, sizes: np.ndarray) -> Text:
    """Texts from a population of segments."""

    def draw(generator: np.random.Generator, segments: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = generator.integers(0, len(sizes), segments)
        return nats[:, chosen], sizes[chosen]

    return draw


def without_difference(nats: np.ndarray, sizes: np.ndarray, swapped: bool) -> Text:
    """The same where nothing differs: ``swapped``, either model's loss may be either's; else the mean is taken away."""
    difference = nats[0] - nats[1]
    difference = difference - difference.sum() / sizes.sum() * sizes
    population = drawn(np.stack([nats[1] + difference, nats[1]]), sizes)

    def draw(generator: np.random.Generator, segments: int) -> tuple[np.ndarray, np.ndarray]:
        rows, chosen = population(generator, segments)
        turned = generator.random(segments) < 0.5 * swapped
        return np.where(turned, rows[::-1], rows), chosen

    return draw


def coverage(name: str, text: Text, truth: float, counts: tuple[int, ...], sets: int) -> Iterator[dict[str, Any]]:
    """Rows of how often intervals hold ``truth``, the widened percentiles of lmbench beside plain ones."""
    generator = np.random.default_rng(1)
    for segments in counts:
        held, plain, effective, draws = 0, 0, 0.0, resamples(segments)
        for number in range(sets):
            nats, sizes = text(generator, segments)
            found = paired_differences(nats, sizes, resamples=draws, seed=number)
            held += found.low[0, 1] <= truth <= found.high[0, 1]
            interval = bootstrap_ratio(nats[0] - nats[1], sizes, resamples=draws, seed=number)
            plain += interval is not None and interval.low <= truth <= interval.high
            effective += found.effective / sets
        for method, count in (("widened percentiles", held), ("plain percentiles", plain)):
            yield row("coverage", name, segments, effective, "coverage", method, count / sets, sets)


def uniformity(name: str, text: Text, counts: tuple[int, ...], sets: int) -> Iterator[dict[str, Any]]:
    """Rows of whether p is uniform where nothing differs."""
    generator = np.random.default_rng(2)
    for segments in counts:
        p, effective = np.empty(sets), 0.0
        for number in range(sets):
            nats, sizes = text(generator, segments)
            found = paired_differences(nats, sizes, resamples=resamples(segments), seed=number)
            p[number] = found.p[0, 1]
            effective += found.effective / sets
        known = ("uniform", name, segments, effective)
        yield row(*known, "Kolmogorov-Smirnov p", "permutation", kstest(p, "uniform").pvalue, sets)
        yield row(*known, "share at most 0.05", "permutation", float((p <= 0.05).mean()), sets)


def seeds(count: int, sets: int, segments: int = 400) -> Iterator[dict[str, Any]]:
    """Rows for two ways of training with ``count`` seeds each, whose standard deviation is 0.03 nats per event."""
    generator, held = np.random.default_rng(3), {"Satterthwaite": 0, "seeds and segments drawn": 0, "segments alone": 0}
    models = np.repeat([0, 1], count)
    for number in range(sets):
        nats, sizes = sentences()(generator, segments)
        moved = 0.03 * generator.standard_normal(2 * count) + 0.1 * generator.standard_normal((segments, 2 * count))
        rows = nats[models] + (moved * sizes[:, None]).T
        found = paired_differences(rows, sizes, models=models, resamples=1000, seed=number)
        held["Satterthwaite"] += found.low[0, 1] <= 0 <= found.high[0, 1]
        means = np.stack([rows[:count].mean(0), rows[count:].mean(0)])
        found = paired_differences(means, sizes, resamples=1000, seed=number)
        held["segments alone"] += found.low[0, 1] <= 0 <= found.high[0, 1]
        chosen = [generator.multinomial(count, np.full(count, 1 / count), 1000) / count for _ in range(2)]
        *sums, total = resampled_sums(np.column_stack([*rows, sizes]), 1000, number).T
        one, other = np.array(sums[:count]).T, np.array(sums[count:]).T
        differences = ((one * chosen[0]).sum(1) - (other * chosen[1]).sum(1)) / total
        low, high = np.quantile(differences, [0.025, 0.975])
        held["seeds and segments drawn"] += low <= 0 <= high
    for method, hits in held.items():
        yield row("seeds", f"{count} seeds each", segments, None, "coverage", method, hits / sets, sets)


def family(sets: int, segments: int = 300) -> Iterator[dict[str, Any]]:
    """How often any of ten pairs of five equal models differs, with Holm's correction and without."""
    generator, found_any = np.random.default_rng(4), {"Holm": 0, "none": 0}
    for number in range(sets):
        parts = [sentences()(generator, segments) for _ in range(5)]
        rows = parts[0][0][1] + np.stack([nats[0] - nats[1] for nats, _ in parts])
        found = paired_differences(rows, parts[0][1], resamples=1000, seed=number)
        found_any["Holm"] += found.differ.any()
        found_any["none"] += (found.p <= 0.05).any()
    for method, hits in found_any.items():
        yield row("family", "sentences", segments, None, "share with an error", method, hits / sets, sets)


def rankings(sets: int) -> Iterator[dict[str, Any]]:
    """How often models that are right equally often differ by McNemar's test: exact, and so on the safe side."""
    generator = np.random.default_rng(5)
    for count in (50, 600):
        hits = 0
        for _ in range(sets):
            hard = generator.beta(4, 1, count)  # a set that is hard is so for both
            first, second = generator.random((2, count)) < hard
            hits += mcnemar(first, second).p <= 0.05
        yield row("ranking", f"{count} candidate sets", count, None, "share at most 0.05", "McNemar", hits / sets, sets)


def power(sets: int) -> Iterator[dict[str, Any]]:
    """How often a difference of 0.05 and of 0.1 bits per event is found."""
    for bits in (0.05, 0.1):
        generator = np.random.default_rng(6)
        text = sentences(bits * np.log(2))
        for segments in (20, 50, 100, 300, 1000):
            hits = 0
            for number in range(sets):
                hits += paired_differences(*text(generator, segments), resamples=1000, seed=number).p[0, 1] <= 0.05
            yield row(
                "power", f"sentences, {bits} bits/event", segments, None, "found", "permutation", hits / sets, sets
            )


def row(*values: Any) -> dict[str, Any]:
    return dict(zip(COLUMNS, values, strict=True))


def study(sets: int) -> Iterator[dict[str, Any]]:
    """Every row, part by part."""
    populations = {name: reference(*chosen) for name, chosen in PAIRS.items()}
    yield from coverage("sentences", sentences(0.05), 0.05, (5, 10, 20, 50, 100, 300, 1000, 3761), sets)
    for name, (nats, sizes) in populations.items():
        truth = float((nats[0] - nats[1]).sum() / sizes.sum())
        counts = (10, 20, 50, 100, 250) if len(sizes) > 100 else (10, 20, 56)
        yield from coverage(name, drawn(nats, sizes), truth, counts, sets)
    for blocks in (10, 60):
        yield from coverage("running text, blocks of 1000", running_text(1000), 0.0, (blocks,), sets)
    yield from coverage("running text, cut every 20 events", running_text(20), 0.0, (500,), sets)
    yield from uniformity("sentences", sentences(), (5, 10, 20, 50, 300, 1000), sets)
    for name, (nats, sizes) in populations.items():
        for swapped in (True, False):
            told = f"{name}, {'models swapped at random' if swapped else 'mean taken away'}"
            yield from uniformity(told, without_difference(nats, sizes, swapped), (10, 50, 250), sets)
    yield from uniformity("running text, blocks of 1000", running_text(1000), (10, 60), sets)
    for count in (2, 3, 5, 10):
        yield from seeds(count, sets)
    yield from family(sets)
    yield from rankings(sets)
    yield from power(sets // 2)


def to_markdown(rows: list[dict[str, Any]], sets: int) -> str:
    """A table for each part: data down, methods across."""
    texts = [
        f"Comparisons of models, checked by simulation: {sets:,} data sets a number, half as many in the last part."
    ]
    for part, title in TITLES.items():
        mine = [r for r in rows if r["part"] == part]
        heads = list(dict.fromkeys((r["measure"], r["method"]) for r in mine))
        several = len({measure for measure, _ in heads}) > 1
        lines = ["| data | segments | effective | " + " | ".join(h[0 if several else 1] for h in heads) + " |"]
        lines.append("| --- | ---: | ---: |" + " ---: |" * len(heads))
        cells: dict[tuple[Any, ...], dict[tuple[str, str], float]] = {}
        for r in mine:
            key = (r["data"], r["segments"], r["effective"])
            cells.setdefault(key, {})[r["measure"], r["method"]] = r["value"]
        for (data, segments, effective), values in cells.items():
            size = "" if effective is None else f"{effective:.0f}"
            shown = " | ".join(f"{values[head]:.3f}" if head in values else "" for head in heads)
            lines.append(f"| {data} | {segments} | {size} | {shown} |")
        texts.append(f"**{title}**\n\n" + "\n".join(lines))
    return "\n\n".join(texts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/significance"))
    parser.add_argument("--sets", type=int, default=1000, help="data sets for each number")
    arguments = parser.parse_args()
    began, rows = time.perf_counter(), []
    for found in study(arguments.sets):
        rows.append(found)
        print(f"{time.perf_counter() - began:6.0f} s", *found.values(), flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "table.csv", to_csv(COLUMNS, ([r[name] for name in COLUMNS] for r in rows)))
    write_text(arguments.out / "table.md", to_markdown(rows, arguments.sets))
    write_json(arguments.out / "environment.json", describe_environment())


if __name__ == "__main__":
    main()
