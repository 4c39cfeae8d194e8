"""A network + the processes -> its loss on their rows, whose gradient is the mean over all of them.

torch's own engines do the work: DistributedDataParallel (Li et al. 2020) keeps a whole copy in each process and
averages gradients while they are computed; ``fully_shard`` (Zhao et al. 2023) divides weights, gradients and the
optimiser's state, and brings each layer together only while it is used. The mean of the processes' means over equal
shares is the mean over all rows, so the result is that of one process with the same rows.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.errors import UsageError
from lmbench.training.distributed import Processes


class _Loss(nn.Module):
    """The loss of a network as a module of its own: the engines act where a ``forward`` begins and ends."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor, state: Any = None, seen: int = 0) -> tuple[Tensor, Any]:
        if seen:
            return self.network.loss_after(rows, seen), None  # type: ignore[operator]
        return self.network.loss(rows, state)  # type: ignore[operator]


class Parallel:
    """The loss of ``network``, in one process or in many.

    ``trained``: the network that is trained: ``network`` itself, or the copy of it that is divided, while the original
    waits in the memory of the machine.
    """

    def __init__(self, network: nn.Module, processes: Processes) -> None:
        self.network, self.processes = network, processes
        self.device = next(network.parameters()).device
        self.trained = network
        self.engine: Any = None
        if processes.alone:
            self.loss: Any = _Loss(network)
            return
        processes.wait()
        if processes.sharded:
            self.trained = copy.deepcopy(network.cpu())  # a card is given its share of it, a layer after the other
            self.loss = self.engine = _sharded(self.trained, self.device, processes)
        else:
            cards = [self.device] if self.device.type == "cuda" else None
            self.loss = _Loss(network)
            with warnings.catch_warnings(action="ignore", category=FutureWarning):  # renamed, but not in torch 2.8
                self.engine = nn.parallel.DistributedDataParallel(self.loss, cards, broadcast_buffers=False)
        torch.manual_seed(torch.initial_seed() + 1 + processes.rank)  # each drops out others

    @contextmanager
    def step(self, last: bool) -> Iterator[Any]:
        """Within it, the loss to call and go back from; the ``last`` part of a step averages the gradients."""
        if self.engine is None:
            yield self.loss
        elif self.processes.sharded:
            self.engine.set_requires_gradient_sync(last)
            yield self.engine
        else:
            with nullcontext() if last else self.engine.no_sync():
                yield self.engine

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``tensors``, each in one piece; those that were divided in the memory of the machine, for a card need not
        hold all of them."""
        if not self.processes.sharded:
            return dict(tensors)
        return {name: _joined(value) for name, value in tensors.items()}

    def divided(self, tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``tensors`` in one piece -> divided as those of the same name in ``like`` are."""
        if not self.processes.sharded:
            return dict(tensors)
        return {name: as_divided(value, like[name]) for name, value in tensors.items()}

    def finish(self) -> None:
        """Put what was learned into ``network``, in one piece, on its device."""
        if self.trained is not self.network:
            self.network.load_state_dict(self.whole(self.trained.state_dict()))
            self.network.to(self.device)


def _joined(value: Tensor) -> Tensor:
    return value.full_tensor().cpu() if hasattr(value, "full_tensor") else value


def as_divided(value: Tensor, like: Tensor) -> Tensor:
    """``value`` divided among the processes as ``like`` is, if it is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def _sharded(network: nn.Module, device: torch.device, processes: Processes) -> Any:
    """The loss of ``network``, each layer of which is divided; what lies outside the layers is divided as one."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes.size,))
    for part in network.modules():
        if isinstance(part, nn.ModuleList):
            for layer in part:
                fully_shard(layer, mesh=mesh)
    return fully_shard(_Loss(network), mesh=mesh)


def check_shards(optimizer: str, averaged: bool) -> None:
    """Raise UsageError for what needs whole matrices or whole copies of the weights."""
    if optimizer in ("muon", "asgd") or averaged:
        what = f"optimizer={optimizer}" if optimizer in ("muon", "asgd") else "average_decay"
        raise UsageError(
            f"--shard divides every matrix among the processes, and {what} needs them whole. Leave --shard out, or "
            "take optimizer=adamw or sgd without average_decay."
        )
