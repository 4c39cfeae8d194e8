"""A trained network + the text that it was trained on -> log probabilities that know what followed in like states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import UsageError
from lmbench.models.arrays import damage_told, map_arrays
from lmbench.models.base import LanguageModel
from lmbench.models.composed import Wrapper
from lmbench.models.distributions import in_order
from lmbench.models.dynamic import Dynamic
from lmbench.models.interpolation import fit_share, mix_two
from lmbench.models.resumption import first_in_window
from lmbench.training.budget import Progress
from lmbench.training.checkpoints import write_tensors
from lmbench.training.devices import enough_memory

STATES_FILE = "states.safetensors"
TEMPERATURES = (0.04, 0.06, 0.09, 0.13, 0.2, 0.3, 0.45)
"""Tried where the temperature is open, from small to large, until one is worse than that before it."""
SAMPLE = 2_048
"""Events of the validation split, evenly spread, on which temperature and weight are chosen."""
ROWS, LONG = 16, 512
"""Rows side by side in which the states of a training text are found, if each has so many events."""
PART = 1 << 14
"""Of what is kept, so many states are made float32 at once."""
BLOCK, FEWEST, TYPES = 256, 16, 1 << 23
"""States that are compared with all that are kept at once, at most and at least; times types no more than that ..."""
CELLS = {"cpu": 1 << 21, "cuda": 1 << 26, "mps": 1 << 24}
"""... by so many distances at a time, or numbers of what is kept: on a processor what its caches hold."""


@dataclass(frozen=True)
class NeighboursConfig:
    """What is kept, and how it is trusted. Written ``neighbours(gpt:width=192)``."""

    size: int = 1 << 20
    """Hidden states that are kept, those of the end of the training text: two bytes for each number in them."""
    temperature: float | None = None
    """Squared distance, in variances of the states, at which a neighbour counts 1/e. If open, chosen on the validation
    split: the one that suits a mixture with the network best, also where weight=1 leaves the mixing to others."""
    weight: float | None = None
    """Share of the neighbours in the mixture with the network; if open, chosen on the validation split. 1 is the
    neighbours alone, a part for mixtures, which know better what each is worth."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"size is the states that are kept, so at least 1, not {self.size}.")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise UsageError(f"temperature must be above 0, not {self.temperature:g}. Leave it out to have it chosen.")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise UsageError(
                f"weight must be at least 0 and at most 1, not {self.weight:g}. Leave it out to have it chosen."
            )


class Neighbours(Wrapper):
    """A nearest-neighbour language model (Khandelwal et al. 2020): what followed in the training text in like states.

    With h_i the hidden state of the network after the i-th token of its training text, x_i+1 the word that followed, v
    the variance of the states (mean squared distance from their mean), and h the state now::

        p(w) = (1 - weight) p_network(w) + weight p_neighbours(w)
        p_neighbours(w) = sum of exp(-|h - h_i|^2 / (temperature v)) over i with x_i+1 = w, divided by that over all i

    The paper asks the 1,024 nearest, found approximately; here all count, exactly, which predicts better at this
    size of text: with a GPT on 1,024 events of Penn Treebank's validation split 98.63 becomes 87.42 by 1,024
    neighbours, 86.21 by 4,096 and 84.97 by all. Nothing is learned from the text that is scored. Each of its states is
    multiplied with all that are kept, so scoring is slow. Where all are so far that float32 has no number for what they
    count, the network alone is asked.
    """

    kind = "neighbours"
    Config = NeighboursConfig
    adapts = False

    def __init__(self, config: NeighboursConfig | None, base: LanguageModel) -> None:
        super().__init__(config, base)
        self.context = base.context

    @classmethod
    def takes(cls, family: type) -> bool:
        return Dynamic.takes(family)

    @property
    def max_context(self) -> int | None:  # type: ignore[override]
        """Of the base."""
        return self.base.max_context

    def tune(self, train: Tokens, valid: Tokens, progress: Progress) -> tuple[float | None, str]:
        """Keep the states of ``train``, then choose temperature and weight on events of ``valid``."""
        kept = min(self.config.size, train.events)
        progress.step("structure", f"(1 - weight) p_network + weight p_neighbours among {kept:,} states of training")
        if kept < train.events:
            progress.note(f"of {train.events:,} training events the last {kept:,} are kept; size=N keeps more")
        with enough_memory(
            f"while {kept:,} states of the training text were kept for neighbours. Keep fewer, those of its end: "
            f"size={kept // 2}."
        ):
            self._keep(train.ids[-kept - 1 :])
            sample = valid.sample(SAMPLE)
            best, alone = self._choose(sample)
        note = (
            f"neighbours among {kept:,} states at temperature {self.config.temperature:g}, weight "
            f"{self.config.weight:.3g}: {best:.4f} nats per event on {sample.targets.sum():,} of the validation split, "
            f"{alone:.4f} without"
        )
        return best, note

    @torch.no_grad()
    def _choose(self, sample: Batch) -> tuple[float, float]:
        """Set the temperature and the weight under which ``sample`` has the least loss, mixed with the network; the
        loss with these settings, and the network's alone, nats per event."""
        given, loss = self.config, np.inf
        states = torch.cat([states for states, *_ in self._asked(sample)])
        targets = torch.from_numpy(sample.ids[sample.targets]).to(states.device)
        blocks = list(zip(states.split(self._block), targets.split(self._block), strict=True))
        network = _numbers([self.base.network.log_probs_of(some, wanted) for some, wanted in blocks])
        best = before = np.inf
        for temperature in TEMPERATURES if given.temperature is None else [given.temperature]:
            shares = (self._shares(some, temperature).gather(0, wanted[None])[0] for some, wanted in blocks)
            neighbours = _numbers([part.log() for part in shares])
            neighbours = np.where(np.isnan(neighbours), network, neighbours)  # nothing is near
            share = fit_share(network, neighbours) if given.weight is None or given.weight == 1 else given.weight
            weight = share if given.weight is None else given.weight
            beside = -float(mix_two(network, neighbours, share).mean())
            if beside < best or self.config.temperature is None:
                best, loss = beside, -float(mix_two(network, neighbours, weight).mean())
                self.config = replace(given, temperature=temperature, weight=weight)
            if beside > before:
                break
            before = beside
        return loss, -float(network.mean())

    @torch.no_grad()
    def _keep(self, ids: np.ndarray) -> None:
        """Keep the state before each of ``ids``, int (N + 1,), but the first, sorted by what followed.

        Long texts are read in ``ROWS`` rows side by side, of which each begins without a history.
        """
        cuts = np.linspace(0, len(ids) - 1, (ROWS if len(ids) > ROWS * LONG else 1) + 1).astype(np.int64)
        batch = Batch.of([ids[first : last + 1] for first, last in pairwise(cuts)])
        starts, ends = (torch.from_numpy(part).to(self.base.device) for part in (cuts[:-1], cuts[1:]))
        found = []
        for hidden, row, column in self.base.hidden_states(batch):
            place = starts[row] + column
            inside = place < ends[row]
            found.append((place[inside], hidden[inside].half()))
        places, states = (torch.cat(parts) for parts in zip(*found, strict=True))
        followers = torch.from_numpy(ids[1:].astype(np.int64)).to(states.device)[places]
        order = (followers * len(ids) + places).argsort()  # by what followed, then as in the text
        states, mean = states[order], sum(part.sum(0, dtype=torch.float32) for part in states.split(PART)) / len(states)
        for part in states.split(PART):  # distances are told by products, which round less where states are small
            part.copy_(part.float() - mean)
        self._take(states, followers[order], mean)

    def _take(self, states: Tensor, followers: Tensor, mean: Tensor) -> None:
        """``states``: float16 (N, E), less their ``mean``, float32 (E,), sorted by ``followers``, int64 (N,)."""
        self.states, self.followers, self.mean = states, followers, mean
        self.squares = torch.cat([part.float().square().sum(1) for part in states.split(PART)])  # (N,)
        self.variance = max(float(self.squares.mean()), torch.finfo(torch.float32).tiny)

    @property
    def _block(self) -> int:
        """States that are compared with all that are kept at once: fewer where there are many types."""
        return max(FEWEST, min(BLOCK, TYPES // len(self.tokenizer.vocabulary)))

    @torch.no_grad()
    def _asked(self, batch: Batch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The state before each target, float32 (N, E), its row and its column, (N,) each; a block at a time."""
        wanted = torch.from_numpy(batch.targets).to(self.base.device)
        for hidden, row, column in self.base.hidden_states(batch):
            keep = wanted[row, column + 1]
            if keep.any():
                parts = hidden[keep].float(), row[keep], column[keep] + 1
                yield from zip(*(part.split(self._block) for part in parts), strict=True)

    @torch.no_grad()
    def _shares(self, states: Tensor, temperature: float | None = None) -> Tensor:
        """p_neighbours of every type, float32 (V, N), after ``states``, (N, E); NaN where nothing counts."""
        scale = (temperature or self.config.temperature) * self.variance
        sums = states.new_zeros(len(self.tokenizer.vocabulary), len(states))
        states = states - self.mean
        queries, squares = states.t() * (2 / scale), states.square().sum(1) / scale
        many = max(1, CELLS[states.device.type] // max(states.shape))
        kept = (part.split(many) for part in (self.states, self.squares, self.followers))
        for keys, lengths, followers in zip(*kept, strict=True):
            counted = keys.float() @ queries  # of each kept state for each of these: -|h - h_i|^2 / scale, then exp
            counted.sub_((lengths / scale)[:, None]).sub_(squares).exp_()
            sums.index_add_(0, followers, counted)
        return sums.div_(sums.sum(0))

    def _mixed(self, network: Tensor, shares: Tensor) -> Tensor:
        """ln of the mixture of ``network``, ln p, and ``shares``, p; the first where the second is NaN."""
        weight = torch.tensor(self.config.weight, device=network.device)
        mixed = torch.logaddexp((1 - weight).log() + network, weight.log() + shares.log())
        return torch.where(shares.isnan(), network, mixed)

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> np.ndarray:
        """float32 (B, T), nats: ln p of each target, 0 elsewhere."""
        ids = torch.from_numpy(batch.ids).to(self.base.device)
        result = torch.zeros(batch.ids.shape, device=ids.device)
        for states, row, column in self._asked(batch):
            targets = ids[row, column]
            network = self.base.network.log_probs_of(states, targets)
            result[row, column] = self._mixed(network, self._shares(states).gather(0, targets[None])[0])
        return result.cpu().numpy()

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float32 (B, V), nats: the distribution after each row's last token."""
        rows = [row[first_in_window(self.base.network, len(row)) :] for row in prefixes.rows()]
        rows = [np.append(row, 0) for row in rows]  # any token to be predicted
        last = [np.arange(len(row)) == len(row) - 1 for row in rows]
        return np.concatenate(list(self.distributions(Batch.of(rows, last))))

    @torch.no_grad()
    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float32 (N, V), nats, a block after the other: see ``base.Distributions``."""
        for part in in_order(batch, self.base.chunk if self.base.network.stateful else None):
            for states, *_ in self._asked(part):
                yield self._mixed(self.base.network.log_softmax(states), self._shares(states).t()).cpu().numpy()

    def save(self, directory: Path) -> None:
        """Write also the states and what followed them, ``states.safetensors``."""
        kept = {"states": self.states, "followers": self.followers.int(), "mean": self.mean}
        write_tensors(Path(directory) / STATES_FILE, kept)
        super().save(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what ``save`` wrote. Raises ModelError where it is missing or damaged."""
        model, path = super().load(directory), Path(directory) / STATES_FILE
        with damage_told(path):
            kept = map_arrays(path)
            states, followers, mean = kept["states"], kept["followers"].astype(np.int64), kept["mean"]
            if states.ndim != 2 or (*followers.shape, *mean.shape) != states.shape or not len(states):
                raise ValueError(
                    f"states of shape {states.shape}, {followers.shape} words after them and a mean of {mean.shape}"
                )
            if states.dtype != np.float16:
                raise ValueError(f"states of {states.dtype}, not float16")
            if followers.min() < 0 or followers.max() >= len(model.tokenizer.vocabulary):
                raise ValueError("a word that is not in the vocabulary")
            device = model.base.device
            model._take(*(torch.from_numpy(array).to(device) for array in (states, followers, mean)))
        return model


def _numbers(parts: Sequence[Tensor]) -> np.ndarray:
    """One array, float64, of tensors (N,) wherever they are."""
    return torch.cat([*parts]).cpu().double().numpy()
