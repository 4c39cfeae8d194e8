"""What training asks of the C library and the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
PROGRAM = """
from lmbench.training.devices import reuse_memory
for _ in range(2):
    reuse_memory()
    with open("/proc/self/smaps", encoding="utf-8") as ranges:
        heap = ranges.read().split("[heap]")[1]
    size = next(line for line in heap.splitlines() if line.startswith("Size:"))
    flags = next(line for line in heap.splitlines() if line.startswith("VmFlags:"))
    print(int(size.split()[1]) >> 10, "hg" in flags.split())
"""


@pytest.mark.skipif(not HUGE_PAGES.exists(), reason="the system has no transparent huge pages")
def test_memory_for_half_a_gibibyte_of_arrays_is_in_large_pages() -> None:
    found = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout
    first, second = (line.split() for line in found.splitlines())
    assert 512 <= int(first[0]) < 800
    assert first[1] == "True"
    assert second == first
