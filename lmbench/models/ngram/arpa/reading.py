"""An ARPA file, by whatever program it was written -> an n-gram model, or the line that is wrong."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from lmbench.corpus.reading import COMPRESSED, read_bytes
from lmbench.corpus.vocabulary import BOUNDARY, UNKNOWN
from lmbench.errors import CorpusError, ModelError
from lmbench.models.ngram.arpa import CLOSED, KENLM_BINARY, START, lines
from lmbench.models.ngram.arpa.assembly import Listing, assemble
from lmbench.models.ngram.arpa.words import tokenizer_of
from lmbench.models.ngram.model import NGram, NGramConfig
from lmbench.models.ngram.table import Grams, Table

LN10 = float(np.log(10))
HIGHEST = 100
"""Orders above this are taken for damage."""
EXACT = 1e-3
"""How far from 1 the probabilities after a history may sum, such as the few digits of a file explain."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class Announced:
    """``ngram order=count``, and the byte of the file at which that stands."""

    order: int
    count: int
    where: int


class Arpa:
    """The bytes of an ARPA file, and how far they have been read. Every error names the line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = read_bytes(path)
        except CorpusError as error:
            raise ModelError(f"{error}{_unpacked(path)}") from None
        self.data = data if data.endswith(b"\n") else data + b"\n"
        self.at = 0
        if data.startswith(KENLM_BINARY):
            raise ModelError(
                f"{path} is a binary file of KenLM, not an ARPA file. KenLM's own module can read it: name it to "
                "lmbench convert, with its words in --vocabulary FILE."
            )

    def line_number(self, where: int) -> int:
        """The line, from 1, of the byte ``where``."""
        return self.data.count(b"\n", 0, where) + 1

    def fail(self, where: int, problem: str) -> NoReturn:
        raise ModelError(
            f"{self.path}, line {self.line_number(where):,}: {problem} "
            "The file is damaged or not in ARPA format; nothing was kept of it."
        )

    def shown(self, where: int) -> str:
        """The field that begins at ``where``."""
        field = re.compile(rb"[^ \t\r\n]*").match(self.data, where)
        return field[0][:60].decode("utf-8", "replace") if field else ""

    def next_line(self) -> tuple[int, bytes] | None:
        """The next line that is not blank, stripped, and where it begins; None at the end of the file."""
        while self.at < len(self.data):
            where, end = self.at, self.data.index(b"\n", self.at)
            self.at = end + 1
            line = self.data[where:end].strip(b" \t\r")
            if line:
                return where, line
        return None

    def header(self) -> list[Announced]:
        """The counts under ``\\data\\``; goes on to the first section."""
        begin = re.search(rb"^(?:\xef\xbb\xbf)?\\data\\[ \t\r]*$", self.data, re.MULTILINE)
        if begin is None:
            kind = "text" if b"\0" not in self.data[:4096] else "binary"
            raise ModelError(
                f"{self.path}, line 1: this {kind} file holds no line \\data\\, with which the counts of an ARPA file "
                "begin. Name an ARPA file (plain or .gz), such as lmplz, ngram-count or lmbench convert writes."
            )
        self.at = begin.end()
        found: list[Announced] = []
        while (line := self.next_line()) is not None:
            where, content = line
            if content.startswith(b"\\"):
                self.at = where
                break
            count = re.fullmatch(rb"ngram[ \t]+(\d{1,9})[ \t]*=[ \t]*(\d{1,18})", content)
            if count is None:
                self.fail(where, f"'{_excerpt(content)}' stands where a count belongs, such as ngram 2=5424.")
            found.append(Announced(int(count[1]), int(count[2]), where))
            self._check_count(found)
        if not found:
            self.fail(begin.start(), "\\data\\ is followed by no count, such as ngram 1=747.")
        return found

    def _check_count(self, found: Sequence[Announced]) -> None:
        order, count, where = found[-1].order, found[-1].count, found[-1].where
        if order != len(found):
            self.fail(where, f"the count of order {order} stands where that of order {len(found)} belongs.")
        if order > HIGHEST:
            self.fail(where, f"order {order} is announced; n-grams of up to {HIGHEST} words are read.")
        shortest = 2 * order + 2  # a digit, and each word a separator and a letter; the end of the line
        if sum(each.count * (2 * each.order + 2) for each in found) > len(self.data) or count >= 2**31:
            self.fail(
                where,
                f"{count:,} n-grams of order {order} are announced, of at least {shortest} bytes each; the whole file "
                f"has {len(self.data):,} bytes.",
            )

    def section(self, announced: Announced, slots: np.ndarray, spans: np.ndarray) -> tuple[int, Listing]:
        """The n-grams of the order that comes next, as numbers of the unigrams; and where its first line begins."""
        order, count = announced.order, announced.count
        title, line = f"\\{order}-grams:", self.next_line()
        if line is None or line[1] != title.encode():
            where, found = (line[0], f"'{_excerpt(line[1])}'") if line else (len(self.data) - 1, "the end of the file")
            self.fail(where, f"{found} stands where the section {title} belongs.")
        text, state = np.frombuffer(self.data, np.uint8), np.zeros(4, np.int64)
        first = state[lines.AT] = self.at
        words, log10_probs, log10_backoffs = np.empty((order, count), np.int32), np.empty(count), np.empty(count)
        if self.at < len(self.data):
            lines.parse_lines(text, state, words, log10_probs, log10_backoffs, slots, spans)
        self.at = int(state[lines.AT])
        if state[lines.FAULT]:
            self._refuse_line(announced, int(state[lines.FAULT]), int(state[lines.WHERE]))
        if state[lines.ENTRIES] < count:
            self.fail(
                min(self.at, len(self.data) - 1),
                f"the n-grams of order {order} end here after {int(state[lines.ENTRIES]):,}, but line "
                f"{self.line_number(announced.where):,} announces {count:,}.",
            )
        return first, Listing(words, *((values * LN10).astype(np.float32) for values in (log10_probs, log10_backoffs)))

    def _refuse_line(self, announced: Announced, fault: int, where: int) -> NoReturn:
        order, field = announced.order, self.shown(where)
        number = "must be a number, at most 0, as the logarithm of a probability is."
        problem = {
            lines.SURPLUS: f"a further n-gram of order {order} (or rubbish) stands after the {announced.count:,} that "
            f"line {self.line_number(announced.where):,} announces.",
            lines.WORDS: f"fewer than {order} words stand here, and the n-grams are of order {order}.",
            lines.NUMBER: f"the log10 probability '{field}' {number}",
            lines.POSITIVE: f"the log10 probability '{field}' is above 0, and no probability is above 1.",
            lines.BACKOFF: f"after {order} word{'s' * (order > 1)} '{field}' stands where a backoff weight, one "
            "number, or the end of the line belongs.",
            lines.UNKNOWN_WORD: f"the word '{field}' is not among the unigrams.",
            lines.TWICE: f"the word '{field}' stands among the unigrams twice.",
        }[fault]
        self.fail(where, problem)

    def line_of(self, first: int, place: int) -> tuple[int, bytes]:
        """Where the n-gram ``place`` of a section stands, whose first line begins at ``first``; and its line."""
        self.at = first
        for _ in range(place):
            self.next_line()
        return self.next_line() or (first, b"")

    def end(self) -> None:
        """Raise ModelError unless ``\\end\\`` follows, and nothing after it."""
        line = self.next_line()
        if line is None:
            self.fail(len(self.data) - 1, "the file ends without the line \\end\\: it was cut off.")
        if line[1] != b"\\end\\":
            self.fail(line[0], f"'{_excerpt(line[1])}' stands where \\end\\ belongs.")
        rest = self.next_line()
        if rest is not None:
            self.fail(rest[0], f"'{_excerpt(rest[1])}' stands after \\end\\, where the file must end.")


def _unpacked(path: Path) -> str:
    """How much of a damaged .gz file there is."""
    if not path.is_file() or path.read_bytes()[:2] != COMPRESSED[".gz"]:
        return ""
    text, stream = b"", zlib.decompressobj(wbits=31)
    with suppress(zlib.error):
        text = stream.decompress(path.read_bytes())
    last = text.count(b"\n") + 1
    return f" Of {path}, line {last:,} is the last that can be unpacked."


def _excerpt(line: bytes) -> str:
    return line[:60].decode("utf-8", "replace")


def read_arpa(path: str | Path, note: Note | None = None) -> NGram:
    """The model in an ARPA file, plain or compressed, by whatever program it was written.

    The vocabulary is that of the file: ``</s>``, ``<unk>``, then its other words in their order. ``note`` is told of
    what was completed, and where probabilities do not sum to one: then the model is not ``normalized``. Raises
    ModelError with the line where the file is not exactly what it announces to be.
    """
    file = Arpa(Path(path))
    counts = file.header()
    slots, spans = _word_table(counts)
    first, unigrams = file.section(counts[0], slots, spans)
    ids, types, start = _vocabulary(file, spans)
    firsts, longer = [first], []
    for announced in counts[1:]:
        first, listing = file.section(announced, slots, spans)
        _check_boundaries(file, first, listing.words, start, ids)
        firsts.append(first)
        longer.append(Listing(ids[listing.words], listing.log_probs, listing.log_backoffs))
    file.end()

    def fault(order: int, place: int, problem: str) -> NoReturn:
        where, line = file.line_of(firsts[order - 1], place)
        file.fail(where, f"'{_excerpt(line)}' cannot be: {problem}.")

    orders, total = assemble(_unigrams(ids, len(types), start, unigrams, bool(longer)), longer, fault)
    is_distribution = abs(total - 1) < EXACT
    if note:
        if len(types) > len(ids) - (start >= 0):
            note(f"{path} knows no {UNKNOWN}: it is given the log10 probability {CLOSED:g}, as KenLM does.")
        added = sum(map(len, orders[1:])) - sum(announced.count for announced in counts[1:])
        if added:
            note(f"{added:,} n-grams that end longer ones were pruned from {path}; they are put back by backing off.")
        if not is_distribution:
            note(
                f"{path} holds no distribution: after some words the probabilities of the next one sum to "
                f"{total:.4g}. It is kept as a score without perplexity, as that of stupid backoff."
            )
    config = NGramConfig(len(orders), "modified-kneser-ney" if is_distribution else "stupid-backoff")
    return NGram.of(Table(orders, len(types)), tokenizer_of(types), config)


def read_words(path: str | Path) -> list[str]:
    """The words of an ARPA file, from its unigrams alone: ``</s>``, ``<unk>``, then the others in their order."""
    file = Arpa(Path(path))
    counts = file.header()
    slots, spans = _word_table(counts)
    file.section(counts[0], slots, spans)
    return _vocabulary(file, spans)[1]


def _word_table(counts: Sequence[Announced]) -> tuple[np.ndarray, np.ndarray]:
    """Room for as many unigrams as are announced: slots, of which half stay empty, and spans."""
    return np.zeros(1 << max(8, (2 * counts[0].count).bit_length()), np.int32), np.empty((counts[0].count, 2), np.int64)


def _vocabulary(file: Arpa, spans: np.ndarray) -> tuple[np.ndarray, list[str], int]:
    """int32 (n,), the id of each unigram; the types by id; and which unigram is ``<s>``, or -1."""
    words: list[str] = []
    for begin, end in spans.tolist():
        try:
            words.append(file.data[begin:end].decode("utf-8"))
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            file.fail(begin, f"byte {error.start + 1} of the word (0x{byte:02X}) is not valid UTF-8.")
        if "\0" in words[-1]:
            file.fail(begin, "the word holds a NUL character.")
    places = {word: place for place, word in enumerate(words)}
    if BOUNDARY not in places:
        file.fail(int(spans[0, 0]) if len(spans) else 0, f"the unigrams hold no {BOUNDARY}, the end of a sentence.")
    unknown = places.get(UNKNOWN, places.get(UNKNOWN.upper(), -1))
    start = places.get(START, -1)
    special = {places[BOUNDARY], unknown, start}
    ids = np.zeros(len(words), np.int32)
    others = [place for place in range(len(words)) if place not in special]
    ids[others] = np.arange(2, 2 + len(others))
    if unknown >= 0:
        ids[unknown] = 1
    return ids, [BOUNDARY, UNKNOWN, *(words[place] for place in others)], start


def _check_boundaries(file: Arpa, first: int, words: np.ndarray, start: int, ids: np.ndarray) -> None:
    """Raise ModelError where ``<s>`` is not the first word of an n-gram or ``</s>`` not the last."""
    inside = (words[1:] == start).any(axis=0)
    closed = ((ids[words[:-1]] == 0) & (words[:-1] != start)).any(axis=0)
    if inside.any() or closed.any():
        where, _ = file.line_of(first, int((inside | closed).argmax()))
        file.fail(where, f"{START} may only be the first word of an n-gram, and {BOUNDARY} only the last.")


def _unigrams(ids: np.ndarray, size: int, start: int, listing: Listing, weighted: bool) -> Grams:
    """All types; the boundary with the probability of ``</s>`` and the backoff weight of ``<s>``, if ``weighted``."""
    log_probs, log_backoffs = np.full(size, CLOSED * LN10, np.float32), np.zeros(size, np.float32)
    events = np.arange(len(ids)) != start
    log_probs[ids[events]] = listing.log_probs[events]
    log_backoffs[ids[events]] = listing.log_backoffs[events]
    log_backoffs[0] = listing.log_backoffs[start] if start >= 0 else 0.0
    words = np.arange(size, dtype=np.int32)
    return Grams(np.array([0, size], np.int32), words, log_probs, log_backoffs if weighted else np.empty(0, np.float32))
