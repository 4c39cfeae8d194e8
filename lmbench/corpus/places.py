"""A corpus name -> the folder or file that holds it, here and now.

``LMBENCH_DATA`` lists folders (separated as in PATH) in which ``NAME/`` is looked up; then comes
``corpora/`` in the cache, ``LMBENCH_CACHE`` or ``~/.cache/lmbench``, into which ``lmbench corpus get`` writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lmbench.corpus.reading import COMPRESSED


def data_folders() -> list[Path]:
    """The folders of ``LMBENCH_DATA``."""
    return [Path(part).expanduser() for part in os.environ.get("LMBENCH_DATA", "").split(os.pathsep) if part]


def cache_folder() -> Path:
    """Where downloaded and generated corpora are kept; it need not exist yet."""
    place = os.environ.get("LMBENCH_CACHE")
    if place:
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lmbench"


def corpora_folder() -> Path:
    """The part of the cache in which ``NAME/`` lies."""
    return cache_folder() / "corpora"


def locate(names: str | Sequence[str]) -> Path | None:
    """The first of ``names`` found in ``LMBENCH_DATA`` or the cache: a folder ``NAME/``, or a file of that stem."""
    names = [names] if isinstance(names, str) else names
    for folder in [*data_folders(), corpora_folder()]:
        for name in names:
            if Path(name).name != name or name in ("", ".."):
                continue  # a path is not a name
            for suffix in ("", ".txt", *(f"{plain}{packed}" for plain in ("", ".txt") for packed in COMPRESSED)):
                place = folder / f"{name}{suffix}"
                if place.is_file() or (not suffix and place.is_dir()):
                    return place
    return None


def complaint() -> str:
    """What is wrong with ``LMBENCH_DATA``, as a sentence to add to an error; empty where nothing is."""
    absent = [str(folder) for folder in data_folders() if not folder.is_dir()]
    return f" LMBENCH_DATA names {' and '.join(absent)}, where there is no folder." if absent else ""


def available() -> list[str]:
    """Names of the folders that ``LMBENCH_DATA`` and the cache hold."""
    names: set[str] = set()
    for folder in [*data_folders(), corpora_folder()]:
        if folder.is_dir():
            names.update(place.name for place in folder.iterdir() if place.is_dir() and place.name[0] not in "._")
    return sorted(names)
