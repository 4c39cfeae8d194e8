"""Arguments -> a result on standard output, and an exit status: click only; parse, call, print.

``application.py`` holds the commands together; each command stands in the file of its name and imports
what it needs when it runs, so that ``lmbench --help`` answers at once.
"""

from __future__ import annotations


def main() -> None:
    """What the ``lmbench`` program and ``python -m lmbench`` call."""
    from lmbench.cli.application import lmbench

    lmbench.main(prog_name="lmbench")
