"""A trained network + the text it is asked about -> log probabilities that remember what followed in like states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lmbench.corpus.batches import Batch, Tokens
from lmbench.errors import UsageError
from lmbench.models.base import LanguageModel
from lmbench.models.composed import Wrapper
from lmbench.models.distributions import at_once, in_blocks, in_order
from lmbench.models.dynamic import Dynamic
from lmbench.models.interpolation import fit_share, mix_two
from lmbench.training.budget import Progress

THETAS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Tried where theta is open, divided by the mean square length of a hidden state."""
SAMPLE = 20_000
"""Events of the validation split, the first, on which theta and weight are chosen."""
BLOCK = 256
"""States that are compared with those before them at once."""


@dataclass(frozen=True)
class NeuralCacheConfig:
    """How much is remembered, and how it is trusted. Written ``neural-cache(lstm:hidden=256):size=2000``."""

    size: int = 500
    """Hidden states that are remembered, each with the word that followed it."""
    theta: float | None = None
    """How much more a state counts the more alike it is; 0 for all alike. If open, chosen on the validation split."""
    weight: float | None = None
    """Share of the cache in the mixture with the network; if open, chosen on the validation split."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"size is the states that are remembered, so at least 1, not {self.size}.")
        if self.theta is not None and not 0 <= self.theta < float("inf"):
            raise UsageError(f"theta must be at least 0, not {self.theta:g}. Leave it out to have it chosen.")
        if self.weight is not None and not 0 <= self.weight < 1:
            raise UsageError(
                f"weight must be at least 0 and below 1, not {self.weight:g}. Leave it out to have it chosen."
            )


class NeuralCache(Wrapper):
    """A continuous cache (Grave, Joulin & Usunier 2017): words come again where the network feels as it did then.

    With h_i the hidden state of the network after the i-th token, x_i+1 the word that followed it, and t now::

        p(w) = (1 - weight) p_network(w) + weight p_cache(w)
        p_cache(w) = sum of exp(theta h_t . h_i) over the last ``size`` states with x_i+1 = w, divided by that over all

    Where a row begins, nothing is remembered and the network alone is asked. The weight is that under which the
    validation split is most probable (``interpolation.py``), theta the best of a few.
    """

    kind = "neural-cache"
    Config = NeuralCacheConfig

    def __init__(self, config: NeuralCacheConfig | None, base: LanguageModel) -> None:
        super().__init__(config, base)

    @classmethod
    def takes(cls, family: type) -> bool:
        return Dynamic.takes(family) or issubclass(family, Dynamic)

    def tune(self, train: Tokens, valid: Tokens, progress: Progress) -> tuple[float | None, str]:
        """Choose theta and the weight on the first events of ``valid``."""
        asked, sample = self.config, Batch.of([valid.ids[: SAMPLE + 1]])
        progress.step("structure", f"(1 - weight) p_network + weight p_cache of the last {asked.size:,} states")
        pieces = list(self._read(sample))  # of one row
        network = (
            torch.cat([log_probs for *_, log_probs in pieces]).cpu().double().numpy()[1:]
        )  # the first has no cache
        square = sum(float(hidden.square().sum()) for *_, hidden, _, _ in pieces) / (len(network) + 1)
        best = np.inf
        for theta in [_rounded(value / square) for value in THETAS] if asked.theta is None else [asked.theta]:
            memory = _Memory(asked.size, theta)
            found = torch.cat([memory.recall(hidden, followers) for *_, hidden, followers, _ in pieces])
            cache = found.cpu().double().numpy()[1:]
            weight = asked.weight
            if weight is None:
                weight = fit_share(network, cache)
            loss = -float(mix_two(network, cache, weight).mean())
            if loss < best:
                best, self.config = loss, replace(asked, theta=theta, weight=weight)
        note = (
            f"neural cache of {asked.size:,} states at theta {self.config.theta:.3g}, weight {self.config.weight:.3g}: "
            f"{best:.4f} nats per event on {len(network):,} of the validation split, {-network.mean():.4f} without"
        )
        return best, note

    def log_probs(self, batch: Batch) -> np.ndarray:
        """float64 (B, T), nats; the cache is empty where a row begins."""
        network, cache = np.zeros(batch.ids.shape), np.full(batch.ids.shape, -np.inf)
        memories = [_Memory(self.config.size, self.config.theta) for _ in batch.lengths]
        for row, columns, hidden, followers, log_probs in self._read(batch):
            network[row, columns] = log_probs.cpu().numpy()
            cache[row, columns] = memories[row].recall(hidden, followers).cpu().numpy()
        result = mix_two(network, cache, self.config.weight)
        result[:, :2] = network[:, :2]  # nothing is remembered yet
        return np.where(batch.targets, result, 0.0)

    def next_log_probs(self, prefixes: Batch) -> np.ndarray:
        """float64 (B, V), nats: the distribution after each row's last token."""
        longer = Batch.of([np.append(row, 0) for row in prefixes.rows()])  # any token to be predicted
        result = np.empty((len(longer.ids), len(self.tokenizer.vocabulary)))
        memories = [_Memory(self.config.size, self.config.theta) for _ in longer.lengths]
        for row, columns, hidden, followers, _ in self._read(longer):
            if columns.stop < longer.lengths[row]:
                memories[row].add(hidden, followers)
                continue
            memories[row].add(hidden[:-1], followers[:-1])
            result[row] = self._expected(memories[row], hidden[-1])
        return result

    def distributions(self, batch: Batch) -> Iterator[np.ndarray]:
        """float64 (N, V), nats, a block after the other: see ``base.Distributions``."""
        for row in in_order(batch, 0):
            yield from in_blocks(self._all_expected(row), at_once(len(self.tokenizer.vocabulary)))

    def _all_expected(self, row: Batch) -> Iterator[np.ndarray]:
        """float64 (1, V), nats: the distribution before each target of a batch of one row."""
        memory = _Memory(self.config.size, self.config.theta)
        for _, columns, hidden, followers, _ in self._read(row):
            done = 0
            for place in np.flatnonzero(row.targets[0, columns]).tolist():
                memory.add(hidden[done:place], followers[done:place])
                done = place
                yield self._expected(memory, hidden[place])[None]
            memory.add(hidden[done:], followers[done:])

    @torch.no_grad()
    def _expected(self, memory: _Memory, state: Tensor) -> np.ndarray:
        """float64 (V,), nats: the distribution after a state (E,), by the network and by what is remembered."""
        network = self.base.network.log_softmax(state[None])[0].cpu().double().numpy()
        cache = memory.distribution(state, len(network))
        if cache is None:
            return network
        with np.errstate(divide="ignore"):
            return mix_two(network, np.log(cache.cpu().double().numpy()), self.config.weight)

    @torch.no_grad()
    def _read(self, batch: Batch) -> Iterator[tuple[int, slice, Tensor, Tensor, Tensor]]:
        """A piece of a row after the other: row and columns of its targets; the states (N, E) before them; the targets
        themselves, int64 (N,), and their ln p by the network, float32 (N,)."""
        batch = Batch.of(batch.rows())  # what is not asked for is remembered too
        ids = torch.from_numpy(batch.ids).to(self.base.device)
        lengths = torch.from_numpy(batch.lengths).to(self.base.device)
        for hidden, row, column in self.base.hidden_states(batch):
            inside = column + 1 < lengths[row]
            hidden, row, column = hidden[inside], row[inside], column[inside] + 1
            followers = ids[row, column]
            log_probs = self.base.network.log_probs_of(hidden, followers)
            rows, counts = torch.unique_consecutive(row, return_counts=True)
            sizes = counts.tolist()
            pieces = zip(*(part.split(sizes) for part in (column, hidden, followers, log_probs)), strict=True)
            for number, (columns, *piece) in zip(rows.tolist(), pieces, strict=True):
                yield number, slice(int(columns[0]), int(columns[-1]) + 1), *piece


class _Memory:
    """The last ``size`` states of a row, (K, E), each with the token that followed it, (K,)."""

    def __init__(self, size: int, theta: float) -> None:
        self.size, self.theta = size, theta
        self.states: Tensor | None = None
        self.followers: Tensor | None = None

    def add(self, states: Tensor, followers: Tensor) -> None:
        """Remember these, and forget what is beyond ``size``."""
        if self.states is not None and self.followers is not None:
            states, followers = torch.cat((self.states, states)), torch.cat((self.followers, followers))
        self.states, self.followers = states[-self.size :], followers[-self.size :]

    def recall(self, states: Tensor, followers: Tensor) -> Tensor:
        """ln p_cache of each follower, (N,), given what stands before it; then remember them. -inf where nothing does.

        All of a block are compared with all of it and all before it at once, and each sees but its own past::

            remembered (size 3)   a b c     block   d e f        d sees a b c, e sees b c d, f sees c d e
        """
        found = []
        for block, wanted in zip(states.split(BLOCK), followers.split(BLOCK), strict=True):
            if self.states is None or self.followers is None:
                keys, known = block, wanted
            else:
                keys, known = torch.cat((self.states, block)), torch.cat((self.followers, wanted))
            scores = self.theta * (block @ keys.t())  # (N, K + N)
            place = torch.arange(len(keys), device=keys.device)
            age = place[-len(block) :, None] - place
            scores.masked_fill_((age < 1) | (age > self.size), -torch.inf)
            same = scores.masked_fill(known != wanted[:, None], -torch.inf).logsumexp(1)
            found.append(torch.where(same == -torch.inf, same, same - scores.logsumexp(1)))
            self.states, self.followers = keys[-self.size :], known[-self.size :]
        return torch.cat(found)

    def distribution(self, state: Tensor, vocabulary_size: int) -> Tensor | None:
        """p_cache of every type after ``state``, (V,); None where nothing is remembered."""
        if self.states is None or self.followers is None or not len(self.states):
            return None
        shares = (self.theta * (self.states @ state)).softmax(0)
        return shares.new_zeros(vocabulary_size).index_add_(0, self.followers, shares)


def _rounded(value: float) -> float:
    """To three digits, as it is told."""
    return float(f"{value:.3g}")
