"""One file of arrays, mapped into memory: it opens in milliseconds whatever its size.

The file is safetensors, a header of names, types and offsets before the bare arrays, so that any reader of that format
can look inside. Arrays are not read when it is opened but when they are used, and processes share them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lmbench.errors import ModelError
from lmbench.training.checkpoints import TYPES

LONGEST_HEADER = 1 << 20


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Tell what goes wrong while a model is made of the arrays in ``path`` as a ModelError that names the file."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}). Train the model again.") from None


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, mapped copy-on-write: what is changed in them stays in this process.

    Raises OSError where the file cannot be read and ValueError where its header and its length do not agree.
    """
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(size - 8, LONGEST_HEADER):
            raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
        header = json.loads(file.read(length))
    content = np.memmap(path, np.uint8, mode="c") if size > 8 + length else np.empty(8 + length, np.uint8)
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        shape, (begin, end) = entry["shape"], entry["data_offsets"]
        kind = TYPES[entry["dtype"]]
        whole = kind is not None and end - begin == int(np.prod(shape)) * kind.itemsize
        if not whole or not 0 <= begin <= end <= size - 8 - length:
            raise ValueError(
                f"{name} of {entry['dtype']} {shape} cannot lie at {begin:,} to {end:,} of its {size:,} bytes"
            )
        arrays[name] = np.asarray(content[8 + length + begin : 8 + length + end]).view(kind).reshape(shape)
    return arrays
