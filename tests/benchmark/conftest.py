"""What the tests of runs have in common: a family that learns at once."""

from __future__ import annotations

import pytest
from toy_models import Toy

from lmbench.models import registry


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Toy]:
    """The family ``toy``, with nothing in its log."""
    monkeypatch.setitem(registry.MODELS, "toy", "toy_models:Toy")
    Toy.fitted, Toy.interrupts = [], 0
    return Toy
