"""What stands behind the numbers of a run <-> its files, for whoever wants to see where models differ.

::

    heldout.safetensors      the test split as ids, where its units end, how often each type was trained on
    heldout.json             the types as they are written, and how they join to text
    scores/MODEL.safetensors -ln p of each of these tokens
    reader.json              some sentences under every model: surprisal, rank, entropy, likeliest alternatives
    samples.json             texts that each model wrote

All but the scores hold text of the corpus. Runs of earlier versions have none of them, and part may be missing where a
model could not give it: what is read is None then. Nothing here loads torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lmbench.benchmark.result import Result, plain
from lmbench.errors import ResultsError
from lmbench.models.arrays import map_arrays
from lmbench.training.checkpoints import write_arrays, write_json, write_text

ARRAYS = ("ids", "ends", "passages", "segments", "counts")


@dataclass(frozen=True)
class Heldout:
    """The test split as the models of a run were asked for it: N events in U units over V types.

    ``ids``: int32 (N,), the type of each event, boundaries included. ``ends``: int64 (U,), index after the last event
    of each unit, a sentence or a document. ``passages``: int64, the same of the pieces that are shown to a reader: the
    sentences, or parts of some hundred characters of the documents. ``segments``: int64, the same of what is resampled.
    ``counts``: int64 (V,), how often each type is an event of the training split. ``types``: how each is written.
    ``separator``: what stands between them in a text. ``pieces``: where types are parts of characters, what each adds
    to the UTF-8 bytes of a text, a character for each byte; else None. ``line``: what a unit is. ``unknown``: the id of
    ``<unk>``, None where there is none. ``events``: of the whole split, of which a very long one is kept in part.
    ``events_sha256``: that of the signatures of models which predict these very tokens.
    """

    ids: np.ndarray
    ends: np.ndarray
    passages: np.ndarray
    segments: np.ndarray
    counts: np.ndarray
    types: tuple[str, ...]
    separator: str
    pieces: tuple[str, ...] | None
    line: Literal["sentence", "text"]
    tokenizer: str
    unknown: int | None
    events: int
    events_sha256: str

    def tokens(self, begin: int, end: int) -> list[str]:
        """Events ``begin`` to ``end`` as they are written, one by one."""
        return [self.types[i] for i in self.ids[begin:end].tolist()]

    def text(self, begin: int, end: int) -> str:
        """Events ``begin`` to ``end`` as a text to read, without boundaries."""
        ids = [i for i in self.ids[begin:end].tolist() if i]
        if self.pieces is not None:
            return "".join([self.pieces[i] for i in ids]).encode("latin-1", "replace").decode("utf-8", "replace")
        return self.separator.join([self.types[i] for i in ids])

    def passage(self, number: int) -> tuple[int, int]:
        """The first event of a passage, and the index after its last."""
        return int(self.passages[number - 1]) if number else 0, int(self.passages[number])

    def predicted_by(self, result: Result) -> bool:
        """Whether ``result`` is that of a model which was asked for these very tokens."""
        return result.details.get("signature", {}).get("events_sha256") == self.events_sha256


class Evidence:
    """The part of a run's folder, at ``path``, that shows where its numbers come from."""

    path: Path

    @property
    def heldout(self) -> Path:
        return self.path / "heldout.safetensors"

    @property
    def reader(self) -> Path:
        return self.path / "reader.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples.json"

    def token_nats(self, folder: str) -> Path:
        return self.path / "scores" / f"{folder}.safetensors"

    def write_heldout(self, heldout: Heldout) -> None:
        """``heldout.safetensors`` and ``heldout.json``."""
        write_arrays(self.heldout, {name: getattr(heldout, name) for name in ARRAYS})
        words = {field.name: getattr(heldout, field.name) for field in fields(heldout) if field.name not in ARRAYS}
        _write_compact(self.heldout.with_suffix(".json"), words)

    def read_heldout(self) -> Heldout | None:
        """The test split, arrays mapped and not yet read; None where the run kept none."""
        words = _read(self.heldout.with_suffix(".json"))
        if words is None or not self.heldout.is_file():
            return None
        try:
            kept = map_arrays(self.heldout)
            known = {name: words[name] for name in (field.name for field in fields(Heldout)) if name not in ARRAYS}
            types, pieces = tuple(known.pop("types")), known.pop("pieces")
            arrays: dict[str, Any] = {name: kept[name] for name in ARRAYS}
            return Heldout(**arrays, types=types, pieces=pieces and tuple(pieces), **known)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.heldout, error) from None

    def write_token_nats(self, folder: str, nats: np.ndarray) -> None:
        """``scores/FOLDER.safetensors``. ``nats``: float (events,), -ln p of each token in order; kept as float32."""
        write_arrays(self.token_nats(folder), {"nats": np.asarray(nats, np.float32)})

    def read_token_nats(self, result: Result) -> np.ndarray | None:
        """float32 (events,), mapped: -ln p of each token of the test split; None where it was not kept."""
        path = self.token_nats(result.folder)
        if not result.folder or not path.is_file():
            return None
        try:
            return map_arrays(path)["nats"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from None

    def write_reader(self, content: Mapping[str, Any]) -> None:
        """``reader.json``; see ``read_reader``."""
        _write_compact(self.reader, content)

    def read_reader(self) -> dict[str, Any] | None:
        """Some passages of the test split under every model; None where the run kept no such file.

        ``sentences``: a list of {``unit``: number of the passage, ``tokens``}; where tokens are pieces of words also
        ``words``, as they are written, and ``starts``, the first token of each. ``models``: by label a list with, for
        each sentence, ``nats`` of its tokens, ``rank`` among all types (1 is the likeliest), ``entropy`` in nats and
        ``top``, a list of [token, probability] for each token, the likeliest first. The last three are None where there
        is no distribution over the next token, or it would have taken too long. A model whose tokens are its own gives
        them as ``tokens``, with ``words`` and ``starts``.
        """
        content = _read(self.reader)
        if content is None:
            return None
        try:
            for sentences in content["models"].values():
                for sentence in sentences or ():
                    sentence["nats"] = list(map(float, sentence["nats"]))  # infinity is written as a text
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.reader, repr(error)) from None
        return content

    def write_samples(self, content: Mapping[str, Any]) -> None:
        """``samples.json``; see ``read_samples``."""
        write_json(self.samples, content)

    def read_samples(self) -> dict[str, Any] | None:
        """By label {``settings``, ``texts``, ``diversity``}, or None for a model that cannot write; None where the run
        kept no such file."""
        return _read(self.samples)


def _write_compact(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(plain(content), ensure_ascii=False, separators=(",", ":")) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, dict):
        raise _damaged(path, "it holds no object")
    return content


def _damaged(path: Path, reason: object) -> ResultsError:
    return ResultsError(f"{path} cannot be read: {reason}. Delete it; lmbench run --resume writes it anew.")
