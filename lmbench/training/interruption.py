"""SIGINT or SIGTERM -> an event that a loop looks at between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Hold SIGINT and SIGTERM back until a step is complete; a second one interrupts at once, and so does the end of
    the block where nobody has looked any more. A signal that the process ignores stays ignored."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def remember(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, remember) for number in heeded}
    try:
        yield event
    except Exception as error:
        if event.is_set():  # whoever interrupts does not wait for what else goes wrong
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if event.is_set():
        raise KeyboardInterrupt
