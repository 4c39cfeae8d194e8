"""A corpus name -> ``Entry``: what it is, whose it is, where it comes from, how it is split and read.

Only what is known is stated. ``sha256`` is the checksum of the archive or file as published; where it
is None the first download is recorded beside the text and later ones are held against it (trust on
first use). Checksums in ``files`` are those of the unpacked text.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from lmbench.corpus import places
from lmbench.corpus.reading import BlankLines
from lmbench.corpus.splitting import Cut
from lmbench.errors import CorpusError

Line = Literal["sentence", "text"]
MAHONEY = "https://mattmahoney.net/dc/"
WIKITEXT = "https://wikitext.smerity.com/"
WIKITEXT_LICENCE = "CC BY-SA 3.0 and GFDL (Wikipedia)"


@dataclass(frozen=True)
class Download:
    """One file to fetch: where it lies, and its SHA-256 as published (None where none is known)."""

    url: str
    sha256: str | None = None

    @property
    def filename(self) -> str:
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class Entry:
    """A corpus that can be asked for by name.

    ``splits``: how train, valid and test come about. ``line``: what a line is; ``blank_lines``: whether a blank one
    is an (empty) sentence. ``unit``: the tokenizer its figures are published with. ``downloads``: where it is public;
    otherwise ``obtain`` says how to come by it. ``files``: name -> SHA-256 of the text files, where known.
    ``patterns``: split -> glob, where the file names alone do not tell. ``cut``: where one long text is cut.
    ``tagged``: words are written ``word/tag``. ``made``: sampled or assembled here, nothing to obtain.
    """

    name: str
    title: str
    language: str
    origin: str
    licence: str
    splits: str
    line: Line = "sentence"
    blank_lines: BlankLines = "drop"
    unit: str = "word"
    downloads: tuple[Download, ...] = ()
    obtain: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    cut: Cut | None = None
    tagged: bool = False
    made: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name and its aliases: what the folder that holds it may be called."""
        return (self.name, *self.aliases)


DEFAULT = "english"

ENTRIES = (
    Entry(
        "english",
        title="English sampled from a grammar written for lmbench",
        language="en",
        origin="lmbench.corpus.grammar: every sentence has a known true probability",
        licence="MIT, with lmbench",
        splits="sampled independently, seeded",
        made=True,
    ),
    Entry(
        "chinese",
        title="Chinese sampled from a grammar written for lmbench",
        language="zh",
        origin="lmbench.corpus.grammar: every sentence has a known true probability",
        licence="MIT, with lmbench",
        splits="sampled independently, seeded",
        made=True,
    ),
    Entry(
        "pydocs",
        title="Documentation and comments of the running Python interpreter's library",
        language="en",
        origin="pydoc topics, docstrings and comments of the standard library, found on this machine",
        licence="PSF-2.0",
        splits="whole modules and topics, drawn by their checksums: about a tenth valid, a tenth test",
        made=True,
        aliases=(f"pydocs-{platform.python_version()}",),
    ),
    Entry(
        "ptb",
        title="Penn Treebank, Wall Street Journal, Mikolov's preparation",
        language="en",
        origin="LDC99T42, as prepared for Mikolov et al. 2010: sections 0-20, 21-22, 23-24; 10,000 types",
        licence="Linguistic Data Consortium, research use; not redistributable",
        splits="published: train, valid, test",
        obtain=(
            "It belongs to the Linguistic Data Consortium (LDC99T42, https://catalog.ldc.upenn.edu/LDC99T42), so it is "
            "not fetched for you. ptb.train.txt, ptb.valid.txt and ptb.test.txt come with Mikolov's rnnlm example "
            "(simple-examples.tgz, folder data)."
        ),
        files={
            "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
            "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
            "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        },
        aliases=("penn-treebank", "penn"),
    ),
    Entry(
        "ptb-char",
        title="Penn Treebank as characters, Mikolov's preparation",
        language="en",
        origin="the words of ptb spelled out, '_' for the space between words (Mikolov et al. 2012)",
        licence="Linguistic Data Consortium, research use; not redistributable",
        splits="published: train, valid, test",
        obtain=(
            "It belongs to the Linguistic Data Consortium (LDC99T42). ptb.char.train.txt, ptb.char.valid.txt and "
            "ptb.char.test.txt come with Mikolov's rnnlm example (simple-examples.tgz, folder data)."
        ),
        patterns={"train": "ptb.char.train.txt", "valid": "ptb.char.valid.txt", "test": "ptb.char.test.txt"},
    ),
    Entry(
        "wikitext-2",
        title="WikiText-2, words, rare ones replaced by <unk>",
        language="en",
        origin="Merity et al. 2016, good and featured articles of Wikipedia",
        licence=WIKITEXT_LICENCE,
        splits="published: train, valid, test",
        blank_lines="keep",
        downloads=(
            Download(
                f"{WIKITEXT}wikitext-2-v1.zip", "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c"
            ),
        ),
        aliases=("wikitext2", "wt2"),
    ),
    Entry(
        "wikitext-2-raw",
        title="WikiText-2, unaltered words",
        language="en",
        origin="Merity et al. 2016, good and featured articles of Wikipedia",
        licence=WIKITEXT_LICENCE,
        splits="published: train, valid, test",
        blank_lines="keep",
        unit="bpe",
        downloads=(
            Download(
                f"{WIKITEXT}wikitext-2-raw-v1.zip", "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"
            ),
        ),
    ),
    Entry(
        "wikitext-103",
        title="WikiText-103, words, rare ones replaced by <unk>",
        language="en",
        origin="Merity et al. 2016, good and featured articles of Wikipedia",
        licence=WIKITEXT_LICENCE,
        splits="published: train, valid, test (valid and test are those of wikitext-2)",
        blank_lines="keep",
        downloads=(
            Download(
                f"{WIKITEXT}wikitext-103-v1.zip", "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590"
            ),
        ),
        aliases=("wikitext103", "wt103"),
    ),
    Entry(
        "wikitext-103-raw",
        title="WikiText-103, unaltered words",
        language="en",
        origin="Merity et al. 2016, good and featured articles of Wikipedia",
        licence=WIKITEXT_LICENCE,
        splits="published: train, valid, test",
        blank_lines="keep",
        unit="bpe",
        downloads=(
            Download(
                f"{WIKITEXT}wikitext-103-raw-v1.zip", "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794"
            ),
        ),
    ),
    Entry(
        "text8",
        title="text8: 100 million characters of Wikipedia, letters a-z and space",
        language="en",
        origin="M. Mahoney, from the English Wikipedia of 3 March 2006",
        licence="GFDL (Wikipedia)",
        splits="published: first 90 million characters train, next 5 million valid, last 5 million test",
        line="text",
        unit="char",
        downloads=(
            Download(f"{MAHONEY}text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232"),
        ),
        cut=Cut("characters", 90_000_000, 5_000_000),
    ),
    Entry(
        "enwik8",
        title="enwik8: 100 million bytes of Wikipedia, XML as it is",
        language="en",
        origin="M. Mahoney, the first 10^8 bytes of the English Wikipedia of 3 March 2006 (Hutter prize)",
        licence="GFDL (Wikipedia)",
        splits="published: first 90 million bytes train, next 5 million valid, last 5 million test",
        line="text",
        unit="byte",
        downloads=(
            Download(f"{MAHONEY}enwik8.zip", "547994d9980ebed1288380d652999f38a14fe291a6247c157c3d33d4932534bc"),
        ),
        files={"enwik8": "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8"},
        cut=Cut("bytes", 90_000_000, 5_000_000),
        aliases=("hutter",),
    ),
    Entry(
        "shakespeare",
        title="Tiny Shakespeare",
        language="en",
        origin="A. Karpathy, char-rnn: 40,000 lines of plays",
        licence="public domain text",
        splits=(
            "first 90 % train, as in char-rnn and nanoGPT; the last 10 %, on which their figures are taken, is cut in "
            "half: valid, test"
        ),
        cut=Cut("characters", 1_003_854, 55_770),
        line="text",
        unit="char",
        downloads=(
            Download(
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        ),
        files={"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        aliases=("tiny-shakespeare", "tinyshakespeare"),
    ),
    Entry(
        "brown",
        title="Brown corpus, a million words of American English of 1961",
        language="en",
        origin="Francis and Kucera 1964, as packed by NLTK (word/tag; the tags are taken off)",
        licence="non-commercial use",
        splits=(
            "as Bengio et al. 2003: first 800,000 words train, next 200,000 valid, the rest test, cut at the next "
            "sentence end; their own preparation of the words is not public, so figures differ slightly"
        ),
        downloads=(Download("https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora/brown.zip"),),
        patterns={"train": "c[a-r][0-9][0-9]"},
        cut=Cut("words", 800_000, 200_000),
        tagged=True,
    ),
    Entry(
        "lm1b",
        title="One Billion Word Benchmark: shuffled sentences of news",
        language="en",
        origin="Chelba et al. 2013, from the WMT 2011 news crawl",
        licence="see statmt.org/lm-benchmark; news text, research use",
        splits="train: the 99 training parts; test: held-out part 0, as published; valid: held-out part 1",
        downloads=(
            Download(
                "https://www.statmt.org/lm-benchmark/1-billion-word-language-modeling-benchmark-r13output.tar.gz",
                "01ba60381110baf7f189dfd2b8374de371e8c9a340835793f190bdae9e90a34e",
            ),
        ),
        patterns={
            "train": "training-monolingual.tokenized.shuffled/news.en-*",
            "valid": "heldout-monolingual.tokenized.shuffled/news.en.heldout-00001-of-*",
            "test": "heldout-monolingual.tokenized.shuffled/news.en.heldout-00000-of-*",
        },
        aliases=("one-billion-word", "1b"),
    ),
    Entry(
        "novels",
        title="English novels of the nineteenth century",
        language="en",
        origin="computationalstylistics/100_english_novels (a selection)",
        licence="public domain text",
        splits="whole novels, drawn by their checksums: about a tenth valid, a tenth test",
        obtain=(
            "Copy the text files of https://github.com/computationalstylistics/100_english_novels (folder corpus) "
            "into a folder."
        ),
    ),
    Entry(
        "zh-web",
        title="Chinese web text, one document a line",
        language="zh",
        origin="dbiir/UER-py, a sample of CLUECorpusSmall",
        licence="see UER-py and CLUECorpus2020; research use",
        splits="100 blocks of consecutive documents: every tenth valid, every tenth test",
        obtain="A sample comes with https://github.com/dbiir/UER-py (folder corpora). Name the file web.txt.",
        files={"web.txt": "fe83f0106d6aa4d552f7d9ce688ad0f23451fe65333b46dcc17323929e618ec6"},
        aliases=("zh",),
    ),
)

CATALOG: dict[str, Entry] = {entry.name: entry for entry in ENTRIES}
"""Name -> entry, in the order in which they are listed to a user."""


def find(name: str) -> Entry | None:
    """The entry called ``name``, by its name or an alias, or None."""
    return next((entry for entry in ENTRIES if name.lower() in entry.names), None)


def not_here(entry: Entry) -> CorpusError:
    """The error for a corpus that is known and not on this machine."""
    how = f"Run: lmbench corpus get {entry.name}" if entry.downloads else entry.obtain
    return CorpusError(
        f"The corpus {entry.name} ({entry.title}) is not on this machine. {how} If you have it already, run lmbench "
        f"corpus get {entry.name} --from PATH, or set LMBENCH_DATA to the folder that holds {entry.name}/."
        f"{places.complaint()}"
    )
