"""The likeliest next words: their order, their sums, and who is asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from table_models import Bigram, unigram

from lmbench.errors import ModelError, UsageError
from lmbench.tasks import prediction
from lmbench.tasks.prediction import NextWord, next_words


@pytest.fixture
def alphabet() -> Any:
    """</s> -> a or b alike; a -> b; b -> a 1/8, c 5/8, </s> 1/4; c -> </s>. The ids are </s> <unk> a b c."""
    table = np.zeros((5, 5))
    table[0, [2, 3]] = 1 / 2
    table[2, 3] = table[4, 0] = table[1, 0] = 1
    table[3, [2, 4, 0]] = 1 / 8, 5 / 8, 1 / 4
    return Bigram("a b c", table)


def test_the_likeliest_first_and_how_undecided_the_model_is(alphabet: Any) -> None:
    (found,) = next_words(alphabet, "a b", k=2)
    assert found.prompt == "a b"
    assert [word.token for word in found.words] == ["c", "</s>"]
    assert [word.probability for word in found.words] == pytest.approx([5 / 8, 1 / 4])
    assert [word.cumulated for word in found.words] == pytest.approx([5 / 8, 7 / 8])
    # 1/8 ln 8 + 5/8 ln 8/5 + 1/4 ln 4
    assert found.entropy_nats == pytest.approx(math.log(8) / 8 + 5 / 8 * math.log(8 / 5) + math.log(4) / 4)


def test_equal_ones_in_the_order_of_their_ids_and_all_of_them(alphabet: Any) -> None:
    (found,) = next_words(alphabet, "", k=1)
    assert found.words == (NextWord("a", pytest.approx(0.5), pytest.approx(0.5)),)
    (found,) = next_words(alphabet, "", k=99)
    assert [word.token for word in found.words] == ["a", "b", "</s>", "<unk>", "c"]
    assert found.words[-1].cumulated == pytest.approx(1)


def test_prompts_are_asked_together_or_in_parts(alphabet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = ["a", "", "b", "a b c"]
    together = next_words(alphabet, prompts)
    assert together == [next_words(alphabet, prompt)[0] for prompt in prompts]
    monkeypatch.setattr(prediction, "CELLS", 5)
    assert next_words(alphabet, prompts) == together
    assert next_words(alphabet, []) == []


def test_who_cannot_be_asked() -> None:
    model = unigram(end=0.2, a=0.5, b=0.3)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        next_words(model, "a", k=0)
    model.normalized = False
    assert next_words(model, "a")[0].entropy_nats is None
    model.reads = "both"
    with pytest.raises(ModelError, match="cannot say what comes next"):
        next_words(model, "a")
