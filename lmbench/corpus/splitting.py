"""Documents -> train / valid / test, the same way every time.

::

    files that name a split   train.txt, ptb.valid.txt, wiki.test.tokens, dev/part1.txt    as they are
    10 or more documents      in the order of their checksums, until each holds 7.5 %      whole documents
    fewer, a sentence a line  100 blocks of consecutive lines: every tenth valid, test     80 / 10 / 10 %
    fewer, mere text          the last tenth is test, the last tenth of the rest valid     81 / 9 / 10 %

In each ten the fifth block is valid and the tenth is test; a seed draws the two places anew for
each ten, and another order of the documents. A split that a folder lacks is cut from its train
split by the same rule.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from lmbench.corpus.reading import SPLIT_WORDS
from lmbench.errors import CorpusError

BLOCKS = 100
PERIOD = 10
LEAST, MOST = 0.075, 0.125
"""Share of the text that valid and test hold where whole documents are drawn."""
Documents = Mapping[str, tuple[str, ...]]
"""Split -> its documents."""


@dataclass(frozen=True)
class Cut:
    """Where a published split cuts one long text: ``train`` and ``valid`` in ``unit``; the rest is test."""

    unit: Literal["characters", "bytes", "words"]
    train: int
    valid: int

    def __str__(self) -> str:
        return f"first {self.train:,} {self.unit} train, next {self.valid:,} valid, the rest test"


def split_of(path: Path) -> str | None:
    """The split that the name of ``path`` means, or None. The file's name counts before its folders'.

    >>> split_of(Path("ptb/ptb.train.txt")), split_of(Path("dev/part-1.txt")), split_of(Path("emma.txt"))
    ('train', 'valid', None)
    """
    for part in reversed(path.parts):
        found = {SPLIT_WORDS[word] for word in re.split(r"[^a-z]+", part.lower()) if word in SPLIT_WORDS}
        if len(found) == 1:
            return found.pop()
    return None


def by_names(files: Sequence[Path], folder: Path) -> dict[str, list[Path]]:
    """Split -> the files whose names mean it, in the order train, valid, test; empty where the names mean nothing.

    One name alone means nothing among others that name no split: ``train-journey.txt`` is a document there.
    Raises CorpusError where a folder has a test or valid file but nothing to train on.
    """
    named = [(split, path) for path in files if (split := split_of(path.relative_to(folder)))]
    found = {split: [path for s, path in named if s == split] for split in ("train", "valid", "test")}
    found = {split: paths for split, paths in found.items() if paths}
    if len(named) < len(files) and (len(found) < 2 or "train" not in found):
        return {}
    if found and "train" not in found:
        raise CorpusError(
            f"The folder {folder} holds {' and '.join(found)} but no train split: "
            f"{', '.join(path.name for path in files[:5])}. Add a file such as train.txt, or name one file alone."
        )
    return found


def hold_out(
    documents: Sequence[str], line: str, wanted: Sequence[str], seed: int | None, name: str
) -> tuple[Documents, str]:
    """Cut the ``wanted`` splits (of valid, test) from ``documents``; the rest is train.

    Gives the documents of train and of each wanted split, and in words how they were cut.
    Raises CorpusError where there is too little text.
    """
    if len(documents) >= PERIOD:
        shares = f"about a tenth of the text is {' and a tenth '.join(wanted)}"
        return _whole(documents, wanted, seed), f"{len(documents)} documents, whole: {shares}"
    if line == "text":
        return _tails(documents, wanted, name)
    lines = [line for document in documents for line in document.split("\n")]
    if len(lines) < PERIOD:
        raise CorpusError(
            f"{name} is too small to split: {len(lines)} line{'s' * (len(lines) != 1)}, and at least {PERIOD} are "
            "needed to cut valid and test from it. Give more text, or a folder with train.txt, valid.txt and test.txt."
        )
    count = min(BLOCKS, len(lines))
    bounds = [i * len(lines) // count for i in range(count + 1)]
    blocks = ["\n".join(lines[a:b]) for a, b in pairwise(bounds)]
    how = f"{count} blocks of consecutive lines: every tenth {' and '.join(wanted)}"
    return _every_tenth(blocks, wanted, seed), how


def _whole(documents: Sequence[str], wanted: Sequence[str], seed: int | None) -> Documents:
    """Whole documents, drawn in the order of their checksums; one too long for its share is passed over."""
    least, most = LEAST * sum(map(len, documents)), MOST * sum(map(len, documents))
    salt = b"" if seed is None else f"{seed}\0".encode()
    keys = [hashlib.sha256(salt + document.encode()).digest() for document in documents]
    order = sorted(range(len(documents)), key=keys.__getitem__)
    chosen: dict[int, str] = {}
    for split in wanted:
        size = 0
        for i in order:
            if size < least and i not in chosen and size + len(documents[i]) <= most:
                chosen[i], size = split, size + len(documents[i])
        if not size:  # nothing but long ones
            chosen[min((i for i in order if i not in chosen), key=lambda i: len(documents[i]))] = split
    return {
        split: tuple(document for i, document in enumerate(documents) if chosen.get(i, "train") == split)
        for split in ("train", *wanted)
    }


def _every_tenth(pieces: Sequence[str], wanted: Sequence[str], seed: int | None) -> Documents:
    places = {"valid": PERIOD // 2 - 1, "test": PERIOD - 1}
    parts: dict[str, list[str]] = {"train": [], **{split: [] for split in wanted}}
    generator = None if seed is None else random.Random(seed)
    for i, piece in enumerate(pieces):
        if i % PERIOD == 0 and generator and len(pieces) - i >= PERIOD:
            places = dict(zip(("valid", "test"), generator.sample(range(PERIOD), 2), strict=True))
        split = next((split for split in wanted if i % PERIOD == places[split]), "train")
        parts[split].append(piece)
    return {split: tuple(part) for split, part in parts.items()}


def _tails(documents: Sequence[str], wanted: Sequence[str], name: str) -> tuple[Documents, str]:
    parts: dict[str, list[str]] = {"train": [], **{split: [] for split in wanted}}
    for document in documents:
        for split in sorted(wanted):  # test first: it is the very end
            end = int(len(document) * 0.9)
            if min(end, len(document) - end) < PERIOD:
                raise CorpusError(
                    f"{name} is too small to split: a document of {len(document)} characters leaves fewer than "
                    f"{PERIOD} for {split}. Give more text, or a folder with train.txt, valid.txt and test.txt."
                )
            parts[split].append(document[end:])
            document = document[:end]
        parts["train"].append(document)
    order = " and ".join(f"the last tenth{' of the rest' * i} is {s}" for i, s in enumerate(sorted(wanted)))
    return {split: tuple(part) for split, part in parts.items()}, order


def cut(documents: Sequence[str], where: Cut, name: str) -> Documents:
    """Cut the joined ``documents`` at the places of a published split.

    Words are cut at the next line end, bytes at the next character. Raises CorpusError where the text ends early.
    """
    text = "\n".join(documents)
    size: Callable[[int, int], int] = {"characters": _characters, "bytes": _bytes(text), "words": _words(text)}[
        where.unit
    ]
    first = size(0, where.train)
    second = size(first, where.valid)
    if not first < second < len(text):
        raise CorpusError(
            f"{name} holds {len(text):,} characters, too few for its published split ({where}). "
            f"The file is not the whole corpus: get it again (lmbench corpus get {name})."
        )
    parts = {"train": text[:first], "valid": text[first:second], "test": text[second:]}
    if where.unit == "words":
        parts = {split: part.strip("\n") for split, part in parts.items()}
    return {split: (part,) for split, part in parts.items()}


def _characters(start: int, size: int) -> int:
    return start + size


def _bytes(text: str) -> Callable[[int, int], int]:
    def advance(start: int, size: int) -> int:
        if text.isascii():
            return start + size
        # `size` bytes are at most as many characters; the undecodable tail is the character in the middle of the cut.
        return start + len(text[start : start + size].encode()[:size].decode(errors="ignore"))

    return advance


def _words(text: str) -> Callable[[int, int], int]:
    def advance(start: int, size: int) -> int:
        while size > 0 and start < len(text):
            end = text.find("\n", start) + 1 or len(text)
            size -= len(text[start:end].split())
            start = end
        return start

    return advance
