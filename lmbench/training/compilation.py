"""A network's forward pass -> code that torch.compile builds for the machine, while it is trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lmbench.errors import TrainingError, UsageError
from lmbench.training.distributed import processes

COMPILERS = ("g++", "clang++", "c++", "cl")


@contextmanager
def compiled(network: nn.Module) -> Iterator[None]:
    """Within it ``network.compiled`` is its forward pass as torch.compile builds it; weights keep their names.

    Raises UsageError where there is no C++ compiler, TrainingError where this network cannot be built.
    """
    if processes().sharded:
        raise UsageError("compile=yes builds the network in one piece, and --shard divides it. Leave one of them out.")
    names = (os.environ.get("CXX") or COMPILERS[0], *COMPILERS[1:])
    if not any(shutil.which(name) for name in names):
        raise UsageError(
            f"compile=yes needs a C++ compiler, and none of {', '.join(names)} is on the path. Install one, name it by "
            "the variable CXX, or leave compile=yes out."
        )
    from torch._dynamo.exc import TorchDynamoException  # takes a second or two to load
    from torch._functorch import config

    network.compiled = torch.compile(network.forward)  # type: ignore[assignment]
    try:
        # What torch 2.13 reads back of this cache has shapes that are garbage, where an output is a view
        # (pytorch/pytorch#185630); what is slow, the code of the kernels, is in another.
        with config.patch(enable_autograd_cache=False):
            yield
    except TorchDynamoException as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(f"torch.compile could not build this network: {reason}. Leave compile=yes out.") from error
    finally:
        network.compiled = None  # type: ignore[assignment]
