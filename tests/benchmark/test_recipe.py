"""Recipes: checked when made, the same after a round trip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lmbench.benchmark import plan
from lmbench.benchmark.recipe import Recipe
from lmbench.errors import UsageError

FULL = Recipe(
    models=("ngram:order=3", "uniform"),
    corpus='a "quoted" path\\with/各种.txt',
    tokenizer="bpe:size=500",
    budget="2.5epochs",
    seeds=3,
    seed=7,
    candidates="pairs.jsonl",
    spelling="ptb",
    device="cpu",
    context="stream",
    line="text",
    tokens=20_000,
    budgets={"ngram:order=3": "5steps"},
)


@pytest.mark.parametrize("recipe", [FULL, Recipe(models=("ngram",))])
def test_round_trip(recipe: Recipe, tmp_path: Path) -> None:
    recipe.write(tmp_path / "recipe.toml")
    assert Recipe.read(tmp_path / "recipe.toml") == recipe


def test_models_may_be_one_text() -> None:
    assert Recipe(models="ngram:order=3, uniform") == Recipe(models=("ngram:order=3", "uniform"))  # type: ignore[arg-type]
    assert Recipe.from_dict({"models": ["uniform"]}) == Recipe(models=("uniform",))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"models": ()}, "No model is named"),
        ({"models": ("ngran",)}, "Did you mean 'ngram'"),
        ({"models": ("ngram", "ngram")}, "named twice"),
        ({"models": ("ngram:order",)}, "not key=value"),
        ({"models": (3,)}, "must be texts"),
        ({"tokenizer": "words"}, "Did you mean 'word'"),
        ({"tokenizer": "bpe:sise=3"}, "Did you mean 'size'"),
        ({"budget": "0s"}, "more than 0"),
        ({"budget": "soon"}, "not a budget"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": "2"}, "whole number"),
        ({"seeds": True}, "whole number"),
        ({"seed": -1}, "0 or more"),
        ({"tokens": 9_999}, "at least 10,000"),
        ({"context": "streams"}, "Did you mean 'stream'"),
        ({"line": "word"}, "no line"),
        ({"candidates": "pairs.jsonl", "spelling": "ptbb"}, "Did you mean 'ptb'"),
        ({"spelling": "ptb"}, "that of a file of candidates"),
        ({"corpus": 3}, "corpus must be a text"),
        ({"budgets": {"unifrom": "5m"}}, "a budget of its own, called 'unifrom'. Did you mean 'uniform'"),
        ({"budgets": {"uniform": "soon"}}, r"budgets\.uniform: 'soon' is not a budget"),
        ({"budgets": {"uniform": 5}}, r"budgets\.uniform must be a text"),
        ({"budgets": "5m"}, "budgets must be a table"),
    ],
)
def test_what_cannot_be_is_told(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Recipe(**{"models": ("uniform",), **fields})


def test_budgets_of_their_own_stay_with_their_models() -> None:
    recipe = Recipe(models=("long=gpt", "lstm"), budget="5s", budgets={"long": "9s"})
    assert [recipe.budget_of(name) for name, _ in recipe.named] == ["9s", "5s"]
    assert recipe.changed(seed=2, models=("long=gpt", "rnn")).budgets == {"long": "9s"}
    assert recipe.changed(budget="5s").budgets == {"long": "9s"}  # which is the recipe's own
    for lost in ({"budget": "1s"}, {"models": ("lstm",)}, {"models": ("long=rnn",)}):
        assert recipe.changed(**lost).budgets == {}, lost  # type: ignore[arg-type]
    assert recipe.changed(budget="1s", budgets={"long": "2s"}).budget_of("long") == "2s"


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(UsageError, match="No such file"):
        Recipe.read(path)
    path.write_text('models = ["uniform"\nseed = 1', encoding="utf-8")
    with pytest.raises(UsageError, match=r"not TOML: .*line 2"):
        Recipe.read(path)
    path.write_text("models = 5", encoding="utf-8")
    with pytest.raises(UsageError, match=r"models must be a list such as .* not 5"):
        Recipe.read(path)
    path.write_text('models = ["uniform"]\ncorpsu = "english"', encoding="utf-8")
    with pytest.raises(UsageError, match="Did you mean 'corpus'"):
        Recipe.read(path)
    path.write_text('corpus = "english"', encoding="utf-8")
    with pytest.raises(UsageError, match="names no models"):
        Recipe.read(path)
    path.write_bytes(b'models = ["\xff"]')
    with pytest.raises(UsageError, match="not UTF-8"):
        Recipe.read(path)


def test_differences_name_the_fields() -> None:
    other = Recipe(models=("ngram:order=3", "uniform"), corpus=FULL.corpus, tokenizer=FULL.tokenizer, budget="1s")
    assert FULL.differences(other)[0] == "budget: '2.5epochs' here, '1s' there"


def test_a_long_specification_has_a_folder_of_its_own() -> None:
    """File systems allow 255 bytes a name; mixtures of ten parts, and names in Chinese, are longer."""
    parts = "+".join(f"class-ngram:classes={n}" for n in range(10, 30))
    names = {plan._slug(spec) for spec in (parts, parts + "+cache", "模型" * 90, "模型" * 91)}
    assert len(names) == 4
    assert all(len(name.encode()) <= plan.LONGEST_NAME for name in names)
    assert plan._slug("lstm:hidden=8") == "lstm-hidden=8"


def test_models_may_have_names() -> None:
    recipe = Recipe(models=("kn3=ngram:order=3", "uniform", "both=kn3+uniform"))  # type: ignore[arg-type]
    assert recipe.named == [("kn3", "ngram:order=3"), ("uniform", "uniform"), ("both", "ngram:order=3+uniform")]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (("a=ngram", "a=uniform"), "same name"),
        (("lstm=ngram",), "name of a family"),
        (("a=ngrm",), "Did you mean"),
        (("a=", "ngram"), "a="),
    ],
)
def test_names_that_would_mislead_are_refused(models: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Recipe(models=models)
