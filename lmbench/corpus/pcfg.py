"""Grammar file -> ``Grammar`` -> sentences whose entropy is known exactly.

A corpus sampled from a probabilistic context-free grammar has a true distribution: no model can have a
smaller cross-entropy on it than the grammar's own entropy, and the distance to it is all that is left to learn.
``notation.py`` tells how a grammar is written, ``prefixes.py`` how a sentence is given its probability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lmbench.corpus.derivation import Derivation, Leaves
from lmbench.corpus.notation import Notation, Phenomenon, read_notation
from lmbench.corpus.prefixes import Prefixes
from lmbench.errors import CorpusError, UsageError


@dataclass(frozen=True, eq=False)
class Grammar:
    """A probabilistic context-free grammar G = (symbols, rules, lexicon, start).

    A sentence is derived from the start symbol by replacing every symbol with the right side of one of its
    rules, drawn with the rule's probability; its probability is the product over the rules used, summed over
    its derivations. Symbols with words are preterminals. Booth & Thompson (1973); Chi (1999).

    ``symbols``: names, ``symbols[0]`` the start. ``rules``: (left, right side, probability), grouped by left
    side. ``words``: every (preterminal, word, probability), grouped likewise. ``lines``: the line of the file
    that defines each symbol. ``text``: the file itself.

    >>> toy = Grammar.parse("S -> A B [1] | A S [1]\\nA ~ a\\nB ~ b c")
    >>> round(toy.entropy_per_sentence, 4), toy.expected_words
    (2.0228, 3.0)
    >>> toy.sample(8, seed=1)
    ['a a a b', 'a a b']
    """

    name: str
    text: str
    language: str
    separator: str
    symbols: tuple[str, ...]
    rules: tuple[tuple[int, tuple[int, ...], float], ...]
    words: tuple[tuple[int, str, float], ...]
    lines: tuple[int, ...]
    features: dict[str, tuple[str, ...]]
    phenomena: tuple[Phenomenon, ...]

    @classmethod
    def read(cls, path: str | Path) -> Grammar:
        """The grammar in the file ``path``. Raises CorpusError where it cannot be read or is not sound."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise CorpusError(f"The grammar {path} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError as error:
            raise CorpusError(f"The grammar {path} is not UTF-8 text (byte {error.start}).") from None
        return cls.parse(text, path.stem, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "grammar", source: str | None = None) -> Grammar:
        """The grammar written in ``text``; ``source`` names it in errors."""
        notation = read_notation(text, source or name)
        grammar = _build(notation, name, text)
        _refuse_left_recursion(grammar, notation)
        if not (grammar._solve(np.ones(len(grammar.symbols))) >= 0.999).all():
            raise CorpusError(
                f"{notation.source}: derivations do not end: a symbol makes one or more new ones of itself on "
                "average. Lower the weights of the recursive rules."
            )
        return grammar

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """preterminal -> its first entry in ``words``, and the one after its last."""
        left = [symbol for symbol, _, _ in self.words]
        return {self.symbols[s]: (left.index(s), left.index(s) + left.count(s)) for s in dict.fromkeys(left)}

    # Exact quantities

    def _solve(self, own: np.ndarray) -> np.ndarray:
        """float64 (symbols,): expected sum of ``own`` over all symbols below each: x = (I - M)^-1 own.

        M[A, B] is the expected number of B in one rewriting of A. A non-negative answer to a positive ``own``
        exists exactly where the spectral radius of M is below 1, which makes the grammar consistent (Booth &
        Thompson 1973).
        """
        step = np.eye(len(self.symbols))
        for left, right, probability in self.rules:
            for symbol in right:
                step[left, symbol] -= probability
        try:
            return np.linalg.solve(step, own)
        except np.linalg.LinAlgError:
            return np.full(len(own), -1.0)

    def _expected(self, per_word: list[float]) -> float:
        """Expected sum over the words of a sentence of ``per_word``, one number for each entry of ``words``."""
        own = np.zeros(len(self.symbols))
        for (symbol, _, probability), value in zip(self.words, per_word, strict=True):
            own[symbol] += probability * value
        return float(self._solve(own)[0])

    @cached_property
    def entropy_per_sentence(self) -> float:
        """Nats: H(A) = h(A) + sum over rules A -> B C .. of p (H(B) + H(C) + ..), h the entropy of A's choice.

        Solved as H = (I - M)^-1 h (Grenander 1976; Chi 1999). It is the entropy of the derivations, so that of
        the sentences where each has but one. The end of the sentence is part of it: sentences differ in length.
        """
        own = np.zeros(len(self.symbols))
        for left, _, probability in (*self.rules, *self.words):
            own[left] -= probability * np.log(probability)
        return float(self._solve(own)[0])

    @cached_property
    def expected_words(self) -> float:
        """Expected number of words in a sentence, the boundary not counted."""
        return self._expected([1.0] * len(self.words))

    @cached_property
    def expected_characters(self) -> float:
        """Expected number of characters in a sentence, separators counted, the boundary not."""
        letters = self._expected([float(len(word)) for _, word, _ in self.words])
        return letters + len(self.separator) * (self.expected_words - 1)

    @property
    def expected_tokens(self) -> float:
        """Expected length in the units that ``sample`` counts: words, or characters where nothing separates words."""
        return self.expected_words if self.separator else self.expected_characters

    @property
    def entropy_per_token(self) -> float:
        """Nats per event: H / (E[tokens] + 1), the end of the sentence being an event like any other."""
        return self.entropy_per_sentence / (self.expected_tokens + 1)

    @property
    def entropy_per_character(self) -> float:
        """Nats per character, the newline that ends a sentence counted as one (as in ``Scores.characters``)."""
        return self.entropy_per_sentence / (self.expected_characters + 1)

    # Sampling

    def sample(self, tokens: int, seed: int | tuple[int, ...] = 0) -> list[str]:
        """The first sentences of the stream ``seed`` that hold at least ``tokens`` tokens, boundaries counted.

        A longer sample of the same seed begins with the shorter one. Raises UsageError for ``tokens < 1``.
        """
        if tokens < 1:
            raise UsageError(f"A sample needs at least one token, not {tokens}.")
        spelling = np.array([word for _, word, _ in self.words], object)
        sizes = np.array([1 if self.separator else len(word) for _, word, _ in self.words])
        sentences: list[str] = []
        for leaves in self.derive(seed):
            rows = [self.separator.join(row) for row in np.split(spelling[leaves.words], leaves.starts[1:-1])]
            total = np.cumsum(np.add.reduceat(sizes[leaves.words], leaves.starts[:-1]) + 1)
            needed = int(np.searchsorted(total, tokens)) + 1
            sentences += rows[:needed]
            tokens -= int(total[-1])
            if tokens <= 0:
                break
        return sentences

    def derive(self, seed: int | tuple[int, ...] = 0) -> Iterator[Leaves]:
        """The endless stream of derivations of ``seed``, ``BLOCK`` sentences at a time."""
        return self._derivation.stream(seed)

    @cached_property
    def _derivation(self) -> Derivation:
        return Derivation(len(self.symbols), self.rules, self.words)

    # Probability

    def log_prob(self, sentence: str) -> float:
        """ln p(sentence), nats, over all its derivations; -inf where the grammar does not derive it."""
        units = sentence.split(self.separator) if self.separator else sentence
        return self._parser.log_prob([self._units.get(unit, 0) for unit in units])

    @cached_property
    def _units(self) -> dict[str, int]:
        """The smallest written units, words or characters -> 1, 2, ..."""
        units = [word for _, word, _ in self.words] if self.separator else "".join(word for _, word, _ in self.words)
        return {unit: number for number, unit in enumerate(sorted(set(units)), 1)}

    @cached_property
    def _parser(self) -> Prefixes:
        units = self._units
        spelling = [(units[w],) if self.separator else tuple(units[c] for c in w) for _, w, _ in self.words]
        return Prefixes(self.rules, [(symbol, p) for symbol, _, p in self.words], spelling, spelling)


def _build(notation: Notation, name: str, text: str) -> Grammar:
    """Number the symbols that the start reaches, in the order met; divide weights by their sum."""
    numbers = {next(iter(notation.rules)): 0}
    rules: list[tuple[int, tuple[int, ...], float]] = []
    words: list[tuple[int, str, float]] = []
    lines: list[int] = []
    queue = list(numbers)
    for left in queue:  # grows while it is read
        lines.append(notation.lines.get(left, 0))
        if left in notation.rules:
            for right in notation.rules[left]:
                for symbol in right:
                    known = symbol in notation.rules or symbol in notation.lexicon or symbol.startswith('"')
                    if not known:
                        message = f"{left} uses {symbol}, which has neither rules nor words."
                        raise notation.error(notation.lines[left], message)
                    if symbol not in numbers:
                        numbers[symbol] = len(queue)
                        queue.append(symbol)
            total = sum(notation.rules[left].values())
            for right, weight in notation.rules[left].items():
                rules.append((numbers[left], tuple(numbers[symbol] for symbol in right), weight / total))
        else:
            quoted = ((left.strip('"'),), (1.0,))
            entries, weights = notation.lexicon.get(left, quoted)
            total = sum(weights)
            words += [(numbers[left], word, w / total) for word, w in zip(entries, weights, strict=True)]
    header = (notation.language, notation.separator)
    rest = (notation.features, tuple(notation.phenomena))
    return Grammar(name, text, *header, tuple(queue), tuple(rules), tuple(words), tuple(lines), *rest)


def _refuse_left_recursion(grammar: Grammar, notation: Notation) -> None:
    """Raise CorpusError where a symbol can begin with itself: prediction from the left would not end."""
    corners: dict[int, set[int]] = {}
    for left, right, _ in grammar.rules:
        corners.setdefault(left, set()).add(right[0])
    finished: set[int] = set()
    for first in corners:
        path: list[tuple[int, Iterator[int]]] = [(first, iter(corners[first]))]
        above = {first}
        while path and first not in finished:
            symbol, rest = path[-1]
            below = next(rest, None)
            if below is None:
                finished.add(symbol)
                above.discard(symbol)
                path.pop()
            elif below in above:
                name = grammar.symbols[below]
                raise notation.error(
                    notation.lines[name],
                    f"{name} can begin with {name} again. Write the rule so that it recurs on the right (A -> b A).",
                )
            elif below in corners and below not in finished:
                path.append((below, iter(corners[below])))
                above.add(below)
