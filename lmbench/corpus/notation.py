"""Text of a grammar file -> ``Notation``: header, rules and lexicon, features written out.

The format, one statement a line; ``#`` opens a comment, an indented line continues the one above it::

    language: en                          header: language, separator, zipf
    separator: " "
    feature n = sg pl                     what n stands for in a name such as NP.n (n2, n3: a second, third n)
    phenomenon agreement: flip n in Verb  a kind of minimal pair (see ``minimal_pairs.py``)
    S -> NP.n VP.n [3] | "there" Be.n NP.n            weights in brackets, 1 where none is given
    Noun.n ~ dog/dogs cat/cats            words by falling frequency, one form for each value of n
    Det.sg ~0.5 the every                 the same, with a Zipf exponent of its own

A feature on the left makes one rule a value; a feature on the right alone makes one alternative a value,
which share the weight. Weights of a left side are divided by their sum. Words in quotes stand for themselves.
The word of rank r has weight ``r ** -zipf`` (Zipf 1935).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lmbench.errors import CorpusError

NAME = re.compile(r"[A-Za-z]\w*(\.\w+)*")
PIECE = re.compile(r'"[^"\s]+"|\[[^\]]*\]|\||[^\s|"\[\]]+')
HEADERS = ("language", "separator", "zipf")


@dataclass(frozen=True)
class Phenomenon:
    """One kind of minimal pair: flip ``feature`` in a word of the preterminals called ``names``, or swap such a word
    with the next.

    ``feature``: empty for a swap. ``across``: the last word before it that has the feature must have another
    value (an attractor); ``ahead``: the next one after it must. ``without``: words never put in. ``line``: of the file.
    """

    name: str
    feature: str = ""
    names: tuple[str, ...] = ()
    across: bool = False
    ahead: bool = False
    without: tuple[str, ...] = ()
    line: int = 0


@dataclass
class Notation:
    """What a file says. ``rules[left]``: alternatives, each (weight, right side); quoted words keep their quotes.

    ``lexicon[name]``: words and weights by rank. ``lines``: where each left side first stands; two lexicon
    entries with the same line hold forms of the same words.
    """

    source: str
    language: str = ""
    separator: str = " "
    zipf: float = 1.0
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    phenomena: list[Phenomenon] = field(default_factory=list)
    rules: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    lexicon: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def error(self, line: int, message: str) -> CorpusError:
        """The error that names file and line."""
        return CorpusError(f"{self.source}, line {line}: {message}")


def read_notation(text: str, source: str) -> Notation:
    """Read the whole file. ``source`` names it in errors. Raises CorpusError with file and line."""
    notation = Notation(source)
    for line, statement in _statements(text, source):
        for mark, read in (("->", _rule), ("~", _lexicon)):
            left, found, right = statement.partition(mark)
            if found and NAME.fullmatch(left.strip()):
                read(notation, line, left.strip(), right)
                break
        else:
            _header(notation, line, statement)
    if not notation.rules:
        raise CorpusError(f"{source} holds no rule. Write at least one, such as: S -> Noun Verb")
    preterminals = {name.split(".")[0] for name in notation.lexicon}
    for phenomenon in notation.phenomena:
        for name in phenomenon.names:
            if name not in preterminals:
                raise notation.error(phenomenon.line, f"{phenomenon.name} names {name}, for which no words are given.")
    return notation


def _statements(text: str, source: str) -> Iterator[tuple[int, str]]:
    """Number and text of each statement, comments cut off and continuation lines joined."""
    number = 0
    parts: list[str] = []
    for line, raw in enumerate(text.splitlines(), 1):
        content = re.sub(r"(^|\s)#.*", "", raw).rstrip()
        if not content:
            continue
        if not content[0].isspace():
            if parts:
                yield number, " ".join(parts)
            number, parts = line, []
        elif not parts:
            raise CorpusError(f"{source}, line {line}: an indented line continues a statement, and none stands above.")
        parts.append(content.strip())
    if parts:
        yield number, " ".join(parts)


def _header(notation: Notation, line: int, statement: str) -> None:
    """``key: value``, ``feature n = sg pl`` or ``phenomenon name: flip n in Verb``."""
    if match := re.fullmatch(r"feature\s+([A-Za-z]+)\s*=\s*(.+)", statement):
        notation.features[match[1]] = tuple(match[2].split())
    elif match := re.fullmatch(r"phenomenon\s+([\w-]+)\s*:\s*(.+)", statement):
        notation.phenomena.append(_phenomenon(notation, line, match[1], match[2]))
    elif (match := re.fullmatch(r"(\w+)\s*:\s*(.+)", statement)) and match[1] in HEADERS:
        value = match[2].strip()
        if match[1] == "zipf":
            notation.zipf = _number(notation, line, value)
        else:
            setattr(notation, match[1], value.strip('"'))
            if notation.separator not in ("", " "):
                raise notation.error(line, f'the separator of words is " " or "", not {value}.')
    else:
        raise notation.error(
            line,
            f"'{statement}' is neither a rule (A -> B C [2] | D), nor words (A ~ w w), nor a feature "
            f"(feature n = sg pl), a phenomenon or one of {', '.join(HEADERS)}.",
        )


def _phenomenon(notation: Notation, line: int, name: str, text: str) -> Phenomenon:
    if match := re.fullmatch(r"swap\s+([\w\s]+)", text.strip()):
        return Phenomenon(name, names=tuple(match[1].split()), line=line)
    pattern = r"flip\s+(\w+)\s+in\s+(?P<names>[\w\s]+?)(?P<way>\s+(across|ahead))?(\s+without\s+(?P<without>.+))?"
    match = re.fullmatch(pattern, text.strip())
    if not match or match[1] not in notation.features:
        raise notation.error(
            line,
            f"'{text}' is no minimal pair. Write 'swap NAME ..' or "
            "'flip FEATURE in NAME .. [across|ahead] [without WORD ..]'.",
        )
    way, without = (match["way"] or "").strip(), tuple((match["without"] or "").split())
    names = tuple(match["names"].split())
    return Phenomenon(name, match[1], names, way == "across", way == "ahead", without, line)


def _rule(notation: Notation, line: int, left: str, right: str) -> None:
    """Add the alternatives of one line, one for each value of the features in them."""
    for symbols, weight in _alternatives(notation, line, right):
        own = _variables(notation, [left])
        others = [v for v in _variables(notation, symbols) if v not in own]
        for values in _assignments(notation, own):
            name = _fill(left, values)
            if name in notation.lexicon:
                raise notation.error(line, f"{name} has words in line {notation.lines[name]}, so it takes no rules.")
            notation.lines.setdefault(name, line)
            known = notation.rules.setdefault(name, {})
            choices = list(_assignments(notation, others))
            for choice in choices:
                filled = tuple(_fill(symbol, {**values, **choice}) for symbol in symbols)
                if filled in known:
                    raise notation.error(line, f"{name} -> {' '.join(filled)} is given twice.")
                known[filled] = weight / len(choices)


def _alternatives(notation: Notation, line: int, right: str) -> Iterator[tuple[list[str], float]]:
    symbols: list[str] = []
    weight: float | None = None
    for piece in [*PIECE.findall(right), "|"]:
        if piece == "|":
            if not symbols:
                raise notation.error(line, "an alternative is empty. Every alternative needs at least one symbol.")
            yield symbols, 1.0 if weight is None else weight
            symbols, weight = [], None
        elif weight is not None:
            raise notation.error(line, f"'{piece}' follows a weight. A weight ends its alternative: put '|' between.")
        elif piece.startswith("["):
            weight = _number(notation, line, piece[1:-1])
        elif piece.startswith('"') or NAME.fullmatch(piece):
            symbols.append(piece)
        else:
            raise notation.error(line, f"'{piece}' is no symbol. Words stand in quotes, as in \"that\".")


def _lexicon(notation: Notation, line: int, left: str, right: str) -> None:
    """Add the words of one line; with a feature in the name, each word has a form for each of its values."""
    exponent = re.match(r"[\d.]+(?=\s)", right)
    zipf = _number(notation, line, exponent[0]) if exponent else notation.zipf
    entries = right[exponent.end() :].split() if exponent else right.split()
    variables = _variables(notation, [left])
    if len(variables) > 1:
        raise notation.error(line, f"{left} has words for more than one feature; only one can vary in a line.")
    forms = list(_assignments(notation, variables))
    table = [entry.split("/") for entry in entries]
    wrong = [entry for entry, row in zip(entries, table, strict=True) if len(row) != len(forms) or not all(row)]
    if wrong or not entries:
        found = f"'{wrong[0]}' does not" if wrong else "there is none"
        raise notation.error(line, f"each word of {left} needs {len(forms)} form(s), joined by '/': {found}.")
    for values, words in zip(forms, zip(*table, strict=True), strict=True):
        name = _fill(left, values)
        if name in notation.lines:
            raise notation.error(line, f"{name} stands in line {notation.lines[name]} already.")
        twice = next((word for number, word in enumerate(words) if word in words[:number]), None)
        if twice:
            raise notation.error(line, f"'{twice}' is given twice for {name}.")
        notation.lines[name] = line
        notation.lexicon[name] = (words, tuple(rank**-zipf for rank in range(1, len(words) + 1)))


def _variables(notation: Notation, symbols: list[str]) -> list[str]:
    """The features in dotted names, in order: ``NP.n VP.k.n2`` -> n, k, n2."""
    parts = [part for symbol in symbols if not symbol.startswith('"') for part in symbol.split(".")[1:]]
    return list(dict.fromkeys(part for part in parts if part.rstrip("0123456789") in notation.features))


def _assignments(notation: Notation, variables: list[str]) -> Iterator[dict[str, str]]:
    values = [notation.features[variable.rstrip("0123456789")] for variable in variables]
    for choice in itertools.product(*values):
        yield dict(zip(variables, choice, strict=True))


def _fill(symbol: str, values: dict[str, str]) -> str:
    if symbol.startswith('"'):
        return symbol
    first, *parts = symbol.split(".")
    return ".".join([first, *(values.get(part, part) for part in parts)])


def _number(notation: Notation, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise notation.error(line, f"'{text}' is not a number.") from None
    if not 0 < value < float("inf"):
        raise notation.error(line, f"a weight or exponent must be a positive number, not {text}.")
    return value
