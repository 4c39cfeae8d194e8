"""What the catalog states about each corpus."""

from __future__ import annotations

import re

import pytest

from lmbench.corpus import catalog
from lmbench.corpus.catalog import ENTRIES, Entry
from lmbench.corpus.places import available, locate
from lmbench.corpus.tokenizers import TOKENIZERS


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_entries_say_all_that_a_user_needs(entry: Entry) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", entry.name)
    assert all((entry.title, entry.origin, entry.licence, entry.splits, entry.language in ("en", "zh")))
    assert entry.unit in TOKENIZERS
    assert entry.made or entry.downloads or entry.obtain
    assert entry.made != bool(entry.downloads or entry.obtain)
    checksums = [*entry.files.values(), *(item.sha256 for item in entry.downloads if item.sha256)]
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in checksums)
    assert all(item.url.startswith("https://") for item in entry.downloads)


def test_names_and_aliases_are_one_corpus_each() -> None:
    names = [name for entry in ENTRIES for name in entry.names]
    assert len(names) == len(set(names))
    assert catalog.DEFAULT in catalog.CATALOG
    assert catalog.find("WikiText-2") is catalog.CATALOG["wikitext-2"]
    assert catalog.find("zh") is catalog.CATALOG["zh-web"]
    assert catalog.find("nothing") is None


def test_expected_corpora_are_there() -> None:
    assert set(catalog.CATALOG) >= {
        *("english", "chinese", "pydocs", "ptb", "wikitext-2", "wikitext-103", "text8", "enwik8", "shakespeare"),
        *("brown", "lm1b", "novels", "zh-web"),
    }


def test_a_path_is_no_name(bare_machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_machine / "data" / "inner").mkdir(parents=True)
    monkeypatch.setenv("LMBENCH_DATA", str(bare_machine / "data"))
    assert locate("inner") == bare_machine / "data" / "inner"
    assert locate("../data") is None
    assert locate("..") is None
    assert available() == ["inner"]
