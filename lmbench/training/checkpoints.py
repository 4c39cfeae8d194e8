"""Arrays and the state of a training run <-> files: safetensors and JSON, written atomically, never pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from lmbench.errors import ModelError, ResultsError
from lmbench.training.distributed import processes

TYPES: dict[str, np.dtype] = {
    "U8": np.dtype("u1"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
"""What safetensors calls the types of numbers that are kept."""
BLOCK = 1 << 20
"""Numbers that are written at a time."""


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block ends well.

    A reader never sees half a file. Of several processes only the first keeps what it writes. Raises ResultsError where
    the folder is full or not writable.
    """
    temporary = path.with_name(f".{path.name}.{processes().rank}.{os.getpid()}.part")
    try:
        yield temporary
        if processes().leads:
            os.replace(temporary, path)
    except OSError as error:
        raise ResultsError(
            f"{path} could not be written: {error.strerror or error}. "
            "Free some space or name another folder with --out; what was written before is intact."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as JSON, atomically."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write ``arrays``, each of one of ``TYPES``, as safetensors, whole or not at all.

    Block by block, for the library would first copy all of them; and it would write a file that only its owner may
    read, by a name of its own, which stays behind where the process is killed. Larger items come first, which keeps
    them aligned.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {kind: name for name, kind in TYPES.items()}
    ordered = sorted(arrays.items(), key=lambda item: -item[1].itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, array in ordered:
            flat = array.reshape(-1)
            for first in range(0, len(flat), BLOCK):
                file.write(np.ascontiguousarray(flat[first : first + BLOCK]).data)


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """``write_arrays`` of torch tensors, wherever they are."""
    write_arrays(path, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, metadata)


class Checkpoints:
    """A folder with the latest state of one training run.

    One safetensors file holds tensors and, as metadata, the JSON state that belongs to them, so that
    the two can never be of different ages.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)

    @property
    def path(self) -> Path:
        return self.directory / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """Where a training that diverged leaves the model that was best until then."""
        return self.directory / "best"

    def save(self, tensors: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Keep ``tensors`` (name -> torch tensor) and ``state`` (JSON values), replacing what was kept."""
        if not processes().leads:
            return
        write_tensors(self.path, tensors, {"state": json.dumps(state)})

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The kept tensors and state, or None where nothing is kept. What a process that was killed left half written
        is removed."""
        if processes().leads:
            for left in self.directory.glob(".*.[0-9]*.[0-9]*.part"):
                with suppress(OSError):
                    left.unlink()
        if not self.path.exists():
            return None
        with self._opened() as file:
            # Copied, for in a file they lie anywhere: products of tensors aligned otherwise round otherwise.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, json.loads(file.metadata()["state"])

    def state(self) -> dict[str, Any]:
        """The kept state alone, empty where nothing is kept. Raises ModelError where it is damaged."""
        if not self.path.exists():
            return {}
        with self._opened() as file:
            return json.loads(file.metadata()["state"])

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with safe_open(str(self.path), "pt") as file:
                yield file
        except (SafetensorError, KeyError, ValueError, TypeError) as error:
            raise ModelError(f"{self.path} is damaged ({error}). Delete it to train this model anew.") from None

    def clear(self) -> None:
        """Forget: the model is finished."""
        if processes().leads:
            self.path.unlink(missing_ok=True)
            shutil.rmtree(self.best, ignore_errors=True)
