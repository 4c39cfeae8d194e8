"""Each model at several training sizes: the same events, parts of the same size, a run that goes on."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_models import sentences

from lmbench.benchmark.plan import make_plan
from lmbench.benchmark.recipe import Published, Recipe
from lmbench.benchmark.results import RunFolder
from lmbench.benchmark.runner import RunResult
from lmbench.benchmark.runner import run as run_recipe
from lmbench.benchmark.sizes import in_tokens, read_sizes
from lmbench.corpus.grammar import Grammar
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models import registry
from lmbench.report.accuracies import compare_accuracies
from lmbench.report.comparison import compared
from lmbench.report.tables import write_tables

pytestmark = pytest.mark.usefixtures("toy")
SIZES = (1000, 2000, "full")


@pytest.fixture
def corpus() -> Corpus:
    """600 sentences of five words to learn from: 3600 tokens, boundaries included."""
    splits = ("train", 600), ("valid", 20), ("test", 20)
    return Corpus("farm", *(Split(name, (sentences(seed, count),)) for seed, (name, count) in enumerate(splits)))


def run(models: str, out: Path, corpus: Corpus, *, resume: bool = False, **fields: Any) -> RunResult:
    recipe = Recipe(models=models, corpus=corpus.name, budget="5steps", **{"train_sizes": SIZES, **fields})  # type: ignore[arg-type]
    return run_recipe(recipe, out, corpus=corpus, resume=resume, on_results=write_tables)


def rows(out: Path) -> list[dict[str, str]]:
    """table.csv without times and memory."""
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if not re.search("second|memory", k)} for row in csv.DictReader(file)]


# What is asked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ("1e4,100k,1m,full", (10_000, 100_000, 1_000_000, "full")),
        ("1.5m", (1_500_000,)),
        ([10_000, 3e4, "1e5"], (10_000, 30_000, 100_000)),
        ("FULL", ("full",)),
        ("10_000, 20K", (10_000, 20_000)),
    ],
)
def test_sizes_are_written_as_people_write_them(given: Any, sizes: Sequence[int | str]) -> None:
    assert read_sizes(given) == sizes
    recipe = Recipe(models=("ngram",), train_sizes=given)
    assert recipe.train_sizes == sizes
    assert recipe.to_dict()["train_sizes"] == list(sizes)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("999", "at least 1,000, not 999"),
        ("1e4,many", "'many' is not a training size.*10k or 1m"),
        ("2e4,1e4", "must rise, and 20,000, 10,000 do not"),
        ("1e4,10k", "must rise"),
        ("full,1e5", "full last"),
        ("", "must be a list"),
        ([], "must be a list"),
        (10_000, "must be a list"),
        ([True], "not a training size"),
        ([-5000], "not a training size"),
        ("1e999", "at least 1,000"),
    ],
)
def test_what_is_no_size_is_told(given: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Recipe(models=("ngram",), train_sizes=given)


def test_a_recipe_with_sizes_is_the_same_after_a_round_trip(tmp_path: Path) -> None:
    recipe = Recipe(models=("ngram",), train_sizes=(10_000, "full"))
    recipe.write(tmp_path / "recipe.toml")
    assert 'train_sizes = [10000, "full"]' in (tmp_path / "recipe.toml").read_text(encoding="utf-8")
    assert Recipe.read(tmp_path / "recipe.toml") == recipe


def test_a_published_figure_is_of_the_whole_text() -> None:
    published = {"ngram": Published(141.2, source="Mikolov 2012")}
    with pytest.raises(UsageError, match="either published or train_sizes"):
        Recipe(models=("ngram",), published=published, train_sizes="1e4")
    assert Recipe(models=("ngram",), published=published).changed(train_sizes="1e4").published == {}


def test_more_than_there_is_is_all_there_is(tmp_path: Path, corpus: Corpus) -> None:
    results = run("toy", tmp_path / "run", corpus, train_sizes="1k,4k").results
    assert [result.train_tokens for result in results] == [1000, 3600]
    told = "4,000 tokens are more than the 3,600 of the training split of farm: all of it"
    assert told in (tmp_path / "run/log.txt").read_text(encoding="utf-8")
    assert in_tokens((1000, 3600, "full"), 3600, "farm") == ((1000, 3600), []), "the whole, twice, is trained once"


# What is trained on what -----------------------------------------------------------------------------


def test_each_model_is_trained_at_each_size_and_asked_for_the_same_events(tmp_path: Path, corpus: Corpus) -> None:
    results = run("toy,ngram:order=2", tmp_path, corpus).results
    assert [(result.model, result.train_tokens) for result in results] == [
        (model, size) for size in (1000, 2000, 3600) for model in ("toy", "ngram:order=2")
    ]
    assert [result.folder for result in results][:2] == ["toy.1000", "ngram-order=2.1000"]
    assert results[0].label == "toy (1,000 tokens)"
    assert len({result.comparison for result in results}) == 1
    assert {result.events for result in results} == {120}
    assert "|train:1000|" in results[0].signature
    assert results[0].details["signature"]["train"] == 1000
    for result in results:
        assert (tmp_path / "models" / result.folder / "fit.json").is_file()
        assert len(RunFolder(tmp_path).read_scores(result).nats) == 20
        read = result.details["fit"]["tokens"]
        assert result.train_tokens - 1 <= read <= result.train_tokens
    assert [row["train_tokens"] for row in rows(tmp_path)] == ["1000", "1000", "2000", "2000", "3600", "3600"]
    assert tuple(RunFolder(tmp_path).read_results()) == results


def test_the_vocabulary_is_that_of_the_whole_text_and_the_parts_are_nested(tmp_path: Path, corpus: Corpus) -> None:
    recipe = Recipe(models="toy", corpus="farm", train_sizes=SIZES)  # type: ignore[arg-type]
    plan = make_plan(recipe, corpus, check=lambda recipe: None)
    small, larger, whole = (plan.train(job) for job in plan.jobs)
    assert small.tokenizer is larger.tokenizer is whole.tokenizer
    assert whole is plan.data.train

    def kept(tokens: Any) -> np.ndarray:
        return np.bincount(tokens.ids, minlength=tokens.vocabulary_size)[1:]  # all but boundaries

    assert (kept(small) <= kept(larger)).all()
    assert (kept(larger) <= kept(whole)).all()
    other = make_plan(recipe.changed(seed=2), corpus, check=lambda recipe: None)
    assert other.train(other.jobs[0]).ids.tolist() != small.ids.tolist(), "the first seed of the run chooses"


def test_all_seeds_of_a_model_read_the_same_part(tmp_path: Path, corpus: Corpus) -> None:
    results = run("toy", tmp_path, corpus, seeds=2, train_sizes="1k").results
    assert [result.folder for result in results] == ["toy.1000.seed1", "toy.1000.seed2"]
    assert [result.label for result in results] == ["toy (seed 1, 1,000 tokens)", "toy (seed 2, 1,000 tokens)"]
    first, second = (registry.load(tmp_path / "models" / result.folder) for result in results)
    # A toy has p = (n + seed) / (N + seed V), so n = p (N + seed V) - seed: counts of one and the same text.
    read, types = results[0].details["fit"]["tokens"], len(first.log_p)
    counts = [np.exp(toy.log_p) * (read + seed * types) - seed for seed, toy in ((1, first), (2, second))]
    assert counts[0] == pytest.approx(counts[1], abs=1e-6)


def test_a_mixture_takes_parts_of_its_own_size(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    done = run("toy+uniform,toy", tmp_path, corpus, train_sizes="1k,2k")
    assert not done.failed
    assert toy.fitted == ["toy1", "toy1"], "each size once, not again as a part"
    assert [result.key for result in done.results] == [
        ("toy", 1, 1000), ("toy+uniform", 1, 1000), ("toy", 1, 2000), ("toy+uniform", 1, 2000),
    ]  # fmt: skip
    for size in (1000, 2000):
        alone, part = (tmp_path / "models" / name for name in (f"toy.{size}", f"toy+uniform.{size}/part-1"))
        assert (alone / "model.json").read_bytes() == (part / "model.json").read_bytes()
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "part 1 is toy (2,000 tokens) of this run" in log


def test_the_source_stands_once_and_is_the_floor_at_each_size(tmp_path: Path) -> None:
    grammar = Grammar.parse('S -> A B [1]\nA -> "a" [2] | "b" [1] | "c" [1]\nB -> "d" [1] | "e" [1]')
    generator = np.random.default_rng(0)
    splits = []
    for name, count in (("train", 800), ("valid", 40), ("test", 40)):
        pairs = zip(generator.choice(list("abc"), count), generator.choice(list("de"), count), strict=True)
        splits.append(Split(name, ("\n".join(f"{a} {b}" for a, b in pairs),)))
    source, *others = run("uniform", tmp_path, Corpus("tiny", *splits, grammar=grammar), train_sizes="1k,2k").results
    assert source.key == ("source", None, None)
    # V = </s> <unk> a b c d e = 7
    assert [result.excess_over_source for result in others] == pytest.approx([np.log(7) - source.nats_per_event] * 2)


# A run that is cut off -------------------------------------------------------------------------------


def test_a_killed_run_resumes_to_the_same_table(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    models = "uniform,toy:trouble=interrupt"
    run(models, tmp_path / "whole", corpus)
    toy.interrupts, toy.fitted = 1, []
    with pytest.raises(KeyboardInterrupt):
        run(models, tmp_path / "cut", corpus)
    assert [(row["model"], row["train_tokens"]) for row in rows(tmp_path / "cut")] == [("uniform", "1000")]
    run(models, tmp_path / "cut", corpus, resume=True)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert toy.fitted == ["interrupt1"] * 4, "the first was cut off, then each size"
    assert (tmp_path / "cut/candidates.csv").read_bytes() == (tmp_path / "whole/candidates.csv").read_bytes()
    with pytest.raises(UsageError, match=r"another recipe.*train_sizes: \(1000, 2000, 'full'\) .*, \(1000,\) "):
        run(models, tmp_path / "cut", corpus, resume=True, train_sizes="1k")


def test_a_model_of_another_size_is_never_taken_for_this_one(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    run("toy", tmp_path, corpus, train_sizes="1k,2k")
    (tmp_path / "metrics.json").unlink()
    small, large = (tmp_path / "models" / name / "fit.json" for name in ("toy.1000", "toy.2000"))
    large.write_bytes(small.read_bytes())
    run("toy", tmp_path, corpus, train_sizes="1k,2k", resume=True)
    assert toy.fitted == ["toy1"] * 3
    assert "it was trained on other text" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_the_candidates_of_each_size_are_kept(tmp_path: Path, corpus: Corpus) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"candidates": ["the dog zzz", "the dog"], "answer": 1}\n', encoding="utf-8")
    run("toy", tmp_path / "run", corpus, candidates=str(file), train_sizes="1k,2k")
    kept = list(RunFolder(tmp_path / "run").read_candidates())
    assert [(row[0], row[-1]) for row in kept] == [("toy", "1000")] * 2 + [("toy", "2000")] * 2


def test_models_are_compared_with_those_of_the_same_size(tmp_path: Path, corpus: Corpus) -> None:
    run("toy,uniform", tmp_path, corpus, train_sizes="1k,2k", seeds=2)
    told = compared(tmp_path)
    sizes = ["1,000 tokens", "2,000 tokens"]
    assert [(pair.first, pair.second) for pair in told.pairs] == [(f"toy ({n})", f"uniform ({n})") for n in sizes]
    assert [pair.seeds for pair in told.pairs] == [(2, 1)] * 2, "two seeds, not four of two sizes"
    assert len(told.letters) == 6
    assert len([note for note in told.cautions if "by their mean over seeds" in note]) == 1
    pairs, reasons = compare_accuracies([RunFolder(tmp_path)])
    assert {(pair.first.partition(" (")[2], pair.second.partition(" (")[2]) for pair in pairs} == {
        (f"{n})", f"{n})") for n in sizes
    }
    assert not reasons
