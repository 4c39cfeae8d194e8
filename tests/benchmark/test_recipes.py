"""The recipes that come with lmbench: models can be made, figures have a source, numbers are those of the papers."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.benchmark.plan import _jobs
from lmbench.benchmark.recipe import SHIPPED, Published, Recipe, shipped
from lmbench.benchmark.runner import run
from lmbench.corpus.catalog import find
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models import registry
from lmbench.specification import configure, parse

PAPERS = (
    "bengio", "merity", "mikolov-rnn", "nanogpt-shakespeare", "nanogpt-shakespeare-cpu",
    "zaremba-large", "zaremba-medium", "zaremba-small",
)  # fmt: skip
BEST = ("best-ptb", "best-shakespeare", "best-zh")
STUDIES = ("ensemble-ptb", "sizes-ptb")
NAMES = tuple(sorted(PAPERS + BEST + STUDIES))


def test_they_are_all_here() -> None:
    assert tuple(shipped()) == NAMES


@pytest.mark.parametrize("name", BEST)
def test_the_best_of_each_family_is_a_recipe_of_every_family(name: str) -> None:
    jobs = _jobs(Recipe.read(name))
    kinds = {parse(job.spec)[0] for job in jobs if "+" not in job.spec}
    assert kinds == {"ngram", "ffnn", "rnn", "gru", "lstm", "cnn", "gpt", "bert", "mingru", "mamba"}


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_can_be_run_and_says_what_was_published(name: str) -> None:
    recipe = Recipe.read(name)
    assert recipe == Recipe.read(SHIPPED / f"{name}.toml")
    jobs = _jobs(recipe)
    for job in jobs:
        model = job.create("cpu")
        assert registry.describe(model)
        assert recipe.published[job.name].source
    assert recipe.published.keys() == {job.name for job in jobs}
    assert find(recipe.corpus) is not None
    head = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8").split("models = ")[0]
    assert "Departs from it" in head


@pytest.mark.parametrize("name", [*PAPERS, "ensemble-ptb"])
def test_a_recipe_trains(name: str, tmp_path: Path) -> None:
    """A step on a made text: each network as the recipe has it, with every setting of its training, and mixtures."""
    random = np.random.default_rng(3)
    lines = [" ".join(f"word{n}" for n in random.integers(0, 500, 12)) for _ in range(900)]
    parts = {"train": lines, "valid": lines[:9], "test": lines[9:18]}
    corpus = Corpus("made", *(Split(name, ("\n".join(part),)) for name, part in parts.items()))
    recipe = Recipe.read(name).changed(budget="1steps", device="cpu")
    fewer = recipe.models
    for rows in ("batch_size=64", "batch_size=32"):  # 16,384 and 4,096 tokens a step
        fewer = tuple(model.replace(rows, "batch_size=4") for model in fewer)
    recipe = recipe.changed(models=fewer)
    done = run(recipe, tmp_path, corpus=corpus)
    assert not done.failed
    assert len(done.results) == len(recipe.named)
    assert all(math.isfinite(result.perplexity or math.inf) for result in done.results)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_the_same_after_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = Recipe.read(name)
    recipe.write(tmp_path / "recipe.toml")
    assert Recipe.read(tmp_path / "recipe.toml") == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Recipe.from_dict(tomllib.loads(recipe.to_toml())).published == recipe.published


@pytest.mark.parametrize(
    ("name", "events", "clip", "epochs", "last"),
    [  # the last rate of the paper: 1 / divisor ** (epochs - hold)
        ("zaremba-small", 20, 5, 13, 2.0**-9),
        ("zaremba-medium", 35, 5, 39, 1.2**-33),
        ("zaremba-large", 35, 10, 55, 1.15**-41),
    ],
)
def test_rates_of_a_summed_loss_are_converted(name: str, events: int, clip: float, epochs: int, last: float) -> None:
    recipe = Recipe.read(name)
    config = _jobs(recipe)[0].create("cpu").config  # type: ignore[attr-defined]
    assert config.sequence_length == events
    assert config.learning_rate / events == 1.0
    assert config.clip * events == pytest.approx(clip, rel=1e-5)
    assert recipe.budget == f"{epochs}epochs"
    assert config.divisor ** -(epochs - config.hold) == pytest.approx(last)
    assert config.validations == epochs


def test_sizes_are_those_of_the_papers() -> None:
    """Parameters of two of them, counted by hand; the vocabulary of Penn Treebank has 10,000 types."""
    small = configure("lstm", registry.family("lstm").Config, parse(Recipe.read("zaremba-small").named[0][1])[1])
    network = registry.family("lstm")(small).build(10_000)
    # Embedding and softmax 10,000 x 200 each, 10,000 biases; each layer 4 (200 x 200 + 200 x 200 + 200 + 200).
    assert sum(p.numel() for p in network.parameters()) == 2 * 2_000_000 + 10_000 + 2 * 4 * 80_400
    merity = configure("lstm", registry.family("lstm").Config, parse(Recipe.read("merity").named[0][1])[1])
    network = registry.family("lstm")(merity).build(10_000)
    # Embedding 10,000 x 400, biases; layers of 400 -> 1150 -> 1150 -> 400: 4 o (i + o + 2) each. The paper says 24M.
    layers = 4 * (1150 * (400 + 1150 + 2) + 1150 * (1150 + 1150 + 2) + 400 * (1150 + 400 + 2))
    assert sum(p.numel() for p in network.parameters()) == 4_000_000 + 10_000 + layers == 24_221_600


def test_other_text_or_models_lose_what_was_published() -> None:
    recipe = Recipe.read("zaremba-small")
    for kept in ({"budget": "5steps", "seeds": 3, "device": "cpu"}, {"corpus": "ptb"}, {}):
        assert recipe.changed(**kept).published == recipe.published, kept
    more = {"models": ("uniform", *recipe.models)}
    assert recipe.changed(**more).published == recipe.published  # type: ignore[arg-type]
    for lost in ({"corpus": "my.txt"}, {"models": ("uniform",)}, {"tokenizer": "char"}):
        assert recipe.changed(**lost).published == {}, lost  # type: ignore[arg-type]


def test_an_unknown_recipe_lists_the_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'zaremba-small'\? Known: bengio, best-ptb"):
        Recipe.read("zaremba-smal")
    with pytest.raises(UsageError, match=r"bengio\.toml cannot be read: No such file"):
        Recipe.read("bengio.toml")
    monkeypatch.chdir(tmp_path)
    Path("merity").mkdir()  # a folder of that name is no recipe
    assert "merity" in Recipe.read("merity").published
    Path("bengio").write_text('models = ["uniform"]', encoding="utf-8")
    assert Recipe.read("bengio").models == ("uniform",)


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ({"gtp": {"figure": 1.0, "source": "s"}}, "published figure, called 'gtp'. Did you mean 'gpt'"),
        ({"gpt": {"figure": 1.0}}, "published.gpt lacks its source"),
        ({"gpt": {}}, "lacks its figure and source"),
        ({"gpt": {"figure": "1", "source": "s"}}, "must be a number above 0, not '1'"),
        ({"gpt": {"figure": 0, "source": "s"}}, "above 0"),
        ({"gpt": {"figure": 1.0, "source": ""}}, "must be a text"),
        ({"gpt": {"figure": 1.0, "source": "s", "unit": "nat"}}, "Did you mean 'nats'"),
        ({"gpt": {"figure": 1.0, "source": "s", "split": "dev"}}, "Known: test, valid, valid\\+test"),
        ({"gpt": {"figure": 1.0, "source": "s", "splt": "valid"}}, "Did you mean 'split'"),
        ({"gpt": 5}, "must be a table with figure and source, not 5"),
        ("gpt", "a table for each model"),
    ],
)
def test_what_cannot_have_been_published(published: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Recipe(models=("gpt",), published=published)


def test_a_figure_may_be_given_from_python() -> None:
    figure = Published(82.7, source="Zaremba 2014, table 1")
    assert Recipe(models=("lstm",), published={"lstm": figure}).to_dict()["published"] == {
        "lstm": {"figure": 82.7, "source": "Zaremba 2014, table 1", "unit": "perplexity", "split": "test"}
    }
