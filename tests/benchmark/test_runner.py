"""A run from end to end: its files, its failures, its resumption."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_models import sentences

from lmbench.benchmark.recipe import Recipe
from lmbench.benchmark.results import COLUMNS, RunFolder
from lmbench.benchmark.runner import RunResult
from lmbench.benchmark.runner import run as run_recipe
from lmbench.corpus.grammar import Grammar
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import CorpusError, ResultsError, UsageError
from lmbench.models import registry
from lmbench.report.tables import write_tables
from lmbench.scoring import metrics
from lmbench.training.checkpoints import atomic
from lmbench.training.validation import Validation

pytestmark = pytest.mark.usefixtures("toy")
TIMES = {"train_seconds", "peak_memory_mib", "memory_added_mib", "train_tokens_per_second", "score_tokens_per_second"}


@pytest.fixture
def corpus() -> Corpus:
    splits = ("train", 80), ("valid", 20), ("test", 20)
    return Corpus("farm", *(Split(name, (sentences(seed, count),)) for seed, (name, count) in enumerate(splits)))


def run(models: str, out: Path, corpus: Corpus, *, resume: bool = False, **fields: Any) -> RunResult:
    recipe = Recipe(models=models, corpus=corpus.name, budget="5steps", **fields)  # type: ignore[arg-type]
    return run_recipe(recipe, out, corpus=corpus, resume=resume, on_results=write_tables)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def test_every_file_is_written(tmp_path: Path, corpus: Corpus) -> None:
    done = run("uniform,toy,ngram:order=2", tmp_path / "run", corpus)
    assert not done.failed
    files = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    names = ("uniform", "toy", "ngram-order=2")
    assert files >= {
        *("recipe.toml", "environment.json", "metrics.json", "candidates.csv", "log.txt"),
        *("table.csv", "table.md", "table.tex"),
        *(f"scores/{name}.tsv" for name in names),
        *(f"models/{name}/{file}" for name in names for file in ("model.json", "fit.json")),
    }
    assert not [name for name in files if ".part" in name or "trial" in name]
    assert Recipe.read(tmp_path / "run/recipe.toml").models == ("uniform", "toy", "ngram:order=2")


def test_the_columns_begin_as_the_design_says(tmp_path: Path, corpus: Corpus) -> None:
    run("uniform", tmp_path, corpus)
    design = (
        "model seed perplexity perplexity_low perplexity_high excess_over_source bits_per_character "
        "bits_per_byte events unknown_rate ranking_accuracy parameters train_seconds peak_memory_mib "
        "train_tokens_per_second score_tokens_per_second signature"
    )
    assert " ".join(COLUMNS).startswith(design)
    heading = (tmp_path / "table.csv").read_text(encoding="utf-8").splitlines()[0]
    assert heading.split(",") == [*COLUMNS, "alike"]


def test_the_numbers_of_a_uniform_model(tmp_path: Path, corpus: Corpus) -> None:
    (result,) = run("uniform", tmp_path, corpus).results
    # 2 + 2 + 3 + 2 + 2 words, </s> and <unk>; 20 sentences of 5 words and an end
    assert result.perplexity == pytest.approx(13)
    assert result.perplexity_low == pytest.approx(13)
    assert (result.events, result.unknown_rate, result.parameters, result.seed) == (120, 0, 0, None)
    assert result.ranking_accuracy == 0.5
    assert result.mean_reciprocal_rank == 0.75
    assert result.excess_over_source is None
    assert "events:120" in result.signature
    (row,) = table(tmp_path)
    assert row["excess_over_source"] == row["seed"] == row["reason"] == ""
    assert float(row["perplexity"]) == result.perplexity


def test_what_was_published_stands_beside_what_is_measured_alike(tmp_path: Path, corpus: Corpus) -> None:
    """A uniform model has perplexity V on every split, ln V nats an event on both together."""
    published = {
        "uniform": {"figure": 1.5, "source": "a paper, table 1", "unit": "nats", "split": "valid+test"},
        "toy": {"figure": 9, "source": "another.", "split": "valid"},
        "ngram:order=2": {"figure": 7.0, "source": "a third"},
    }
    done = run("uniform,toy,ngram:order=2,ngram:order=3", tmp_path / "run", corpus, published=published)
    results = {result.model: result for result in done.results}
    vocabulary = len({*sentences(0, 80).split(), "</s>", "<unk>"})
    assert results["uniform"].measured == pytest.approx(np.log(vocabulary))
    assert results["toy"].measured == pytest.approx(results["toy"].valid_perplexity)
    assert results["ngram:order=2"].measured == pytest.approx(results["ngram:order=2"].perplexity)
    assert results["ngram:order=3"].measured is results["ngram:order=3"].published is None
    assert [row["published"] for row in table(tmp_path / "run")] == ["1.5", "9", "7.0", ""]
    facts = json.loads((tmp_path / "run/metrics.json").read_text(encoding="utf-8"))
    assert facts["recipe"]["published"]["uniform"] == published["uniform"]
    assert facts["results"][0]["details"]["published"]["source"] == "a paper, table 1"
    markdown = (tmp_path / "run/table.md").read_text(encoding="utf-8")
    assert "Published of uniform: 1.5, nats per token of valid and test. a paper, table 1." in markdown
    again = run_recipe(Recipe.read(tmp_path / "run/recipe.toml"), tmp_path / "run", corpus=corpus, resume=True)
    assert again.results == done.results


def test_results_are_read_back_as_they_were(tmp_path: Path, corpus: Corpus) -> None:
    done = run("uniform,toy", tmp_path, corpus)
    assert tuple(RunFolder(tmp_path).read_results()) == done.results
    for result in done.results:
        sums = RunFolder(tmp_path).read_scores(result)
        assert metrics.perplexity(sums) == result.perplexity
        assert metrics.bits_per_byte(sums) == result.bits_per_byte


def test_scores_of_a_document_stand_on_its_last_segment(tmp_path: Path) -> None:
    text = "\n".join(f"line {i} of a text" for i in range(500))
    corpus = Corpus("book", *(Split(name, (text, text), "text") for name in ("train", "valid", "test")))
    (result,) = run("uniform", tmp_path, corpus, tokenizer="char").results
    sums = RunFolder(tmp_path).read_scores(result)
    assert sums.characters.tolist() == [len(text)] * 2
    assert len(sums.events) > 2  # blocks of at most 1000 events
    assert metrics.bits_per_character(sums) == result.bits_per_character


def test_candidates_are_kept_best_first(tmp_path: Path, corpus: Corpus) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"candidates": ["the dog zzz", "the dog"], "answer": 1}\n', encoding="utf-8")
    (result,) = run("toy", tmp_path / "run", corpus, candidates=str(file)).results
    rows = list(RunFolder(tmp_path / "run").read_candidates())
    assert [(row[4], row[5], row[6]) for row in rows] == [("1", "1", "1.0"), ("0", "0", "2.0")]
    assert rows[0][-2:] == ["the dog", ""]
    assert (result.ranking_accuracy, result.ranking_sets, result.ranking_by) == (1.0, 1, "total")


def test_lists_without_answers_are_ranked_and_have_no_accuracy(tmp_path: Path, corpus: Corpus) -> None:
    file = tmp_path / "lists.txt"
    file.write_text("the dog\nthe cow\n\na dog\na cow\n", encoding="utf-8")
    (result,) = run("toy", tmp_path / "run", corpus, candidates=str(file)).results
    assert (result.ranking_accuracy, result.mean_reciprocal_rank, result.ranking_by) == (None, None, "total")
    assert len(list(RunFolder(tmp_path / "run").read_candidates())) == 4


# Failures --------------------------------------------------------------------------------------------


def test_a_failing_model_is_recorded_and_the_others_go_on(tmp_path: Path, corpus: Corpus) -> None:
    done = run("toy:trouble=fit,toy:trouble=score,uniform", tmp_path, corpus)
    assert [result.status for result in done.results] == ["failed", "failed", "done"]
    broken, exhausted = done.failed
    assert broken.reason == "RuntimeError: the weights exploded"
    assert exhausted.reason.startswith("MemoryError")
    assert exhausted.parameters == 13  # what it reached before it failed is kept
    assert exhausted.perplexity is None
    assert "Traceback" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert table(tmp_path)[0]["reason"] == broken.reason
    assert "RuntimeError: the weights exploded" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_what_is_no_distribution_has_no_perplexity(tmp_path: Path, corpus: Corpus) -> None:
    (result,) = run("toy:trouble=unnormalized", tmp_path, corpus).results
    assert (result.perplexity, result.perplexity_low, result.bits_per_byte, result.valid_perplexity) == (None,) * 4
    assert result.pseudo_perplexity is not None
    assert result.ranking_accuracy is not None
    assert "test pseudo-perplexity" in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fields", "error", "reason"),
    [
        ({"models": "toy:sede=3"}, UsageError, "Did you mean 'seed'"),
        ({"candidates": "missing.jsonl"}, CorpusError, "missing.jsonl"),
        ({"candidates": "broken.jsonl"}, UsageError, "line 1, column 15"),
    ],
)
def test_everything_is_checked_before_anything_is_trained(
    tmp_path: Path, corpus: Corpus, toy: Any, monkeypatch: pytest.MonkeyPatch, fields: Any, error: Any, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jsonl").write_text('{"candidates" ["a", "b"]}', encoding="utf-8")
    with pytest.raises(error, match=reason):
        run(**{"models": "toy", "out": tmp_path / "run", "corpus": corpus, **fields})
    assert toy.fitted == []
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, corpus: Corpus) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="cannot be made"):
        run("toy", tmp_path / "file", corpus)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path, corpus: Corpus) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="--out"):
        run("toy", tmp_path / "run", corpus)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_is_there(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, result: Any, rows: Any) -> None:
        if result.model == "toy":
            raise ResultsError("the disk is full")
        written(self, result, rows)

    written = RunFolder.write_candidates
    monkeypatch.setattr(RunFolder, "write_candidates", full)
    with pytest.raises(ResultsError, match="full"):
        run("uniform,toy,toy:seed=9", tmp_path, corpus)
    assert [result.model for result in RunFolder(tmp_path).read_results()] == ["uniform"]


def test_a_full_disk_is_no_fault_of_the_model(
    tmp_path: Path, corpus: Corpus, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Any, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        with atomic(directory / "weights.safetensors"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(toy, "save", save)
    with pytest.raises(ResultsError, match=r"could not be written.*No space left"):
        run("uniform,toy", tmp_path, corpus)
    assert [result.model for result in RunFolder(tmp_path).read_results()] == ["uniform"]


# Seeds, names, resumption ----------------------------------------------------------------------------


def test_seeds_repeat_only_what_draws_random_numbers(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    done = run("uniform,toy,toy:seed=9", tmp_path, corpus, seeds=2, seed=5)
    expected = [("uniform", None), ("toy", 5), ("toy:seed=9", None), ("toy", 6)]
    assert [(result.model, result.seed) for result in done.results] == expected
    assert [result.folder for result in done.results] == ["uniform", "toy.seed5", "toy-seed=9", "toy.seed6"]
    assert [result.label for result in done.results][1:2] == ["toy (seed 5)"]
    assert toy.fitted == ["toy5", "toy9", "toy6"]
    assert done.results[1].perplexity != done.results[3].perplexity
    assert "seed:6" in done.results[3].signature


def test_names_that_fall_together_get_folders_of_their_own(tmp_path: Path, corpus: Corpus) -> None:
    first, second = run("toy:trouble=a b,toy:trouble=a-b", tmp_path, corpus).results
    assert (first.folder, second.folder) == ("toy-trouble=a-b", "toy-trouble=a-b-2")


def test_a_killed_run_resumes_to_the_same_table(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    models = "uniform,toy:trouble=interrupt,toy"
    run(models, tmp_path / "whole", corpus)
    toy.interrupts, toy.fitted = 1, []
    with pytest.raises(KeyboardInterrupt):
        run(models, tmp_path / "cut", corpus)
    assert [row["model"] for row in table(tmp_path / "cut")] == ["uniform"]
    assert "interrupted" in (tmp_path / "cut/log.txt").read_text(encoding="utf-8")
    run(models, tmp_path / "cut", corpus, resume=True)
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    assert toy.fitted == ["interrupt1", "interrupt1", "toy1"]
    for name in ("candidates.csv", "scores/toy.tsv", "recipe.toml"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    environment = json.loads((tmp_path / "cut/environment.json").read_text(encoding="utf-8"))
    assert len(environment["earlier"]) == 1


def test_a_run_killed_in_scoring_does_not_train_again(
    tmp_path: Path, corpus: Corpus, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_scores", kill)
        with pytest.raises(KeyboardInterrupt):
            run("toy", tmp_path, corpus)
    (result,) = run("toy", tmp_path, corpus, resume=True).results
    assert toy.fitted == ["toy1"]
    assert result.train_seconds == 0.5
    assert result.perplexity is not None


def test_sigterm_ends_a_run_like_ctrl_c(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(RunFolder, "write_candidates", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(KeyboardInterrupt):
        run("uniform", tmp_path, corpus)
    assert signal.getsignal(signal.SIGTERM) is before


def test_failed_models_are_tried_again(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    run("uniform,toy:trouble=fit", tmp_path, corpus)
    done = run("uniform,toy:trouble=fit", tmp_path, corpus, resume=True)
    assert len(done.failed) == 1
    assert toy.fitted == ["fit1", "fit1"]
    assert len(table(tmp_path)) == 2


def test_a_damaged_model_is_trained_again(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    run("toy", tmp_path, corpus)
    (tmp_path / "metrics.json").unlink()
    (tmp_path / "models/toy/model.json").write_text("{")
    (result,) = run("toy", tmp_path, corpus, resume=True).results
    assert result.status == "done"
    assert toy.fitted == ["toy1", "toy1"]


def test_a_run_grows(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    run("toy", tmp_path, corpus)
    done = run("uniform,toy,toy:trouble=fit", tmp_path, corpus, resume=True)
    assert [result.model for result in done.results] == ["uniform", "toy", "toy:trouble=fit"]
    assert toy.fitted == ["toy1", "fit1"], "what was done is not trained again"
    assert Recipe.read(tmp_path / "recipe.toml").models == ("uniform", "toy", "toy:trouble=fit")
    with pytest.raises(UsageError, match=r"another recipe.*models: "):
        run("uniform,toy", tmp_path, corpus, resume=True)


def test_a_model_may_have_a_budget_of_its_own(tmp_path: Path, corpus: Corpus) -> None:
    tiny = "rnn:hidden=4:batch_size=2:sequence_length=5:device=cpu"
    models, budgets = f"long={tiny},{tiny}:seed=2,long+{tiny}:seed=2", {"long": "7steps"}
    long, short, both = run(models, tmp_path, corpus, budgets=budgets).results
    assert [result.details["fit"]["steps"] for result in (long, short, both)] == [7, 5, 12]
    assert (long.details["budget"], "budget" in short.details) == ("7steps", False)
    assert "Budgets of their own: long 7steps." in (tmp_path / "table.md").read_text(encoding="utf-8")
    told = (tmp_path / "log.txt").read_text(encoding="utf-8")
    grown = f"{models},more=rnn:hidden=5:batch_size=2:sequence_length=5:device=cpu"
    done = run(grown, tmp_path, corpus, resume=True, budgets={**budgets, "more": "3steps"})
    assert {result.model: result.details["fit"]["steps"] for result in done.results}["more"] == 3
    since = (tmp_path / "log.txt").read_text(encoding="utf-8").removeprefix(told)
    assert "more  structure" in since
    assert "long  structure" not in since
    assert "long  structure" in told
    with pytest.raises(UsageError, match=r"another recipe.*budgets: "):
        run(grown, tmp_path, corpus, resume=True, budgets={"long": "8steps", "more": "3steps"})


def test_one_model_has_one_budget(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="long and rnn:seed=1 are one model but for their budgets, 9s and 5steps"):
        run("long=rnn,rnn:seed=1,long+uniform", tmp_path, corpus, budgets={"long": "9s"})


def test_a_part_that_is_lost_is_not_trained_for_another_budget(tmp_path: Path, corpus: Corpus) -> None:
    long, budgets = "long=rnn:hidden=4:batch_size=2:sequence_length=5:device=cpu", {"long": "7steps"}
    run(long, tmp_path, corpus, budgets=budgets)
    (tmp_path / "models/long/fit.json").unlink()
    done = run(f"{long},long+uniform", tmp_path, corpus, resume=True, budgets=budgets)
    assert "long was trained for 7steps, a budget of its own" in done.failed[0].reason


def test_another_seed_is_of_the_same_size_whatever_the_machine_is_measured_at(tmp_path, corpus, monkeypatch):
    widths = []
    one = "rnn:batch_size=2:sequence_length=5"
    for models, rate in ((one, 1e11), (f"{one},two={one}:seed=2,{one}:layers=2", 1e9)):
        monkeypatch.setattr("lmbench.models.sizing.training_rate", lambda device, rate=rate: rate)
        recipe = Recipe(models=models, corpus=corpus.name, budget="0.2s", device="cpu")
        done = run_recipe(recipe, tmp_path, corpus=corpus, resume=bool(widths))
        widths = [registry.create(result.specification).config.hidden for result in done.results]
        seeds = [registry.create(result.specification).config.seed for result in done.results]
    assert widths[0] == widths[1] > widths[2]  # a network of other settings is measured for itself
    assert seeds == [1, 2, 1]


def test_another_seed_is_built_only_where_that_pays_now(tmp_path, corpus, monkeypatch):
    """The first was, unasked; the run goes on where there is no compiler."""
    one = "gpt:width=8:layers=1:batch_size=2:sequence_length=5"
    built = []
    for models, pays in ((one, True), (f"{one},two={one}:seed=2", False)):
        with monkeypatch.context() as patch:
            patch.setattr("lmbench.models.neural.worth_building", lambda *_, pays=pays: pays)
            patch.setattr("lmbench.training.compilation.can_build", lambda pays=pays: pays)
            patch.setattr("torch.compile", lambda forward: forward)
            recipe = Recipe(models=models, corpus=corpus.name, budget="0.2s", device="cpu")
            done = run_recipe(recipe, tmp_path, corpus=corpus, resume=bool(built))
        assert [result.status for result in done.results] == ["done"] * len(done.results)
        built = [registry.create(result.specification).config.compile for result in done.results]
    assert built == [True, False]


def test_a_training_that_has_begun_keeps_its_size(tmp_path, corpus, monkeypatch):
    """Though another seed was trained meanwhile, on a machine that is measured to be slower."""
    one = "rnn:batch_size=2:sequence_length=5:patience=1000"

    def measured_at(rate: float, models: str, **resume: bool) -> list[int]:
        monkeypatch.setattr("lmbench.models.sizing.training_rate", lambda device: rate)
        recipe = Recipe(models=models, corpus=corpus.name, budget="0.5s", device="cpu")
        done = run_recipe(recipe, tmp_path, corpus=corpus, **resume)
        return [registry.create(result.specification).config.hidden for result in done.results]

    with monkeypatch.context() as patch:
        validate = Validation.loss
        patch.setattr(Validation, "loss", lambda self: signal.raise_signal(signal.SIGINT) or validate(self))
        with pytest.raises(KeyboardInterrupt):
            measured_at(1e11, f"two={one}:seed=2")
    first, second = measured_at(1e9, f"{one},two={one}:seed=2", resume=True)
    assert first < second


def test_a_folder_is_never_overwritten(tmp_path: Path, corpus: Corpus) -> None:
    run("uniform", tmp_path, corpus)
    before = (tmp_path / "table.csv").read_bytes()
    with pytest.raises(UsageError, match="already holds a run"):
        run("uniform", tmp_path, corpus)
    with pytest.raises(UsageError, match=r"another recipe.*tokenizer: None .*, 'char' "):
        run("uniform", tmp_path, corpus, resume=True, tokenizer="char")
    changed = replace(corpus, test=Split("test", ("other text in here",)))
    with pytest.raises(ResultsError, match="text of the corpus changed"):
        run("uniform", tmp_path, changed, resume=True)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(ResultsError, match=r"metrics.json cannot be read"):
        run("uniform", tmp_path, corpus, resume=True)
    assert (tmp_path / "table.csv").read_bytes() == before


# The source ------------------------------------------------------------------------------------------


@pytest.fixture
def sampled() -> Corpus:
    """120 sentences of a grammar whose entropy is known: S -> A B, three A's and two B's with these chances."""
    grammar = Grammar.parse('S -> A B [1]\nA -> "a" [2] | "b" [1] | "c" [1]\nB -> "d" [1] | "e" [1]')
    generator = np.random.default_rng(0)
    splits = []
    for name in ("train", "valid", "test"):
        first = generator.choice(list("abc"), 40, p=[0.5, 0.25, 0.25])
        second = generator.choice(list("de"), 40)
        splits.append(Split(name, ("\n".join(f"{a} {b}" for a, b in zip(first, second, strict=True)),)))
    return Corpus("tiny", *splits, grammar=grammar)


def test_the_source_is_the_floor(tmp_path: Path, sampled: Corpus) -> None:
    source, uniform = run("uniform", tmp_path, sampled).results
    assert (source.model, source.kind, source.excess_over_source) == ("source", "source", 0.0)
    assert source.perplexity is not None
    assert source.nats_per_event is not None
    assert source.perplexity < (uniform.perplexity or 0)
    # V = </s> <unk> a b c d e = 7
    assert uniform.excess_over_source == pytest.approx(np.log(7) - source.nats_per_event)
    assert source.train_seconds is None
    assert registry.load(tmp_path / "models/source").kind == "source"
    assert "the grammar that the text was sampled from" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_resumed_run_still_knows_the_distance(tmp_path: Path, sampled: Corpus, toy: Any) -> None:
    toy.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        run("toy:trouble=interrupt", tmp_path, sampled)
    source, model = run("toy:trouble=interrupt", tmp_path, sampled, resume=True).results
    assert model.excess_over_source == pytest.approx((model.nats_per_event or 0) - (source.nats_per_event or 0))


# The log ---------------------------------------------------------------------------------------------


def test_the_log_names_the_steps(tmp_path: Path, corpus: Corpus) -> None:
    run("ngram:order=2,uniform", tmp_path, corpus)
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    for model in ("ngram:order=2", "uniform"):
        for step in ("structure", "data", "forward", "backward", "predict"):
            assert f"{model}  {step}" in log


# Mixtures --------------------------------------------------------------------------------------------


def test_a_mixture_takes_the_parts_that_the_run_has_trained(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    done = run("toy+uniform,toy,toy:seed=9+toy:seed=1,cache+toy", tmp_path, corpus, seeds=2)
    assert not done.failed
    assert toy.fitted == ["toy1", "toy2", "toy9"], "each model and seed once, whoever asks for it"
    results = {(result.model, result.seed): result for result in done.results}
    assert list(results)[:2] == [("toy", 1), ("toy", 2)], "mixtures come last"
    assert results["toy+uniform", 2].train_seconds > results["toy", 2].train_seconds, "its parts' seconds count in"
    assert results["toy:seed=9+toy:seed=1", None].train_seconds > 1.0
    assert results["toy+uniform", 1].perplexity is not None
    cached = results["cache+toy", 1]
    assert cached.perplexity is cached.perplexity_low is cached.excess_over_source is cached.bits_per_byte is None
    assert cached.adaptive_perplexity_low < cached.adaptive_perplexity < cached.adaptive_perplexity_high
    assert "adaptive perplexity" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert RunFolder(tmp_path).read_scores(cached).adapts


def test_a_mixture_is_resumed_without_training_its_parts_again(tmp_path: Path, corpus: Corpus, toy: Any) -> None:
    toy.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        run("toy,toy:seed=5+toy:trouble=interrupt,toy+uniform", tmp_path, corpus)
    assert toy.fitted == ["toy1", "toy5", "interrupt1"]
    done = run("toy,toy:seed=5+toy:trouble=interrupt,toy+uniform", tmp_path, corpus, resume=True)
    assert not done.failed
    assert toy.fitted == ["toy1", "toy5", "interrupt1", "interrupt1"]


def test_a_mixture_of_a_part_that_failed_fails_and_says_so(tmp_path: Path, corpus: Corpus) -> None:
    done = run("toy:trouble=fit,toy:trouble=fit+uniform,toy+uniform", tmp_path, corpus)
    first, second = done.failed
    assert first.model == "toy:trouble=fit"
    assert second.reason.startswith(
        "ModelError: its part toy:trouble=fit failed in this run: RuntimeError: the weights"
    )
    assert done.results[-1].status == "done"
