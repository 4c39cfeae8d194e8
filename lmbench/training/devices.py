"""``"auto"`` -> a torch device and the precision that this machine gains by; a full memory -> what to change.

Mixed precision, everywhere: weights, optimiser and sums are float32; only large matrix products are in bfloat16, under
``torch.autocast`` and in the softmax. bfloat16 has the range of float32, so that no loss need be scaled.
"""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from lmbench.errors import TrainingError, UsageError, out_of_memory, unknown_name
from lmbench.training.distributed import processes

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_device(name: str) -> torch.device:
    """``auto`` (the best there is), ``cpu``, ``cuda``, ``cuda:1``, ``mps`` -> the device.

    Of several processes each has a card of its own. Raises UsageError where the device is unknown or not there.
    """
    kind = name.partition(":")[0]
    if kind == "auto":
        if torch.cuda.is_available():
            return resolve_device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if kind not in ("cpu", "cuda", "mps"):
        raise unknown_name("device", name, ("auto", "cpu", "cuda", "mps"))
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[kind]:
        raise UsageError(
            f"The device '{name}' was asked for, but this machine has none. Use device=cpu or device=auto."
        )
    if kind == "cuda":
        _settle_cuda()
    if kind == "cuda" and not processes().alone:
        check_cards(processes().local + 1, name)
        return torch.device("cuda", processes().local)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"'{name}' is not a device: {error}. Use cpu, cuda, cuda:0 or mps.") from None
    if kind == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"The device '{name}' was asked for, but there are {torch.cuda.device_count()} cuda devices.")
    return device


def _settle_cuda() -> None:
    """float32 is float32 in cuDNN's recurrent layers too: by default it would round what it multiplies to 10 bits. And
    no word about weights that it copies into one piece at each call: in bfloat16 they are copies anyway."""
    with warnings.catch_warnings(action="ignore"):  # torch will name it otherwise, which versions from 2.8 do not know
        torch.backends.cudnn.allow_tf32 = False
    warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk", UserWarning)


def check_cards(number: int, name: str) -> None:
    """Raise UsageError where ``number`` processes on the device ``name`` would have to share cards."""
    if ":" in name:
        raise UsageError(
            f"'{name}' is one card, and each of several processes needs its own. Use device=cuda, which gives "
            "process 0 the first, process 1 the second and so on."
        )
    if number > (cards := torch.cuda.device_count()):
        raise UsageError(
            f"{number} processes need {number} cuda devices, one each, and this machine has {cards}. "
            "Lower --processes, or add --device cpu."
        )


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The type in which large matrix products are trained; scoring is always in float32.

    ``auto`` takes bfloat16 where the processor multiplies it natively: twice the rate or more.
    """
    if name == "float16":
        raise UsageError(
            "precision=float16 is not offered: its range is so small that losses would have to be scaled. The mixed "
            "precision of lmbench is precision=bfloat16, with weights in float32."
        )
    if name not in PRECISIONS:
        raise unknown_name("precision", name, PRECISIONS)
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, MADV_HUGEPAGE = -1, -2, -3, 14
"""Of mallopt(3) in glibc, and of madvise(2)."""


def reuse_memory() -> None:
    """Let the C library keep arrays of up to 32 MiB for the next step instead of handing each back to the system, and
    the system hold the first 512 MiB of them in pages of 2 MiB, where it has such.

    Otherwise every step asks for the same pages anew and the system clears them, which takes a fifth of the time of a
    small Transformer's step on a CPU; and to find each number in one of 512 times as many pages takes another tenth. At
    most 512 MiB lie free. Nothing happens where the C library is not glibc.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    for name, value in ((M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 512 << 20), (M_TOP_PAD, 512 << 20)):
        libc.mallopt(name, value)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    libc.free(libc.malloc(ctypes.c_size_t(31 << 20)))  # the heap grows by that and M_TOP_PAD, unless it was as large
    with suppress(OSError), open("/proc/self/maps", encoding="utf-8", errors="replace") as ranges:
        for line in ranges:
            if line.rstrip().endswith("[heap]"):
                first, last = (int(address, 16) for address in line.split()[0].split("-"))
                libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), MADV_HUGEPAGE)


@contextmanager
def enough_memory(told: str) -> Iterator[None]:
    """Turn the many forms of "out of memory" into one TrainingError: "Memory ran out", and ``told``, which goes on with
    what it was needed for and the settings to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingError(f"Memory ran out {told}") from None
