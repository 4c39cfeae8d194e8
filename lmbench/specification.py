"""``"lstm:hidden=256:layers=2"`` -> a name and a frozen configuration.

Models and tokenizers are written the same way wherever a user names them: on the command line,
in a recipe, in Python. The keys are the fields of the configuration dataclass; their type hints
say how a value is read, and the dataclass validates itself.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmbench.errors import UsageError, unknown_name


def parse(text: str) -> tuple[str, dict[str, str]]:
    """Split ``name:key=value:key=value`` into the name and its settings; a model in parentheses is left out.

    >>> parse("ngram:order=3:smoothing=witten-bell")
    ('ngram', {'order': '3', 'smoothing': 'witten-bell'})
    """
    name, *parts = wrapped(text)[0].strip().split(":")
    if not name:
        raise UsageError(f"'{text}' names nothing. Write name or name:key=value:key=value.")
    settings: dict[str, str] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise UsageError(f"In '{text}', '{part}' is not key=value. Write name:key=value:key=value.")
        if key in settings:
            raise UsageError(f"In '{text}', '{key}' is given twice.")
        settings[key] = value
    return name, settings


def wrapped(text: str) -> tuple[str, str | None]:
    """A specification without the model in its parentheses, and that model, None where it has none.

    >>> wrapped("dynamic(lstm:hidden=256):segment=20")
    ('dynamic:segment=20', 'lstm:hidden=256')
    """
    first = re.search(r"[():=]", text)
    if first is None or first[0] in ":=":  # a parenthesis in a value, such as a path, is part of it
        return text, None
    close = next((at for at in range(first.start(), len(text)) if not _open(text[: at + 1])), None)
    if first[0] == ")" or close is None:
        raise UsageError(
            f"In '{text}' a parenthesis is not {'opened' if first[0] == ')' else 'closed'}. Write the model that is "
            "wrapped in a pair of them: dynamic(lstm:hidden=256):segment=20."
        )
    name, base, rest = text[: first.start()].strip(), text[first.end() : close].strip(), text[close + 1 :].strip()
    if not name or not base or rest[:1] not in ("", ":"):
        lacking = "no name before" if not name else "no model in" if not base else f"'{rest}' after"
        raise UsageError(
            f"'{text}' has {lacking} its parentheses. Write name(model) or name(model):key=value, for example "
            "dynamic(lstm:hidden=256):segment=20."
        )
    return name + rest, base


def parts(text: str) -> list[str]:
    """The parts of a mixture, or the one model: a + before a name joins, one inside a number or parentheses does not.

    >>> parts("ngram:order=3+lstm:learning_rate=1e+1")
    ['ngram:order=3', 'lstm:learning_rate=1e+1']
    """
    return _cut(text, r"\+(?=\s*[A-Za-z_])")


def families(text: str) -> list[str]:
    """The names of all families that a specification is made of.

    >>> families("neural-cache(lstm:hidden=256)+ngram")
    ['neural-cache', 'lstm', 'ngram']
    """
    found = []
    for part in parts(text):
        base = wrapped(part)[1]
        found += [parse(part)[0], *(families(base) if base else ())]
    return found


def depth(text: str) -> int:
    """How many models deep a specification is: 0 for one that stands alone, else one more than what it is made of.

    >>> depth("lstm"), depth("dynamic(lstm)"), depth("dynamic(lstm)+ngram")
    (0, 1, 2)
    """
    pieces = parts(text)
    bases = [wrapped(piece)[1] for piece in pieces]
    return max(1 + depth(base) if base else 0 for base in bases) + (len(pieces) > 1)


def named(models: Sequence[str]) -> list[tuple[str, str]]:
    """Name and specification of each model of a list: ``kn5=ngram:order=5`` is called kn5, any other what it is.

    A part of a mixture, or a model in parentheses, may be called by such a name.

    >>> named(["kn5=ngram:order=5", "cache", "both=kn5+cache"])
    [('kn5', 'ngram:order=5'), ('cache', 'cache'), ('both', 'ngram:order=5+cache')]
    """
    known: dict[str, str] = {}
    for text in models:
        match = re.fullmatch(r"([^:+=]+)=(.+)", text.strip())
        name, written = (match[1].strip(), match[2].strip()) if match else (text, text)
        known[name] = _resolved(written, known)
    return list(known.items())


def _resolved(text: str, known: Mapping[str, str]) -> str:
    """``text`` with the specification in place of each name that is ``known``."""
    pieces = []
    for part in parts(text):
        own, base = (known[part.strip()], None) if part.strip() in known else wrapped(part)
        name, *settings = own.split(":")
        pieces.append(own if base is None else ":".join([f"{name}({_resolved(base, known)})", *settings]))
    return "+".join(pieces)


def split(text: str) -> list[str]:
    """The specifications of a comma-separated list; a comma in parentheses separates none.

    >>> split("ngram:order=3, lstm")
    ['ngram:order=3', 'lstm']
    """
    return [part.strip() for part in _cut(text, ",") if part.strip()]


def _cut(text: str, separator: str) -> list[str]:
    """The pieces between those matches of ``separator`` that stand outside parentheses."""
    cuts = [match.span() for match in re.finditer(separator, text) if not _open(text[: match.start()])]
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def _open(text: str) -> int:
    """How many parentheses of ``text`` wait to be closed."""
    return max(0, text.count("(") - text.count(")"))


def configure(kind: str, config: type[Any], settings: Mapping[str, Any]) -> Any:
    """Build the dataclass ``config`` from ``settings``, reading strings by the fields' types.

    Raises UsageError for an unknown key (with the nearest one) or a value of the wrong type.
    """
    hints = typing.get_type_hints(config)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(config) if field.init}
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in fields:
            raise unknown_name(f"setting of {kind} named", key, fields)
        values[key] = _read(kind, key, value, fields[key]) if isinstance(value, str) else value
    return config(**values)


def describe(name: str, config: Any) -> str:
    """The shortest specification that gives ``config`` back: only what differs from the defaults."""
    changed = [
        f"{field.name}={_write(getattr(config, field.name))}"
        for field in dataclasses.fields(config)
        if field.init and getattr(config, field.name) != field.default
    ]
    return ":".join([name, *changed])


def _write(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _read(kind: str, key: str, text: str, hint: Any) -> Any:
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in choices and text.lower() in ("none", ""):
            return None
        return _read(kind, key, text, next(choice for choice in choices if choice is not type(None)))
    if origin is typing.Literal:
        if text not in choices:
            raise unknown_name(f"{key} of {kind} called", text, choices)
        return text
    readers: dict[Any, Callable[[str], Any]] = {int: _integer, float: float, bool: _truth, str: str}
    if hint not in readers:
        raise UsageError(f"'{key}' of {kind} cannot be set from text; set it from Python.")
    try:
        return readers[hint](text)
    except ValueError:
        nouns = {int: "a whole number", float: "a number", bool: "true or false"}
        raise UsageError(f"'{key}' of {kind} must be {nouns[hint]}, not '{text}'.") from None


def _integer(text: str) -> int:
    number = float(text)  # so that 1e5 reads as a count
    if number != int(number):
        raise ValueError(text)
    return int(number)


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]
