"""The machine -> facts that belong to every measurement: processor, memory, versions; and peak memory.

Nothing is imported to ask for its version, so that describing the machine costs no time and no memory.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import platform
import subprocess
import sys
import threading
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LIBRARIES = ("torch", "numpy", "scipy", "tokenizers", "safetensors")
VECTOR_EXTENSIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
"""Names that Linux gives to what a processor computes networks with, on x86 and on ARM."""
INTERVAL = 0.05
"""Seconds between two looks at the memory, where the system keeps no peak that can be reset."""


def describe_environment() -> dict[str, Any]:
    """Where and when a run takes place, as JSON values; None for what cannot be found out."""
    from lmbench import __version__

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "lmbench": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "vector_extensions": _vector_extensions(),
        "memory_mib": _memory_mib(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        **_torch_facts(),
    }


def usable_cores() -> int:
    """Processor cores that this process may use, which in a container can be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class PeakMemory:
    """The largest resident memory of this process while the block ran, in MiB.

    It is the whole process: interpreter, libraries and data that were there before are in it, so it answers
    "what machine do I need for this". What models before have left in the process is in it too, after a network some
    20 to 60 MiB of pages of its libraries. ``added_mib`` is the peak less what the process held when the block began:
    what this model needed on top of that, whatever ran before. ``device_mib``: the peak of the accelerator, None where
    none is in use.

    On Linux the kernel's own high-water mark is reset and read: no peak is missed, however short. Elsewhere the
    resident memory is looked at 20 times a second. None where the system does not tell.

    >>> with PeakMemory() as peak:
    ...     block = bytearray(1 << 20)
    >>> peak.mib is None or peak.mib > 1
    True
    """

    def __init__(self) -> None:
        self.mib: float | None = None
        self.added_mib: float | None = None
        self.device_mib: float | None = None
        self._before: float | None = None
        self._done = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        release_memory()
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()
        self._before = _status_mib("VmRSS")
        if not _reset_peak():
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read()
        self._done.set()
        if self._watcher is not None:
            self._watcher.join()

    def read(self) -> float | None:
        """The peak up to now, in MiB."""
        if self._watcher is None:
            self.mib = _status_mib("VmHWM")
        else:
            self._look()
        if self.mib is not None and self._before is not None:
            self.added_mib = max(0.0, self.mib - self._before)
        if (cuda := _cuda()) is not None:
            self.device_mib = cuda.max_memory_allocated() / (1 << 20)
        return self.mib

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        now = _status_mib("VmRSS")
        if now is None:
            now = _lifetime_peak_mib()
        if now is not None:
            self.mib = max(now, self.mib or 0.0)


def load_libraries() -> None:
    """Load what the first training step of a network loads, 70 MiB, so that it is the same for all models of a run and
    not counted to the first network. Nothing where torch is not in use."""
    if "torch" in sys.modules:
        importlib.import_module("torch._dynamo")


def release_memory() -> None:
    """Give back what the models before have left, so that it is not counted to the next one."""
    gc.collect()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed memory; musl has no such call
        if trim is not None:
            trim(0)


def _reset_peak() -> bool:
    """Set the kernel's high-water mark to what is in use now; False where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return _status_mib("VmHWM") is not None


def _status_mib(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":")), None)


def _lifetime_peak_mib() -> float | None:
    """The peak since the process began: all that macOS tells without further libraries."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _cuda() -> Any:
    """``torch.cuda`` where it is in use; torch is never loaded to find out."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _processor() -> str | None:
    if (lines := _cpuinfo()) is None:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return names[0] if names else platform.machine() or None


def _vector_extensions() -> list[str] | None:
    """Those of the processor that decide how fast networks are; processors of one name differ in them."""
    if (lines := _cpuinfo()) is None:
        return None
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return [name for name in VECTOR_EXTENSIONS if name in flags]


def _cpuinfo() -> list[str] | None:
    """What Linux tells of the processor, line by line; None elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None


def _memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the source that runs, ``+`` where it was changed since; None outside a repository."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        answers = [
            subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", "lmbench"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return answers[0].strip() + ("+" if answers[1].strip() else "")


def _torch_facts() -> dict[str, Any]:
    """Threads and accelerators, where torch is in use anyway."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    accelerators = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"torch_threads": torch.get_num_threads(), "accelerators": accelerators}
