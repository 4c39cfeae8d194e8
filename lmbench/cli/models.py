"""A family's name -> what it is and what can be set: read from its source, nothing is imported or run."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click


@dataclass(frozen=True)
class Setting:
    """One field of a configuration: ``name``, ``hint`` and ``default`` as written, and the sentence under it."""

    name: str
    hint: str
    default: str
    sentence: str


@dataclass(frozen=True)
class Family:
    """What the source says of a model: the first paragraph of its docstring, and its settings."""

    name: str
    idea: str
    settings: tuple[Setting, ...]


@click.command()
@click.argument("name", required=False, metavar="[NAME]")
def models(name: str | None) -> None:
    """List the model families, or everything that can be set in the one called NAME.

    \b
    lmbench models           one line a family
    lmbench models lstm      its idea, and each setting with its default
    """
    from lmbench import specification
    from lmbench.errors import unknown_name
    from lmbench.models import registry

    known = registry.names()
    if name is None:
        width = max(map(len, known)) + 2
        for each in sorted(known):
            sentence = re.split(r"(?<! al)\. ", read_family(each, known[each]).idea)[0]  # "et al." ends none
            click.echo(f"{each:<{width}}{sentence.rstrip('.')}.")
        return
    name, _ = specification.parse(name)
    if name not in known:
        raise unknown_name("model", name, known)
    family = read_family(name, known[name])
    click.echo("\n".join(textwrap.wrap(f"{name}: {family.idea}", 100)))
    if not family.settings:
        click.echo("\nThere is nothing to set.")
        return
    click.echo(f"\nSettings, written {name}:{family.settings[0].name}=...:")
    for setting in family.settings:
        click.echo(f"\n  {setting.name} = {setting.default}    ({setting.hint})")
        if setting.sentence:
            click.echo(textwrap.indent("\n".join(textwrap.wrap(setting.sentence, 94)), "      "))


def read_family(name: str, location: str) -> Family:
    """What the source at ``module:Class`` says; an empty idea where the source cannot be read."""
    module, _, attribute = location.partition(":")
    tree = _source(module)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)} if tree else {}
    if tree is None or attribute not in classes:
        return Family(name, "(its source cannot be read here)", ())
    idea = " ".join((ast.get_docstring(classes[attribute]) or "").partition("\n\n")[0].split())
    config = _config_of(classes[attribute])
    return Family(name, idea, tuple(_all_settings(tree, config)) if config else ())


def _all_settings(tree: ast.Module, name: str) -> list[Setting]:
    """The fields of the dataclass ``name`` as seen from the module ``tree``, then those it inherits."""
    here = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    where, config = (tree, here) if here else _imported_class(tree, name)
    if config is None:
        return []
    found = {setting.name: setting for setting in _settings(config)}
    for parent in config.bases:
        if isinstance(parent, ast.Name):
            for setting in _all_settings(where, parent.id):
                found.setdefault(setting.name, setting)
    return list(found.values())


def _config_of(model: ast.ClassDef) -> str | None:
    """The name that the class body binds ``Config`` to."""
    for node in model.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        named = any(isinstance(target, ast.Name) and target.id == "Config" for target in targets)
        value = getattr(node, "value", None)
        if named and isinstance(value, ast.Name):
            return value.id
    return None


def _settings(config: ast.ClassDef) -> list[Setting]:
    """The fields of a dataclass, each with the string that stands under it."""
    found = []
    followers = [*config.body[1:], None]
    for node, follower in zip(config.body, followers, strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if "ClassVar" in ast.unparse(node.annotation):
            continue
        sentence = ""
        if isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant):
            sentence = " ".join(str(follower.value.value).split())
        default = ast.unparse(node.value) if node.value else "(must be given)"
        found.append(Setting(node.target.id, ast.unparse(node.annotation), default, sentence))
    return found


def _imported_class(tree: ast.Module, name: str) -> tuple[ast.Module, ast.ClassDef | None]:
    """The module that ``tree`` imports the class ``name`` from, and the class in it."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            source = _source(node.module)
            for other in source.body if source else []:
                if source and isinstance(other, ast.ClassDef) and other.name == name:
                    return source, other
    return tree, None


def _source(module: str) -> ast.Module | None:
    """The parsed source of ``module``, which is not run; None where there is none to read."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
