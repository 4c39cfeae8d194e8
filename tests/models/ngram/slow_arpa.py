"""An ARPA file -> a dictionary, line by line, and probabilities by the definition: what the fast reader is held to."""

from __future__ import annotations

import re
from dataclasses import dataclass

Words = tuple[bytes, ...]


@dataclass
class SlowArpa:
    """``announced``: the counts of the header. ``entries``: words -> log10 p, log10 backoff weight. ``written``: those
    that stand in the file, on so many ``lines``."""

    announced: list[int]
    entries: dict[Words, tuple[float, float]]
    lines: int = 0
    written: tuple[Words, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> SlowArpa:
        _, _, body = data.partition(b"\\data\\")
        parsed, order = cls([], {}), 0
        for line in body.split(b"\n"):
            line = line.strip(b" \t\r")
            if line == b"\\end\\":
                break
            if not line:
                continue
            if title := re.fullmatch(rb"\\(\d+)-grams:", line):
                order = int(title[1])
            elif order == 0:
                parsed.announced.append(int(line.split(b"=")[1]))
            else:
                value, *words = re.split(rb"[ \t\r]+", line)
                backoff = float(words.pop()) if len(words) > order else 0.0
                parsed.entries[tuple(words)] = (_clipped(float(value)), _clipped(backoff))
                parsed.lines += 1
        parsed.written = tuple(parsed.entries)
        if (b"<UNK>",) in parsed.entries and (b"<unk>",) not in parsed.entries:
            return parsed
        if (b"<unk>",) not in parsed.entries:
            parsed.entries[(b"<unk>",)] = (-100.0, 0.0)
        return parsed

    def counts(self) -> list[int]:
        """N-grams of each order that stand in the file."""
        orders = [len(words) for words in self.written]
        return [orders.count(k) for k in range(1, len(self.announced) + 1)]

    def vocabulary(self) -> set[bytes]:
        return {words[0] for words in self.entries if len(words) == 1} - {b"<s>"}

    def log10_prob(self, history: Words, word: bytes) -> float:
        """log10 p(word | history), by the definition of backing off."""
        if (*history, word) in self.entries:
            return self.entries[(*history, word)][0]
        weight = self.entries[history][1] if history in self.entries else 0.0
        return weight + self.log10_prob(history[1:], word)


def _clipped(log10: float) -> float:
    """What is below all numbers means zero."""
    return log10 if log10 > -1e30 else -99.0
