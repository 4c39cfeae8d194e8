"""A network + prefixes -> the distribution after each, and the state from which it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmbench.models.base import Reading
from lmbench.models.network import Network, overlap_of


class NetworkReading(Reading):
    """What a network keeps of B prefixes of one length, and expects after them.

    Where windows stand alone, the one that is full is left for the next, half of which is read anew: so the numbers are
    those of ``next_log_probs``, and of ``log_probs``.
    """

    log_probs: np.ndarray

    def __init__(self, network: Network, prefixes: Sequence[np.ndarray], chunk: int) -> None:
        """``chunk``: tokens that a network with a state reads at once."""
        self.network, self.chunk, self.begin = network.eval(), chunk, 0
        self.state: Any = None
        self.ids = torch.from_numpy(np.stack(prefixes).astype(np.int64)).to(network.bias.device)  # (B, T)
        self._read(self.ids)

    def append(self, ids: np.ndarray) -> None:
        fresh = torch.from_numpy(ids.astype(np.int64)).to(self.ids.device)[:, None]
        self.ids = torch.cat((self.ids, fresh), 1)
        self._read(fresh)

    def keep(self, rows: np.ndarray) -> None:
        chosen = torch.from_numpy(rows).to(self.ids.device)
        self.ids, self.log_probs = self.ids[chosen], self.log_probs[rows]
        self.state = tuple(part[chosen] for part in self.state) if isinstance(self.state, tuple) else self.state[chosen]

    @torch.inference_mode()
    def _read(self, fresh: Tensor) -> None:
        """Go on by ``fresh``, (B, T), the last of ``ids``."""
        begin = first_in_window(self.network, self.ids.shape[1])
        if begin != self.begin:
            self.begin, self.state, fresh = begin, None, self.ids[:, begin:]
        for part in fresh.split(self.chunk if self.network.stateful else fresh.shape[1], 1):
            hidden, self.state = self.network.go_on(part, self.state)
        self.log_probs = self.network.log_softmax(hidden[:, -1]).cpu().numpy()


def first_in_window(network: Network, length: int) -> int:
    """Where the window begins in which the token after so many others is scored; 0 where a state reaches all."""
    if network.stateful or network.window is None:
        return 0
    overlap, stride = overlap_of(network.window)
    return max(0, (length - 1 - overlap) // stride) * stride
