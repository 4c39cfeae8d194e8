"""A network's forward pass -> code that torch.compile builds for the machine, while it is trained."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lmbench.errors import TrainingError, UsageError
from lmbench.training.budget import Budget
from lmbench.training.devices import resolve_precision
from lmbench.training.distributed import processes

COMPILERS = {"darwin": "clang++", "win32": "cl"}
"""That torch takes; g++ on other systems."""
WORTH = 300
"""Seconds of training from which on what is gained is well above what building takes."""


def can_build() -> bool:
    """Whether the C++ compiler that torch would take is on the path, or one is named by the variable CXX."""
    return shutil.which(_compiler()) is not None


def worth_building(settings: Any, device: torch.device, budget: Budget) -> bool:
    """Whether to build a network of such settings, a ``NetworkConfig``, where that is left open and its family gains:
    see there. What trains for a number of steps or epochs is not built, so that it ends in the same numbers."""
    return (
        device.type == "cpu"
        and resolve_precision(settings.precision, device) == torch.bfloat16
        and (budget.seconds or 0) >= WORTH
        and not (settings.checkpointing or settings.varied or processes().size > 1)
        and can_build()
    )


def _compiler() -> str:
    return os.environ.get("CXX") or COMPILERS.get(sys.platform, "g++")


@contextmanager
def compiled(network: nn.Module, failed: Callable[[str], None] | None = None) -> Iterator[None]:
    """Within it ``network.compiled`` is its forward pass as torch.compile builds it; weights keep their names.

    It is built for the shape of the first rows, forward and backward; others, such as the shorter ones that end a pass,
    run as they are, since torch would build for them too. Raises UsageError where there is no C++ compiler,
    TrainingError where this network cannot be built; with ``failed``, that is told the latter, and training goes on
    without.
    """
    if processes().sharded:
        raise UsageError("compile=yes builds the network in one piece, and --shard divides it. Leave one of them out.")
    if not can_build():
        raise UsageError(
            f"compile=yes needs a C++ compiler, and {_compiler()} is not on the path. Install it, name another by "
            "the variable CXX, or leave compile=yes out."
        )
    from torch._dynamo.exc import TorchDynamoException  # takes a second or two to load
    from torch._functorch import config
    from torch._inductor import config as inductor

    built = torch.compile(network.forward)
    shape: torch.Size | None = None

    def forward(*inputs: Any) -> Any:
        nonlocal shape
        if shape is None:
            shape = inputs[0].shape
            try:
                _build(built, network, inputs)
            except TorchDynamoException as error:
                if failed is None:
                    raise
                failed(f"torch.compile could not build this network: {_first_line(error)}. Training goes on without.")
                network.compiled = None  # type: ignore[assignment]
                return network(*inputs)
        return (built if inputs[0].shape == shape else network)(*inputs)

    network.compiled = forward  # type: ignore[assignment]
    try:
        # What torch 2.13 reads back of this cache has shapes that are garbage, where an output is a view
        # (pytorch/pytorch#185630); what is slow, the code of the kernels, is in another.
        # Random numbers on a CPU are to come from torch's generator, whose state is kept, and one by one.
        on_cpu = {weight.device.type for weight in network.parameters()} <= {"cpu"}
        with config.patch(enable_autograd_cache=False), inductor.patch(fallback_random=on_cpu):
            yield
    except TorchDynamoException as error:
        told = f"torch.compile could not build this network: {_first_line(error)}. Train it with compile=no."
        raise TrainingError(told) from error
    finally:
        network.compiled = None  # type: ignore[assignment]
        torch._dynamo.reset()  # it builds a forward pass eight times at most, whatever network it is that of


def _build(built: Callable[..., Any], network: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Run it forward and backward once, with nothing left of it: torch builds each half when it first runs."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    cards = {weight.device for weight in weights if weight.device.type == "cuda"}
    with torch.random.fork_rng(devices=cards):
        result = built(*inputs)[0].sum()
        if weights:
            torch.autograd.grad(result, weights, allow_unused=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
