"""The folder of a run -> seconds to make its page, tables and plots anew, and whether torch was loaded for it.

    python tests/benchmarks/report.py [results/my-run] [--times 3]

Each time in a process of its own, as a user calls ``lmbench report``, start of Python included; the fastest counts.
Without a run, one of ten counted models on the English grammar is made first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lmbench.benchmark.results import RunFolder

MODELS = ",".join(["uniform", *(f"ngram:order={order}" for order in range(1, 10))])
RUN = (sys.executable, "-m", "lmbench", "run", "--models", MODELS, "--corpus", "english", "--out")
CALL = """
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
sys.argv = ["lmbench", "report", sys.argv[1]]
from lmbench.cli import main
main()
"""


def main() -> None:
    """Measure, and print a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if given.run is None:
            given.run = Path(place) / "run"
            subprocess.run([*RUN, str(given.run)], check=True, capture_output=True)
        measure(given.run, given.times)


def measure(run: Path, times: int) -> None:
    """Print the row of one run."""
    spent, loaded = [], set()
    for _ in range(times):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", CALL, run], check=True, capture_output=True, text=True)
        spent.append(time.perf_counter() - began)
        loaded.add(done.stderr.split()[-1])
    size, models = (run / "report.html").stat().st_size / 1e6, len(RunFolder(run).read_results())
    print("| models | report, s | page, MB | torch loaded |\n| ---: | ---: | ---: | --- |")
    print(f"| {models} | {min(spent):.1f} | {size:.1f} | {' '.join(sorted(loaded))} |")


if __name__ == "__main__":
    main()
