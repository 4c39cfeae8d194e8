"""``lmbench models``: families and their settings, read from the source."""

from __future__ import annotations

import dataclasses

import pytest

from lmbench.cli.models import read_family
from lmbench.models import registry
from tests.cli.conftest import Call, complaint


def test_every_family_is_listed_with_its_idea(call: Call) -> None:
    lines = call("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(registry.MODELS)
    assert all(len(line.split()) > 3 for line in lines)
    assert all(line.endswith(".") and line.count("(") == line.count(")") for line in lines), "each a whole sentence"


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_every_setting_is_told_with_its_sentence(name: str) -> None:
    family = read_family(name, registry.MODELS[name])
    assert family.idea
    kind = registry.family(name)
    fields = [field.name for field in dataclasses.fields(kind.Config)] if hasattr(kind, "Config") else []
    assert sorted(setting.name for setting in family.settings) == sorted(fields)
    assert all(setting.sentence for setting in family.settings), "a sentence under every field"


def test_one_family_in_full(call: Call) -> None:
    text = call("models", "ngram").stdout
    assert "order = " in text
    assert "Kneser" in text


def test_a_model_with_nothing_to_set(call: Call) -> None:
    assert "nothing to set" in call("models", "uniform").stdout


def test_unknown_family_names_the_nearest(call: Call) -> None:
    assert "Did you mean 'lstm'?" in complaint(call("models", "lsmt"))
