"""The environment that torchrun sets -> ``Processes``: which of them this is, and what they do together.

Every process runs the same command on the same text, and differs only in the rows that it reads::

    rows of a step     0 1 2 3 | 4 5 6 7      each process takes its share; gradients are averaged
    scoring            each computes what it is asked for, 0 elsewhere; the answers are added up
    decisions          of the clock of process 0; an interruption of any is one of all
    files, results     written and told by process 0 alone

With one process nothing is imported, sent or changed.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from lmbench.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Rows = TypeVar("Rows", np.ndarray, Tensor)

SHARD = "LMBENCH_SHARD"
"""Set to 1 where the weights are to be divided among the processes (``--shard``)."""
PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, which may be counting n-grams; that one died is noticed at once."""
AGREEMENT = timedelta(seconds=30)
"""How long a process that failed waits for the others to fail as well."""


class Processes:
    """This process among those of its training. ``rank``: its number, ``size``: how many; ``local``: on this machine.

    ``sharded``: whether the weights are divided among them. Every method that sends anything must be called by
    all processes, in the same order.

    >>> Processes().share([1, 2, 3, 4])
    [1, 2, 3, 4]
    >>> Processes(rank=1, size=2).share([1, 2, 3, 4])
    [3, 4]
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, sharded: bool = False) -> None:
        self.rank, self.size, self.local, self.sharded = rank, size, local, sharded
        self.failures = 0

    @property
    def alone(self) -> bool:
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes files and tells results."""
        return self.rank == 0

    def check(self, rows: int) -> None:
        """Raise UsageError where the rows of a step cannot be divided evenly."""
        if rows % self.size:
            raise UsageError(
                f"{rows} rows of a step cannot be divided evenly among {self.size} processes. Set batch_size to a "
                f"multiple of {self.size} that the text has rows for, or choose another number with --processes."
            )

    def share(self, rows: Rows) -> Rows:
        """The part of ``rows`` (B, ...) that is this process' own."""
        each = len(rows) // self.size
        return rows[self.rank * each : (self.rank + 1) * each]

    def dealt(self, rows: Rows) -> tuple[Rows, int]:
        """Every ``size``-th of ``rows``, and how many that is; where none is left, the first, which does not count."""
        mine = rows[self.rank :: self.size]
        return (mine, len(mine)) if len(mine) else (rows[:1], 0)

    def gathered(self, tensor: Tensor) -> Tensor:
        """What ``share`` divides: the tensors (b, ...) of all processes, one after the other."""
        if self.alone:
            return tensor
        import torch

        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        self.joined().all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum of float64 ``values`` over the processes."""
        if self.alone:
            return values
        import torch

        result = torch.from_numpy(values.copy())
        self.joined().all_reduce(result)
        return result.numpy()

    def mean(self, value: float) -> float:
        """Mean of ``value`` over the processes."""
        if self.alone:
            return value
        import numpy as np

        return float(self.total(np.array([value]))[0]) / self.size

    def agree(self, seconds: float, interrupted: bool = False) -> tuple[float, bool]:
        """The ``seconds`` of process 0, and whether any process was interrupted."""
        if self.alone:
            return seconds, interrupted
        import numpy as np

        told = self.total(np.array([seconds if self.leads else 0.0, float(interrupted)]))
        return float(told[0]), bool(told[1])

    def wait(self) -> None:
        """Until all processes are here."""
        self.agree(0.0)

    def failed_together(self) -> bool:
        """Whether all processes have failed at this point, as they do where all meet the same fault; said by each of
        them that failed. If only some have, the others wait for them in vain, and the run must end."""
        if self.alone:
            return True
        store, self.failures = _store(), self.failures + 1
        key = f"lmbench/failed/{self.failures}"
        store.set(f"{key}/{self.rank}", "yes")
        try:
            store.wait([f"{key}/{rank}" for rank in range(self.size)], AGREEMENT)
        except RuntimeError:
            return False
        return True

    def speaks(self) -> bool:
        """Whether this process is the first that has an error to tell: one paragraph is enough."""
        if self.alone:
            return True
        try:
            return bool(_store().add(f"lmbench/spoken/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", 1) == 1)
        except RuntimeError:  # whoever kept it is gone
            return self.leads

    def leave(self) -> None:
        """At the end of a command: none ends before process 0 has told its results."""
        if self.alone:
            return
        dist = self.joined()
        self.wait()
        dist.destroy_process_group()

    def joined(self) -> Any:
        """``torch.distributed``, all processes connected."""
        import torch
        import torch.distributed as dist

        if not dist.is_initialized():
            cards = torch.cuda.is_available()
            if cards and self.local < torch.cuda.device_count():
                torch.cuda.set_device(self.local)
            backend = "cpu:gloo,cuda:nccl" if cards else "gloo"
            dist.init_process_group(backend, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        return dist


@cache
def processes() -> Processes:
    """The processes that torchrun started, or this one alone."""
    try:
        rank, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except (KeyError, ValueError):
        return Processes()
    return Processes(rank, size, local, sharded=os.environ.get(SHARD) == "1")


def lost(error: BaseException) -> bool:
    """Whether ``error`` tells that another process is gone."""
    text = str(error).lower()
    signs = ("connection closed by peer", "connection reset by peer", "broken pipe", "nccl", "timed out waiting")
    return not processes().alone and isinstance(error, RuntimeError) and any(sign in text for sign in signs)


@cache
def _store() -> Any:
    """What the processes tell each other when one of them has failed; torchrun itself keeps it."""
    import torch.distributed as dist

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=10))
