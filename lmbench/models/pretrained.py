"""A folder of a pretrained model, as ``transformers`` writes it -> a language model like any other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from lmbench.corpus.batches import Batch, Tokens
from lmbench.corpus.huggingface import CONFIG_FILE, NAMED_IN, TOKENIZER_FILE, HuggingFaceTokenizer
from lmbench.corpus.words import word_openings
from lmbench.errors import ModelError, UsageError
from lmbench.models.base import Context, Trainable, read_model, write_model
from lmbench.models.checkpoint import LONGEST, WEIGHTS, Network, check_files, is_masked
from lmbench.models.distributions import at_once
from lmbench.models.masking import in_parts, masked_copies
from lmbench.models.network import overlap_of
from lmbench.training.budget import Budget, FitReport, Progress, Silent
from lmbench.training.checkpoints import Checkpoints, atomic
from lmbench.training.devices import resolve_device, reuse_memory

CELLS = {"cpu": 1 << 10, "cuda": 1 << 16, "mps": 1 << 15}
"""Tokens that are read at once: as many as keep what is between the layers in the caches, or fill the card."""
KEPT = "checkpoint"
"""Folder of the pretrained files in that of a kept model."""


@dataclass(frozen=True)
class PretrainedConfig:
    """Which pretrained model, and how it is read."""

    path: str = ""
    """Folder with config.json, model.safetensors and tokenizer.json, as save_pretrained of transformers writes them."""
    sequence_length: int | None = None
    """The window: tokens that are read at once, half of them shared with the next window of a long text. By default
    what the model was made for, at most 1024."""
    device: str = "auto"
    """cpu, cuda, mps, or auto for the best there is."""

    def __post_init__(self) -> None:
        if self.sequence_length is not None and self.sequence_length < 2:
            raise UsageError(f"sequence_length is a number of tokens, at least 2, not {self.sequence_length}.")


class Segments(NamedTuple):
    """Parts of rows that are read alone, at most a window long; int64 (N,) each. ``row``; ``start``, the column of the
    first input; ``size``, inputs; ``fresh``, the first of them after which a token is asked for."""

    row: np.ndarray
    start: np.ndarray
    size: np.ndarray
    fresh: np.ndarray


class Pretrained(Trainable):
    """A model that others trained, read from a folder with config.json, model.safetensors and tokenizer.json (GPT-2,
    Llama, BERT and their kin). Nothing is trained: every command takes the folder itself, and a run takes
    pretrained:path=FOLDER. It has tokens of its own, which other models share by --tokenizer huggingface:path=FOLDER.

    The boundary: where a history opens it is read as the type that opens a text there (``<s>``, ``[CLS]``), where it is
    predicted it is the one that ends a text (``</s>``, ``[SEP]``); in GPT-2 both are ``<|endoftext|>``. A
    causal model (AutoModelForCausalLM) reads to the left and is a distribution over all types of its output layer, also
    those that its tokenizer never uses. A masked one (AutoModelForMaskedLM) has a pseudo-log-likelihood (Salazar et al.
    2020, Kauf & Ivanova 2023; see ``bert``); its ``[SEP]`` was never hidden in its training, so the end of a sentence
    is taken for granted: ln p = 0.
    """

    kind = "pretrained"
    Config = PretrainedConfig
    tokenizer: HuggingFaceTokenizer

    def __init__(self, config: PretrainedConfig | None = None, folder: Path | None = None) -> None:
        """``folder``: where its files lie, if not in ``config.path``. Raises ModelError where a file is missing."""
        self.config = config or PretrainedConfig()
        if folder is None and not self.config.path:
            raise UsageError(f"{self.kind} needs the folder of a pretrained model: write {self.kind}:path=FOLDER.")
        self.folder = (folder or Path(self.config.path)).expanduser().absolute()
        masked = is_masked(check_files(self.folder))
        self.device = resolve_device(self.config.device)
        self.reads: Literal["left", "both"] = "both" if masked else "left"
        self.context: Context = "sentence" if masked else "stream"
        self.normalized = not masked
        self._network: Network | None = None

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The model in the folder of a checkpoint, ready to score. Raises ModelError where it cannot be read."""
        model = cls(PretrainedConfig(str(folder)))
        model._open(HuggingFaceTokenizer.of_folder(model.folder))
        return model

    def _open(self, tokenizer: HuggingFaceTokenizer) -> None:
        masked = self.reads == "both"
        if masked and tokenizer.special.mask is None:
            raise ModelError(
                f"{self.folder} holds a masked model, but its tokenizer names no mask. Name it in "
                f'{self.folder / NAMED_IN[0]}, for example "mask_token": "[MASK]".'
            )
        if self.device.type == "cpu":
            reuse_memory()
        self._network = Network(self.folder, masked, self.device)
        longest = self._network.window
        window = self.config.sequence_length or min(longest or LONGEST, LONGEST)
        if longest is not None and window > longest:
            raise UsageError(f"sequence_length={window} is more than the {longest} positions of {self.folder}.")
        self.max_context = window
        self.tokenizer = tokenizer
        self._read_as = tokenizer.model_ids.copy()
        self._read_as[0] = tokenizer.special.opens
        self._opens = word_openings(tokenizer)

    @property
    def network(self) -> Network:
        """What was read from the folder. Raises ModelError before ``fit`` or ``open``."""
        if self._network is None:
            raise ModelError(f"This {self.kind} has not been opened yet: call fit, or load its folder.")
        return self._network

    @property
    def parameters(self) -> int:
        return self.network.parameters

    def fit(
        self,
        train: Tokens,
        valid: Tokens,
        budget: Budget | None = None,
        progress: Progress | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> FitReport:
        """Open the folder. Nothing is learned, and the tokenizer stays the model's own: ``train`` is not looked at."""
        progress, tokenizer = progress or Silent(), HuggingFaceTokenizer.of_folder(self.folder)
        self._open(tokenizer)
        progress.step("structure", f"{type(self.network.model).__name__}, {self.parameters:,} parameters")
        progress.step("data", f"none: it was trained before; {self.folder}")
        progress.step("backward", "nothing is learned")
        notes: tuple[str, ...] = ()
        if tokenizer.vocabulary != train.tokenizer.vocabulary:
            notes = (
                f"{self.kind} predicts tokens of its own, so its perplexity stands in a table of its own. Give all "
                f"models its tokens to compare them: --tokenizer huggingface:path={self.folder}",
            )
            progress.note(notes[0])
        return FitReport(0.0, 0, device=self.device.type, precision="float32", notes=notes)

    @torch.inference_mode()
    def log_probs(self, batch: Batch) -> np.ndarray:
        """float32 (B, T), nats: ln p of each target, 0 elsewhere."""
        result = np.zeros(batch.ids.shape, np.float32)
        if self.reads == "both":
            self._hidden_log_probs(batch, result)
            return result
        segments = self._segments(batch)
        order = np.argsort(-segments.size, kind="stable")  # of like length, for the least padding
        for states, row, column in self._states(batch, Segments(*(part[order] for part in segments))):
            wanted = self.tokenizer.model_ids[batch.ids[row, column]]
            result[row, column] = self.network.log_probs(states, self._tensor(wanted)).cpu().numpy()
        return result

    @torch.inference_mode()
    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float32 (N, V), nats, a block after the other: the distribution before each target, row by row."""
        size, there = at_once(len(self.tokenizer.vocabulary)), self._tensor(self.tokenizer.model_ids)
        for states, _, _ in self._states(batch, self._segments(batch)):
            for part in states.split(size):
                yield self.network.log_softmax(part)[:, there].cpu().numpy()

    @torch.inference_mode()
    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float32 (B, V), nats: the distribution after each row's last token. Raises ModelError for a masked model."""
        if self.reads == "both":
            raise ModelError(
                f"{self.folder} holds a masked model, which reads both sides of a gap and knows no distribution of "
                "what follows a text. Score or rank whole sentences with it, or ask a model that reads to the left."
            )
        longer = [np.append(row, 0) for row in prefixes.rows()]
        asked = Batch.of(longer, [np.arange(len(row)) == len(row) - 1 for row in longer])
        return np.concatenate([*self.distributions(asked), np.zeros((0, len(self.tokenizer.vocabulary)), np.float32)])

    def _segments(self, batch: Batch) -> Segments:
        """What is read to answer ``batch``, row by row. Windows overlap by half, so that every prediction but the first
        few of a row sees at least half a window; those in which nothing is asked for are left out."""
        overlap, stride = overlap_of(self.max_context)
        inputs = np.maximum(batch.lengths - 1, 0)
        count = np.maximum(1, -(-(inputs - overlap) // stride))
        row = np.repeat(np.arange(len(inputs)), count)
        start = (np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)) * stride
        fresh = np.where(start > 0, overlap, 0)
        size = np.minimum(inputs[row] - start, self.max_context)
        asked = np.zeros((len(inputs), batch.ids.shape[1] + 1), np.int64)
        np.cumsum(batch.targets, axis=1, out=asked[:, 1:])  # of the first columns, how many are asked for
        wanted = asked[row, start + size + 1] > asked[row, start + fresh + 1]
        return Segments(*(part[wanted] for part in (row, start, size, fresh)))

    def _states(self, batch: Batch, segments: Segments) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
        """States that predict the targets of ``segments``, (N, E), and the row and column of each target, (N,). What is
        padded is the end of a row, where a causal model does not look: no mask is needed."""
        cells, first = CELLS[self.device.type], 0
        while first < len(segments.row):
            some = slice(first, first + max(1, cells // int(segments.size[first])))
            row, start, size, fresh = (part[some, None] for part in segments)
            place = np.arange(size.max())
            column = np.minimum(start + place, batch.ids.shape[1] - 2)  # (n, L)
            wanted = (place >= fresh) & (place < size) & batch.targets[row, column + 1]
            at = np.nonzero(wanted)
            ids = self._read_as[batch.ids[row, column[:, : at[1].max() + 1]]]
            yield (
                self.network.states(self._tensor(ids), *map(self._tensor, at)),
                row[at[0], 0],
                column[at] + 1,
            )
            first = some.stop

    def _hidden_log_probs(self, batch: Batch, result: np.ndarray) -> None:
        """Into ``result``: ln p of each target but boundaries, it and what follows in its word being hidden."""
        inner = Batch(batch.ids, batch.targets & (batch.ids != 0), batch.lengths)
        mask = self.tokenizer.special.mask
        for row, column, start, length, hidden_to in in_parts(
            masked_copies(inner, self._opens, self.max_context), 4 * CELLS[self.device.type]
        ):
            columns = start[:, None] + np.arange(int(length[0]))
            ids = batch.ids[row[:, None], columns]
            seen = self.tokenizer.model_ids[ids]
            seen[ids[:, 0] == 0, 0] = self.tokenizer.special.opens
            seen[(columns >= column[:, None]) & (columns <= hidden_to[:, None])] = mask
            states = self.network.states(self._tensor(seen), *map(self._tensor, (np.arange(len(row)), column - start)))
            wanted = self.tokenizer.model_ids[batch.ids[row, column]]
            result[row, column] = self.network.log_probs(states, self._tensor(wanted)).cpu().numpy()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def save(self, directory: Path) -> None:
        """Write ``model.json``, and share the pretrained files, by hard links where the disk can, else as copies."""
        directory = Path(directory)
        kept = directory / KEPT
        kept.mkdir(parents=True, exist_ok=True)
        for file in _files(self.folder):
            _share(file, kept / file.name)
        stamps = {file.name: file.stat().st_mtime_ns for file in _files(kept)}
        write_model(directory, self, {"config": asdict(self.config), "stamps": stamps})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Open what ``save`` wrote. Raises ModelError where files are missing, or were changed where they came from."""
        directory = Path(directory)
        tokenizer, state = read_model(directory)
        for file in _files(directory / KEPT):
            facts = file.stat()
            if facts.st_nlink > 1 and facts.st_mtime_ns != state["stamps"].get(file.name):
                raise ModelError(
                    f"{file} is shared with the folder it came from, {state['config']['path']}, and was written over "
                    "there. Open that folder, or run or train again, to keep the model that it holds now."
                )
        model = cls(replace(PretrainedConfig(**state["config"]), device="auto"), directory / KEPT)
        if not isinstance(tokenizer, HuggingFaceTokenizer):
            raise ModelError(f"{directory} is damaged: its tokenizer is not that of a pretrained model.")
        model._open(tokenizer)
        return model


def _files(folder: Path) -> Sequence[Path]:
    """The files of a checkpoint that are needed to open it."""
    names = (CONFIG_FILE, TOKENIZER_FILE, *NAMED_IN, *WEIGHTS)
    shards = folder.glob("model-*.safetensors")
    return [*(folder / name for name in names if (folder / name).is_file()), *sorted(shards)]


def _share(source: Path, target: Path) -> None:
    """Let ``target`` hold what ``source`` holds."""
    if target.exists() and target.samefile(source):
        return
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(source, temporary)
