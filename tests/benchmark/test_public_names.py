"""The names that ``import lmbench`` promises, and what it must not cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_models import Toy

import lmbench
from lmbench.corpus.text import Corpus, Split
from lmbench.errors import UsageError
from lmbench.models import registry

NAMES = [
    "Budget", "Corpus", "Recipe", "__version__", "bits_per_byte", "bits_per_character", "create", "generate",
    "inspect", "load", "load_corpus", "load_results", "next_words", "perplexity", "rank", "run", "score",
]  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert lmbench.__all__ == NAMES
    assert dir(lmbench) == NAMES
    assert all(getattr(lmbench, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        _ = lmbench.fit  # type: ignore[attr-defined]


def test_importing_is_free() -> None:
    code = "import sys, lmbench; sys.exit(bool({'torch', 'numpy', 'pandas', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_run_takes_what_one_would_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.MODELS, "toy", "toy_models:Toy")
    corpus = Corpus("tiny", *(Split(name, ("a b c d\nb c d e",)) for name in ("train", "valid", "test")))
    done = lmbench.run("uniform,toy", tmp_path / "one", corpus=corpus, budget="1epochs", tokenizer="char")
    assert [result.model for result in done.results] == ["uniform", "toy"]
    assert (tmp_path / "one/table.md").is_file()
    again = lmbench.run(lmbench.Recipe(("toy",)), tmp_path / "two", corpus=corpus, seed=3)
    assert again.results[0].seed == 3
    assert isinstance(lmbench.load(tmp_path / "two/models/toy"), Toy)
    with pytest.raises(UsageError, match="Did you mean 'budget'"):
        lmbench.run("uniform", tmp_path / "three", corpus=corpus, buget="1s")


def test_the_ten_lines() -> None:
    corpus = Corpus("tiny", *(Split(name, ("a b\na b",)) for name in ("train", "valid", "test")))
    data = corpus.tokenize("word")
    model = lmbench.create("uniform")
    model.fit(data.train, data.valid, lmbench.Budget(steps=1))
    scores = lmbench.score(model, corpus)
    assert lmbench.perplexity(scores) == pytest.approx(4)  # </s> <unk> a b
    assert lmbench.rank(model, ["a b", "a"]).ordered(0)[0].text == "a"
    assert len(lmbench.generate(model, "a", n=2)) == 2
