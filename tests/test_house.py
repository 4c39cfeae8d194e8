"""The rules of the house, read from the sources: order of imports, size of files, what stays out, what is said."""

from __future__ import annotations

import ast
import csv
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import lmbench

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lmbench"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ORDER = (
    "errors", "compiled", "specification", "corpus", "training", "models", "scoring", "tasks", "benchmark", "report",
    "cli",
)  # fmt: skip
"""A part imports from itself and from those before it. ``__version__`` of the package itself is free to all."""
WITHOUT_TORCH = ("lmbench", "lmbench.cli.application", "lmbench.scoring.metrics", "lmbench.benchmark.results")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and full name of every module of lmbench that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("lmbench"))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full, not relative"
            if node.module == "lmbench":
                yield from ((node.lineno, f"lmbench.{alias.name}") for alias in node.names)
            elif node.module and node.module.startswith("lmbench."):
                yield node.lineno, node.module


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def guarded_lines(tree: ast.AST) -> set[int]:
    """Lines under ``if TYPE_CHECKING:``, which are never run."""
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {line for guard in guards for line in range(guard.lineno, (guard.end_lineno or guard.lineno) + 1)}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent != PACKAGE or p.stem in ORDER], ids=relative)
def test_imports_point_only_to_the_left(path: Path) -> None:
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    public = lmbench.__all__ if part == "cli" else ()
    allowed = {*ORDER[: ORDER.index(part) + 1], *public}
    tree = parse(path)
    types_only = guarded_lines(tree)
    for line, module in imported_modules(tree):
        target = module.removeprefix("lmbench").removeprefix(".").partition(".")[0]
        if target not in ("", "__version__") and line not in types_only:
            assert target in allowed, f"{relative(path)}:{line}: {part} may not import {module}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lmbench" and part != "cli":
            assert node.attr.startswith("__"), f"{relative(path)}:{node.lineno}: the public names are for users"


def test_every_part_stands_in_the_order() -> None:
    parts = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if not path.name.startswith(("_", "."))}
    assert parts - {"corpora", "recipes", "py.typed"} == set(ORDER)


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_torch_is_not_loaded(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_report_loads_torch() -> None:
    modules = [f"lmbench.report.{path.stem}" for path in (PACKAGE / "report").glob("*.py") if path.stem != "__init__"]
    code = f"import sys, {', '.join(['lmbench.report', *modules])}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_file_tells_one_story(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400, "past 400 lines a file is two"
    if text.strip():
        docstring = ast.get_docstring(parse(path))
        assert docstring, "a module opens with a docstring that says what goes in and what comes out"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_what_stays_out(path: Path) -> None:
    """No pickle, no torch.load without weights_only, no print outside the command line, no assert, no bare except."""
    in_cli = path.is_relative_to(PACKAGE / "cli")
    for node in ast.walk(parse(path)):
        where = f"{relative(path)}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.Assert), f"{where}: assert vanishes under python -O; raise an error"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "dill", "joblib", "shelve"} & {name.partition(".")[0] for name in names}, where
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("torch.load", "torch.save", "eval", "exec"), where
            assert called != "print" or in_cli, f"{where}: only the command line prints"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{where}: an except that catches everything swallows errors"


def test_no_junk_drawer() -> None:
    drawers = [relative(path) for path in SOURCES if re.search(r"(?i)util|helper|misc|common|manager", path.name)]
    assert not drawers


# What the documents say ------------------------------------------------------------------------------


def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", readme(), re.DOTALL | re.MULTILINE)


def tree_entries(text: str) -> Iterator[str]:
    """The paths of a drawn tree: two spaces for each level, folders end in ``/``, a comment after two spaces."""
    folders: list[str] = []
    for line in text.splitlines():
        written = line.rstrip()
        if not written or written.lstrip().startswith("#"):
            continue
        level = (len(written) - len(written.lstrip())) // 2
        for name in re.split(r"\s{2,}", written.strip())[0].split():
            del folders[level:]
            yield "/".join([*folders, name])
            if name.endswith("/"):
                folders.append(name.rstrip("/"))


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    drawn = set(tree_entries(blocks("text")[0]))
    missing = {
        entry for entry in drawn if not (ROOT / entry).exists() or entry.endswith("/") != (ROOT / entry).is_dir()
    }
    assert not missing, "drawn in the README, and not there"
    modules = {relative(path) for path in SOURCES if path.name != "__init__.py"}
    folded = {
        entry for entry in drawn if entry.endswith("/") and not any(e != entry and e.startswith(entry) for e in drawn)
    }
    undrawn = {module for module in modules - drawn if not any(module.startswith(folder) for folder in folded)}
    assert not undrawn, "there, and not drawn in the README"


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(blocks("python")):
        shortened = re.sub(r'parse\("\w+"\)', 'parse("5steps")', block)
        exec(compile(shortened, f"README block {number}", "exec", dont_inherit=True), {"__name__": "readme"})


def test_the_model_of_the_readme_joins_a_run(tmp_path: Path) -> None:
    """Installed as a package beside lmbench, the way the README says, it stands in the table like any other."""
    (tmp_path / "unigram.py").write_text(blocks("python")[1], encoding="utf-8")
    (entry_points,) = re.findall(r"^(\[project\.entry-points.*?)^```", readme(), re.DOTALL | re.MULTILINE)
    name, place = re.findall(r'^(\w+) = "(.+)"', entry_points, re.MULTILINE)[0]
    metadata = tmp_path / "unigram-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: unigram\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[lmbench.models]\n{name} = {place}\n", encoding="utf-8")
    (tmp_path / "text.txt").write_text("the cat sees a dog\na dog sees the old cat\n" * 60, encoding="utf-8")
    arguments = ["run", "--models", "unigram:add=0.5,uniform", "--corpus", "text.txt", "--format", "csv"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-m", "lmbench", *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(result.stdout))}
    assert float(rows["unigram:add=0.5"]["perplexity"]) < float(rows["uniform"]["perplexity"])


def test_the_targets_of_the_readme_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?\bmake ([a-z]+)\b", "".join([readme(), (ROOT / "CONTRIBUTING.md").read_text("utf-8")])))
    assert {"run", "test"} <= set(re.findall(r"^make ([a-z]+)", readme(), re.MULTILINE))
    assert named <= targets, "a document names a target that is not there"


def test_the_commands_of_the_readme_exist() -> None:
    from lmbench.cli.application import COMMANDS

    named = set(re.findall(r"^lmbench ([a-z]+)", readme(), re.MULTILINE))
    assert named == set(COMMANDS), "the overview lists each command once, and no other"


def test_the_newest_change_is_this_version() -> None:
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == lmbench.__version__


def test_constraints_pin_everything_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *(name for name in extras["dev"] if "lmbench" not in name)]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", lines, re.MULTILINE)}
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert name[0] in pinned, f"{name[0]} is asked for and not pinned"
        assert "+" not in pinned[name[0]], "a local version, such as +cpu, exists on one index only"
