"""A command -> the same command in several processes, started and watched by torchrun."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lmbench.errors import UsageError, unknown_name

Command = TypeVar("Command", bound=Callable[..., Any])

ENGINES = ("torchrun",)
FAILED = 2


def launch_options(command: Command) -> Command:
    """``--launch``, ``--processes`` and ``--shard``: where they ask for several processes, these run ``command``."""

    @click.option("--launch", metavar="torchrun", help="Start several processes, which divide each step among them.")
    @click.option("--processes", type=int, metavar="N", help="How many processes; on cards, one each.")
    @click.option(
        "--shard", is_flag=True, help="Divide the weights among the processes too, for a model beyond one card (FSDP)."
    )
    @functools.wraps(command)
    def launched(*arguments: Any, launch: str | None, processes: int | None, shard: bool, **given: Any) -> Any:
        if not _is_one_of_several(launch, processes, shard):
            raise click.exceptions.Exit(_torchrun(processes or 0, given.get("device") or "auto", shard))
        return command(*arguments, **given)

    return launched  # type: ignore[return-value]


def _is_one_of_several(launch: str | None, number: int | None, shard: bool) -> bool:
    """Whether this process is to do the work: one of those that were started, or the only one.

    Raises UsageError for options that cannot be.
    """
    from lmbench.training.distributed import SHARD, processes

    if launch is not None and launch not in ENGINES:
        raise unknown_name("launcher", launch, ENGINES)
    if number is not None and launch is None:
        raise UsageError(f"--processes {number} was asked for, but not by what to start them. Add --launch torchrun.")
    if number is not None and number < 1:
        raise UsageError(f"--processes {number} leaves nobody to do the work. Give 1 or more.")
    if not processes().alone:
        if shard and not processes().sharded:  # torchrun was called by the user
            os.environ[SHARD] = "1"
            processes.cache_clear()
        if number is not None and number != processes().size:
            raise UsageError(
                f"--processes {number} was asked for, but torchrun has started {processes().size} processes already. "
                "Leave --launch and --processes out where you call torchrun yourself."
            )
        return True
    if launch is not None and number is None:
        raise UsageError("--launch torchrun needs the number of processes to start. Add for example --processes 2.")
    if shard and (number or 1) < 2:
        raise UsageError(
            "--shard divides the weights among several processes, and there is one only. Add --launch torchrun "
            "--processes N, or leave --shard out."
        )
    return (number or 1) < 2


def _torchrun(number: int, device: str, shard: bool) -> int:
    """Run this very command in ``number`` processes; the exit status of the first that failed, or 0."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from lmbench.cli.application import INTERRUPTED, complain
    from lmbench.training.devices import check_cards, resolve_device
    from lmbench.training.distributed import SHARD

    if resolve_device(device).type == "cuda":
        check_cards(number, device)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // number)))
    typed = list(click.get_current_context().find_root().obj or sys.argv[1:])
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=number, run_id=f"lmbench-{os.getpid()}", max_restarts=0,
        rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
    )  # fmt: skip
    if shard:
        os.environ[SHARD] = "1"
    logging.disable()  # the processes tell their errors themselves
    try:
        elastic_launch(config, sys.executable)("-m", "lmbench", *typed)
    except ChildFailedError as error:
        first = error.get_first_failure()[1]
        if all(failure.exitcode < 0 for failure in error.failures.values()):  # none could say why
            complain(
                f"A process of this training was ended by signal {-first.exitcode}, perhaps because memory ran out. "
                "What was kept is intact: go on with --resume, with a smaller model or fewer processes."
            )
        return first.exitcode if first.exitcode > 0 else FAILED
    except SignalException:
        return INTERRUPTED
    finally:
        os.environ.pop(SHARD, None)
        logging.disable(logging.NOTSET)
    return 0
