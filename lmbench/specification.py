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
    """Split ``name:key=value:key=value`` into the name and its settings.

    >>> parse("ngram:order=3:smoothing=witten-bell")
    ('ngram', {'order': '3', 'smoothing': 'witten-bell'})
    """
    name, *parts = text.strip().split(":")
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


def parts(text: str) -> list[str]:
    """The parts of a mixture, or the one model: a + before a name joins, one inside a number does not.

    >>> parts("ngram:order=3+lstm:learning_rate=1e+1")
    ['ngram:order=3', 'lstm:learning_rate=1e+1']
    """
    return re.split(r"\+(?=\s*[A-Za-z_])", text)


def named(models: Sequence[str]) -> list[tuple[str, str]]:
    """Name and specification of each model of a list: ``kn5=ngram:order=5`` is called kn5, any other what it is.

    A part of a mixture may be called by such a name.

    >>> named(["kn5=ngram:order=5", "cache", "both=kn5+cache"])
    [('kn5', 'ngram:order=5'), ('cache', 'cache'), ('both', 'ngram:order=5+cache')]
    """
    known: dict[str, str] = {}
    for text in models:
        match = re.fullmatch(r"([^:+=]+)=(.+)", text.strip())
        name, written = (match[1].strip(), match[2].strip()) if match else (text, text)
        known[name] = "+".join(known.get(part.strip(), part) for part in parts(written))
    return list(known.items())


def split(text: str) -> list[str]:
    """The specifications of a comma-separated list.

    >>> split("ngram:order=3, lstm")
    ['ngram:order=3', 'lstm']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


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
