"""Names, files and folders -> corpora, split the same way every time."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.corpus import catalog
from lmbench.corpus.catalog import Entry
from lmbench.corpus.loading import load_corpus
from lmbench.corpus.splitting import Cut, cut, hold_out, split_of
from lmbench.errors import CorpusError, UsageError
from tests.corpus.conftest import numbered


def units(corpus) -> list[list[str]]:
    return [split.units for split in corpus]


def test_one_text_is_cut_into_blocks(bare_machine: Path) -> None:
    path = bare_machine / "my.txt"
    path.write_text(numbered(1000))
    corpus = load_corpus(path)
    # 1000 lines are 100 blocks of 10. The fifth of each ten blocks: lines 40-49, 140-149 ...; the tenth: 90-99 ...
    assert corpus.name == "my"
    assert [len(split.units) for split in corpus] == [800, 100, 100]
    assert corpus.valid.units[:11] == [f"sentence number {i} is here" for i in (*range(40, 50), 140)]
    assert corpus.test.units[0] == "sentence number 90 is here"
    assert load_corpus(str(path)).sha256 == corpus.sha256
    assert corpus.notes == ("Split here: 100 blocks of consecutive lines: every tenth valid and test.",)


def test_compressed_text_makes_the_same_corpus(bare_machine: Path) -> None:
    (bare_machine / "a.txt").write_text(numbered(50))
    (bare_machine / "a.txt.gz").write_bytes(gzip.compress(numbered(50).encode()))
    plain, packed = load_corpus("a.txt"), load_corpus("a.txt.gz")
    assert plain.sha256 == packed.sha256
    assert plain.name == packed.name == "a"


def test_a_seed_chooses_other_blocks_and_the_same_ones_again(bare_machine: Path) -> None:
    (bare_machine / "a.txt").write_text(numbered(500))
    one, same, other = (load_corpus("a.txt", seed=seed) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256
    assert [len(split.units) for split in one] == [400, 50, 50]


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=14),
    seed=st.one_of(st.none(), st.integers(0, 99)),
    wanted=st.sampled_from([("valid", "test"), ("valid",), ("test",)]),
)
def test_splitting_loses_and_repeats_nothing(sizes, seed, wanted) -> None:
    documents = ["\n".join(f"d{d} l{i}" for i in range(size)) for d, size in enumerate(sizes)]
    lines = [line for document in documents for line in document.split("\n")]
    if len(lines) < 10:
        with pytest.raises(CorpusError, match="too small to split"):
            hold_out(documents, "sentence", wanted, seed, "toy")
        return
    parts, _ = hold_out(documents, "sentence", wanted, seed, "toy")
    assert parts == hold_out(documents, "sentence", wanted, seed, "toy")[0]
    assert set(parts) == {"train", *wanted}
    assert all(parts.values())
    found = [line for part in parts.values() for document in part for line in document.split("\n")]
    assert Counter(found) == Counter(lines)


def test_mere_text_is_cut_at_its_last_tenths(bare_machine: Path) -> None:
    # 1000 characters: test from 900; valid from int(900 * 0.9) = 810.
    text = "".join(f"{i:03d} line\n\n" for i in range(100))
    (bare_machine / "play.txt").write_text(text)
    corpus = load_corpus("play.txt", line="text")
    assert [split.documents for split in corpus] == [(text[:810],), (text[810:900],), (text[900:],)]
    assert corpus.line == "text"
    assert corpus.train.units == [text[:810]]  # one unit, blank lines and all


def test_many_documents_are_split_whole(bare_machine: Path) -> None:
    folder = bare_machine / "stories"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i:02d}.txt").write_text("".join(f"story {i:02d} line {j}\n" for j in range(20)))
    corpus = load_corpus("stories/")
    assert corpus.name == "stories"
    assert all(len({line.split()[1] for line in document.split("\n")}) == 1 for document in corpus.test.documents)
    # 40 documents of the same size: the first 3 drawn hold 7.5 % each time.
    assert [len(split.documents) for split in corpus] == [34, 3, 3]
    assert load_corpus("stories").sha256 == corpus.sha256


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train.txt", "valid.txt", "test.txt"), "tvx"),
        (("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"), "tvx"),
        (("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"), "tvx"),
        (("train", "validation", "test"), "tvx"),
        (("news.train.gz", "news.dev.gz", "news.test.gz"), "tvx"),
        (("train/a.txt", "dev/a.txt", "test/a.txt"), "tvx"),
        (("en-train.raw", "en_val.raw", "en-TEST.raw"), "tvx"),
    ],
)
def test_names_of_splits_are_recognised(bare_machine: Path, names, expected) -> None:
    for name, letter in zip(names, expected, strict=True):
        path = bare_machine / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"{letter}\n{letter} again\n".encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert units(load_corpus("corpus")) == [[c, f"{c} again"] for c in expected]


def test_names_that_mean_no_split() -> None:
    assert split_of(Path("testament.txt")) is None
    assert split_of(Path("train-test.txt")) is None  # both: neither


def test_one_such_name_among_documents_is_a_document(bare_machine: Path) -> None:
    folder = bare_machine / "stories"
    folder.mkdir()
    for name in ("train-journey", "the-lake", "a-test-of-time"):
        (folder / f"{name}.txt").write_text(numbered(20))
    assert sum(len(split.units) for split in load_corpus("stories")) == 40  # train and test, and one left aside
    assert load_corpus("stories").notes[0] == "Left aside, for they name no split: the-lake.txt (1 in all)."
    (folder / "a-test-of-time.txt").unlink()
    assert sum(len(split.units) for split in load_corpus("stories")) == 40  # two documents


def test_a_folder_here_serves_where_the_catalog_has_none(bare_machine: Path) -> None:
    (bare_machine / "ptb").mkdir()
    for split in ("train", "valid", "test"):
        (bare_machine / "ptb" / f"{split}.txt").write_text(f"a {split}\n")
    assert load_corpus("ptb").test.units == ["a test"]


def test_a_missing_split_is_cut_from_train_and_said(bare_machine: Path) -> None:
    folder = bare_machine / "corpus"
    folder.mkdir()
    (folder / "train.txt").write_text(numbered(100))
    (folder / "test.txt").write_text("a test\n")
    corpus = load_corpus("corpus")
    assert [len(split.units) for split in corpus] == [90, 10, 1]
    assert "There is no valid split, so it is cut from train" in corpus.notes[0]
    (folder / "train.txt").unlink()
    with pytest.raises(CorpusError, match=r"holds test but no train split: test\.txt"):
        load_corpus("corpus")


def test_blank_lines_are_dropped_and_counted_or_kept(bare_machine: Path) -> None:
    (bare_machine / "a.txt").write_text("\n \n" + numbered(10))
    dropped, kept = load_corpus("a.txt"), load_corpus("a.txt", blank_lines="keep")
    assert dropped.notes[0] == "2 blank lines dropped."
    assert sum(len(split.units) for split in dropped) == 10
    assert sum(len(split.units) for split in kept) == 12
    assert kept.train.units[:2] == ["", ""]


def test_foreign_line_ends_are_said_where_text_is_verbatim(bare_machine: Path) -> None:
    (bare_machine / "a.txt").write_bytes(numbered(20).replace("\n", "\r\n").encode())
    corpus = load_corpus("a.txt", line="text")
    assert "".join(split.documents[0] for split in corpus) == numbered(20)
    assert corpus.notes[0] == "line ends of 1 of 1 files made \\n."
    assert len(load_corpus("a.txt").notes) == 1  # in sentences they are white space


def test_the_grammars_are_corpora_too() -> None:
    corpus = load_corpus("english", tokens=300, seed=3)
    assert (corpus.name, corpus.language) == ("english", "en")
    assert corpus.grammar is not None
    assert load_corpus("english", tokens=300, seed=3).sha256 == corpus.sha256


def test_language_is_told_where_it_can_be(bare_machine: Path) -> None:
    (bare_machine / "zh.txt").write_text("".join(f"今天我们去公园看了{i}只小猫。\n" for i in range(20)))
    (bare_machine / "en.txt").write_text(numbered(20))
    assert (load_corpus("zh.txt").language, load_corpus("en.txt").language) == ("zh", "")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("one\ntwo\n", "small.txt|too small to split: 2 lines"),
        ("one\n", "too small to split: 1 line,"),
        (" \n\n", "white space and no text"),
    ],
)
def test_texts_too_small_are_refused(bare_machine: Path, content: str, found: str) -> None:
    (bare_machine / "small.txt").write_text(content)
    with pytest.raises(CorpusError, match=found.split("|")[-1]):
        load_corpus("small.txt")


def test_mere_text_too_small_is_refused(bare_machine: Path) -> None:
    (bare_machine / "small.txt").write_text("one\ntwo\n")
    with pytest.raises(CorpusError, match=r"too small to split: a document of 8 characters"):
        load_corpus("small.txt", line="text")


def test_unknown_names_say_that_they_are_neither_path_nor_name(bare_machine: Path) -> None:
    with pytest.raises(CorpusError, match=r"'wikitxt-2' is neither a file or folder here .* nor the name of a corpus"):
        load_corpus("wikitxt-2")
    with pytest.raises(CorpusError, match="Did you mean 'wikitext-2'"):
        load_corpus("wikitxt-2")
    with pytest.raises(CorpusError, match=r"no file or folder .*texts/novel: "):
        load_corpus("texts/novel")
    with pytest.raises(CorpusError, match=r"no file or folder .*novel\.txt: "):
        load_corpus("novel.txt")
    with pytest.raises(CorpusError, match=f"no file or folder {os.fspath(bare_machine)}"):
        load_corpus(bare_machine / "ptb")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(UsageError, match="name of the corpus is empty"):
        load_corpus("")


def test_known_names_that_are_not_here_say_how_to_come_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"Run: lmbench corpus get wikitext-2 .*--from PATH.*LMBENCH_DATA"):
        load_corpus("wikitext-2")
    with pytest.raises(CorpusError, match=r"LDC99T42.*--from PATH.*LMBENCH_DATA"):
        load_corpus("ptb")
    monkeypatch.setenv("LMBENCH_DATA", "/no/such/folder")
    with pytest.raises(CorpusError, match="LMBENCH_DATA names /no/such/folder, where there is no folder"):
        load_corpus("ptb")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"line": "word"}, "line must be"),
        ({"blank_lines": "maybe"}, "blank_lines must be"),
        ({"tokens": 9}, "tokens=9"),
    ],
)
def test_options_that_cannot_be_are_refused(bare_machine: Path, options, message: str) -> None:
    (bare_machine / "a.txt").write_text(numbered(20))
    with pytest.raises(UsageError, match=message):
        load_corpus("a.txt", **options)


def test_names_are_looked_up_in_every_data_folder(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = bare_machine / "one", bare_machine / "two"
    (two / "mine").mkdir(parents=True)
    (two / "mine" / "text.txt").write_text(numbered(20))
    (two / "notes.txt.gz").write_bytes(gzip.compress(numbered(30).encode()))
    (two / "penn").mkdir()
    for split in ("train", "valid", "test"):
        (two / "penn" / f"ptb.{split}.txt").write_text(f"a {split}\n")
    monkeypatch.setenv("LMBENCH_DATA", f"{one}{os.pathsep}{two}")
    assert load_corpus("mine").name == "mine"
    assert sum(len(split.units) for split in load_corpus("notes")) == 30
    ptb = load_corpus("ptb")  # by its alias penn, and it is not the published text
    assert (ptb.name, ptb.test.units) == ("ptb", ["a test"])
    assert "ptb.train.txt differs from the published one" in ptb.notes[0]


def test_the_files_of_a_catalog_entry_are_recognised_by_their_checksum(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "first line\n\nsecond line of a play\n" * 10
    entry = Entry("play", "A play", "en", "here", "none", "last tenth", line="text",
                  files={"input.txt": hashlib.sha256(text.encode()).hexdigest()})  # fmt: skip
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    (bare_machine / "folder").mkdir()
    (bare_machine / "folder" / "input.txt").write_text(text)
    for place in ("folder", "folder/input.txt"):
        corpus = load_corpus(place)
        assert (corpus.name, corpus.line, corpus.language) == ("play", "text", "en")
    (bare_machine / "folder" / "input.txt").write_text(text + "more\n")
    assert load_corpus("folder").line == "sentence"


def test_published_cuts() -> None:
    assert cut(["abcdefghij"], Cut("characters", 6, 2), "x") == {
        "train": ("abcdef",),
        "valid": ("gh",),
        "test": ("ij",),
    }
    # é is two bytes: 4 bytes are "abé"; the next 3 are "c", "d" and half of "é", which moves to test.
    assert cut(["abécdéfg"], Cut("bytes", 4, 3), "x") == {"train": ("abé",), "valid": ("cd",), "test": ("éfg",)}
    # words are cut at the next line end
    parts = cut(["a b\nc\nd e", "f\ng h"], Cut("words", 2, 2), "x")
    assert parts == {"train": ("a b",), "valid": ("c\nd e",), "test": ("f\ng h",)}
    with pytest.raises(CorpusError, match="too few for its published split"):
        cut(["short"], Cut("characters", 90, 5), "text8")


def test_tagged_words_lose_their_tags(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("brown", "Tagged", "en", "here", "none", "cut", patterns={"train": "c[a-r][0-9][0-9]"},
                  cut=Cut("words", 4, 2), tagged=True)  # fmt: skip
    monkeypatch.setattr(catalog, "ENTRIES", (entry,))
    monkeypatch.setenv("LMBENCH_DATA", str(bare_machine))
    (bare_machine / "brown").mkdir()
    (bare_machine / "brown" / "ca01").write_text("\n\n\tThe/at jury/nn said/vbd ./.\n\n\tYes/rb 1/2/cd\n")
    (bare_machine / "brown" / "cb01").write_text("No/rb ./.\n")
    (bare_machine / "brown" / "cats.txt").write_text("ca01 news\n")
    assert units(load_corpus("brown")) == [["The jury said ."], ["Yes 1/2"], ["No ."]]


DATA = [Path(part) for part in os.environ.get("LMBENCH_DATA", "").split(os.pathsep) if part]


def real(name: str) -> Path:
    place = next((folder / name for folder in DATA if (folder / name).is_dir()), None)
    if place is None:
        pytest.skip(f"LMBENCH_DATA has no {name}")
    return place


def test_penn_treebank_has_its_published_events() -> None:
    tokenized = load_corpus(real("ptb")).tokenize("word")
    events = [tokenized.train.events, tokenized.valid.events, tokenized.test.events]
    assert events == [929_589, 73_760, 82_430]  # Mikolov's split, with </s>
    assert len(tokenized.tokenizer.vocabulary) == 10_000  # counting </s>
    assert tokenized.corpus.name == "ptb"


def test_shakespeare_has_its_published_cut() -> None:
    corpus = load_corpus(real("shakespeare"))
    # nanoGPT: int(0.9 * 1,115,394) = 1,003,854 characters are train; it reports on the other 111,540 = 2 * 55,770.
    assert [len(split.documents[0]) for split in corpus] == [1_003_854, 55_770, 55_770]
    assert (corpus.name, corpus.line) == ("shakespeare", "text")


def test_chinese_web_text_is_read_by_characters() -> None:
    corpus = load_corpus(real("zh") / "web.txt")
    assert (corpus.name, corpus.language) == ("zh-web", "zh")
    assert sum(len(split.units) for split in corpus) == 2_500
    assert corpus.tokenize("word").tokenizer.config.han is True
