"""The family ``infinigram``: what it learns, keeps and refuses. The contract is tested in ``test_contract.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.tokenizers import train_tokenizer
from lmbench.errors import ModelError, UsageError
from lmbench.models.infinigram.model import ARRAYS_FILE, Infinigram, InfinigramConfig
from lmbench.models.registry import create


class Steps:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def step(self, name: str, detail: str) -> None:
        self.names.append(name)

    def update(self, fraction: float, **figures: float) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def characters(text: str) -> Tokens:
    return train_tokenizer("char", [text]).encode([text])


@pytest.fixture(scope="module")
def model() -> Infinigram:
    random = np.random.default_rng(4)
    text = "".join(random.choice(list("abcd"), 3000).tolist())
    tokens = characters(text)
    valid = tokens.tokenizer.encode([text[1000:1300] + "".join(random.choice(list("abcd"), 300).tolist())])
    model = Infinigram()
    model.fit(tokens, valid)
    return model


def test_the_five_steps_are_told_in_order():
    tokens, progress = characters("abracadabra " * 20), Steps()
    report = Infinigram().fit(tokens, tokens, progress=progress)
    assert progress.names == ["structure", "data", "forward", "backward", "predict"]
    assert report.valid_loss is not None
    assert report.tokens == tokens.events


def test_a_copy_of_the_text_is_recognised_however_long(model: Infinigram):
    """Half of the held-out text is a copy, so a long agreement is trusted; here it goes on for 500 characters."""
    text = model.table.tree.text[::-1]
    row = np.concatenate(([0], text[700:1200]))
    values = model.log_probs(Batch.of([row]))[0]
    assert values[50:].mean() > np.log(0.9)
    one_by_one = model.next_log_probs(Batch.of_prefixes([row[:length] for length in range(1, len(row), 40)]))
    np.testing.assert_allclose(one_by_one[np.arange(len(one_by_one)), row[1::40]], values[1::40], rtol=1e-12)


def test_the_longest_history_may_be_given():
    tokens = characters("the cat sat on the mat and the cat ate " * 5)
    model = create("infinigram:longest=2")
    model.fit(tokens, tokens)
    assert model.max_context == 2
    row = tokens.ids[1:40]
    answers = model.next_log_probs(Batch.of_prefixes([row, row[-2:], row[-1:]]))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[1] - answers[2]).max() > 0.01


def test_parameters_are_what_is_stored_and_estimated(model: Infinigram):
    assert model.parameters == 3001 + model.table.tree.entries


def test_a_text_of_one_symbol():
    tokens = characters("a" * 400)
    model = Infinigram()
    model.fit(tokens, tokens)
    values = model.log_probs(Batch.of([np.full(1000, tokens.ids[1])]))[0, 1:]
    assert (values < 0).all()
    assert values[:300].mean() > np.log(0.9)


def test_an_impossible_setting_is_refused():
    with pytest.raises(UsageError, match="longest=4"):
        InfinigramConfig(longest=-1)


@pytest.mark.parametrize("damage", ["missing", "cut", "no boundary", "foreign token", "wrong type", "discounts"])
def test_a_damaged_file_is_never_a_model(model: Infinigram, tmp_path: Path, damage: str):
    model.save(tmp_path)
    path = tmp_path / ARRAYS_FILE
    arrays = {name: array.copy() for name, array in load_file(path).items()}
    if damage == "no boundary":
        arrays["text"][-1] = 1
    elif damage == "foreign token":
        arrays["text"][5] = 99
    elif damage == "wrong type":
        arrays["text"] = arrays["text"].astype(np.int64)
    elif damage == "discounts":
        arrays["node"][0, 0] = 7
    save_file(arrays, str(path))
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match="Train the model again"):
        Infinigram.load(tmp_path)
