"""Ctrl-C that asks first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible(
    stop: threading.Event, say: Callable[[], None] | None = None, *, ends: bool = False
) -> Iterator[None]:
    """The first Ctrl-C sets `stop`; another one raises KeyboardInterrupt, for what does not look at `stop`.

    For the main thread alone: only there may a program say what a signal does. One that is ignored, as in a script's
    background, stays so.

    Args:
        say: called at the first.
        ends: whether the program ends after an interrupted block: one more Ctrl-C then has nothing left to end.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        if say is not None:
            say()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ends and stop.is_set() else before)
