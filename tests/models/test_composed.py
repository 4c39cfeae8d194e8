"""Models made of others: what is lent is neither trained nor copied, and what cannot be wrapped is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from lmbench.corpus.batches import Batch
from lmbench.corpus.text import Corpus, Split, TokenizedCorpus
from lmbench.errors import ModelError, UsageError
from lmbench.models import registry
from lmbench.models.composed import Composed
from lmbench.scoring.scorer import score
from lmbench.training.budget import Budget, FitReport
from lmbench.training.checkpoints import Checkpoints

TINY = "lstm:hidden=8:batch_size=4:sequence_length=8:device=cpu"


@pytest.fixture(scope="module")
def data() -> TokenizedCorpus:
    random = np.random.default_rng(3)
    text = tuple("\n".join(" ".join(random.choice(list("abcdef"), 6)) for _ in range(n)) for n in (100, 30))
    return Corpus("made", *(Split(name, (text[name != "train"],)) for name in ("train", "valid", "test"))).tokenize(
        "word"
    )


@pytest.fixture
def lent(data: TokenizedCorpus, tmp_path: Path) -> tuple[Composed, Path]:
    """``neural-cache`` around a network that is trained and kept already."""
    base = registry.create(TINY)
    report = base.fit(data.train, data.valid, Budget(steps=5))
    base.save(tmp_path / "lender")
    model = registry.create(f"neural-cache({TINY}):size=20")
    assert isinstance(model, Composed)
    model.take(0, base, report, tmp_path / "lender")
    model.fit(data.train, data.valid, Budget(steps=5))
    return model, tmp_path


def test_what_was_lent_is_kept_without_a_copy(lent: tuple[Composed, Path], data: TokenizedCorpus) -> None:
    model, folder = lent
    model.save(folder / "kept")
    weights = [folder / name / "weights.safetensors" for name in ("lender", "kept/part-1")]
    assert os.path.samefile(*weights)
    batch = Batch.of([data.test.ids[:60].astype(np.int64)])
    expected = model.log_probs(batch)
    other = registry.create(TINY)
    other.fit(data.train, data.valid, Budget(steps=2))
    other.save(folder / "lender")  # is replaced, not written into
    assert not os.path.samefile(*weights)
    np.testing.assert_array_equal(registry.load(folder / "kept").log_probs(batch), expected)


def test_where_the_disk_has_no_links_it_is_copied(lent: tuple[Composed, Path], monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("another file system")

    model, folder = lent
    monkeypatch.setattr(os, "link", refuse)
    model.save(folder / "kept")
    assert registry.load(folder / "kept").parameters == model.parameters
    assert not os.path.samefile(*[folder / name / "weights.safetensors" for name in ("lender", "kept/part-1")])


def test_it_says_what_it_is_and_has_the_seed_of_its_base(data: TokenizedCorpus) -> None:
    text = "neural-cache(dynamic(lstm:hidden=8):segment=5):size=20+ngram:order=2"
    assert registry.describe(registry.create(text)) == text
    model = registry.create(f"neural-cache({TINY})+ngram:order=2", {"seed": 7})
    model.fit(data.train, data.valid, Budget(steps=2))
    assert score(model, data.corpus).signature.seed == 7


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def cut_off(
    monkeypatch, spec: str, method: str, data: TokenizedCorpus, budget: Budget, checkpoints: Checkpoints
) -> None:
    """A fit that is interrupted where ``method`` begins: all parts are done."""
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        model = registry.create(spec)
        patched.setattr(type(model), method, interrupt)
        model.fit(data.train, data.valid, budget, checkpoints=checkpoints)


def test_a_fit_that_was_cut_off_goes_on_after_the_base(data: TokenizedCorpus, tmp_path: Path, monkeypatch) -> None:
    spec, checkpoints = f"neural-cache({TINY}):size=20", Checkpoints(tmp_path)
    whole = registry.create(spec)
    steps = whole.fit(data.train, data.valid, Budget(steps=5)).steps

    cut_off(monkeypatch, spec, "tune", data, Budget(steps=5), checkpoints)
    again = registry.create(spec)
    monkeypatch.setattr(type(again.parts[0]), "fit", interrupt)  # it is not trained again
    report = again.fit(data.train, data.valid, Budget(steps=5), checkpoints=checkpoints)
    assert report.steps == steps
    batch = Batch.of([data.test.ids[:60].astype(np.int64)])
    np.testing.assert_array_equal(again.log_probs(batch), whole.log_probs(batch))


def test_a_part_of_another_training_is_not_taken(data: TokenizedCorpus, tmp_path: Path, monkeypatch) -> None:
    """A part that a fit which was cut off had finished on another text, or with another budget."""
    spec, checkpoints = "ngram:order=2+lstm:hidden=4:batch_size=2:sequence_length=5:device=cpu", Checkpoints(tmp_path)
    cut_off(monkeypatch, spec, "fit_weights", data, Budget(steps=4), checkpoints)
    assert (tmp_path / "part-2" / "fit.json").is_file()
    with pytest.raises(UsageError, match=r"part-2 holds a part that was trained with another budget\."):
        registry.create(spec).fit(data.train, data.valid, Budget(steps=2), checkpoints=checkpoints)
    with pytest.raises(UsageError, match=r"part-1 holds a part that was trained with another text\."):
        registry.create(spec).fit(data.valid, data.train, Budget(steps=4), checkpoints=checkpoints)
    report = registry.create(spec).fit(data.train, data.valid, Budget(steps=4), checkpoints=checkpoints)
    assert report.steps == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dynamic(ngram)", "dynamic cannot wrap ngram.*Those that do: ffnn, cnn, rnn, gru, lstm, mingru, mamba, gpt"),
        ("dynamic(bert)", "cannot wrap bert"),
        ("dynamic(neural-cache(lstm))", "cannot wrap neural-cache"),
        ("neural-cache(lstm+gru)", "cannot wrap mixture.*dynamic"),
        ("dynamic", r"names none.*dynamic\(lstm\)"),
        ("lstm(gru)", "lstm wraps none"),
        ("dynamic(lsmt)", "Did you mean 'lstm'"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        registry.create(text)


def test_damage_is_told(lent: tuple[Composed, Path]) -> None:
    model, folder = lent
    model.save(folder / "kept")
    content = (folder / "kept" / "model.json").read_text(encoding="utf-8")
    (folder / "kept" / "model.json").write_text(content.replace('"size"', '"sise"'), encoding="utf-8")
    with pytest.raises(ModelError, match="damaged"):
        registry.load(folder / "kept")


def test_what_was_taken_costs_what_it_cost(data: TokenizedCorpus) -> None:
    base = registry.create(TINY)
    base.fit(data.train, data.valid, Budget(steps=2))
    model = registry.create(f"neural-cache({TINY}):size=20")
    model.take(0, base, FitReport(100.0, 5, steps=3, stopped="budget", notes=("first",)))
    report = model.fit(data.train, data.valid)
    assert report.train_seconds > 100.0
    assert (report.tokens, report.steps, report.notes[0]) == (5, 3, "first")
    assert "neural cache of 20 states" in report.notes[1]
