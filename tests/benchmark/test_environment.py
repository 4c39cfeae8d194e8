"""Facts about the machine, and the peak of memory."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from lmbench.benchmark import environment
from lmbench.benchmark.environment import PeakMemory, describe_environment


def test_the_environment_is_json_and_complete() -> None:
    found = json.loads(json.dumps(describe_environment()))
    assert found["python"] == sys.version.split()[0]
    assert found["cores"] >= 1
    assert found["libraries"]["numpy"] == np.__version__
    assert {"date", "command", "lmbench", "platform", "processor", "memory_mib", "git_commit"} <= found.keys()
    assert set(found["vector_extensions"] or ()) <= set(environment.VECTOR_EXTENSIONS)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kernel", [True, False])
def test_a_peak_that_is_gone_is_still_seen(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:  # as on systems that keep no peak which can be reset
        monkeypatch.setattr(environment, "_reset_peak", lambda: False)
    with PeakMemory() as before:
        pass
    with PeakMemory() as peak:
        block = np.ones(100 << 20, np.uint8)  # 100 MiB
        peak.read()
        del block
    with PeakMemory() as after:
        pass
    assert before.mib is not None
    assert peak.mib is not None
    assert after.mib is not None
    assert peak.mib - before.mib == pytest.approx(100, abs=20)
    assert after.mib < peak.mib - 50, "each peak is its own"
    assert peak.added_mib == pytest.approx(100, abs=20), "whatever was there before"
    assert after.added_mib == pytest.approx(0, abs=20)


@pytest.mark.parametrize(("first", "loaded"), [("torch", True), ("numpy", False)])
def test_what_networks_load_is_loaded_where_there_are_networks(first: str, loaded: bool) -> None:
    code = (
        f"import sys, {first}; from lmbench.benchmark.environment import load_libraries; load_libraries(); "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == loaded
