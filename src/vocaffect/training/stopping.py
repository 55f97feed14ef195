"""Ctrl-C and SIGTERM during training: the batch at hand is finished and saved, and only then does training end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAskedError(Exception):
    """Training was asked to stop by a signal, whose number is ``signal``."""

    def __init__(self, number: int, where: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}{where and ' '}{where}")
        self.signal = number


@contextmanager
def signals_kept(on_note: Callable[[str], None]) -> Iterator[Callable[[], int]]:
    """Within the block the first Ctrl-C or SIGTERM is only remembered; a second Ctrl-C ends the program at once.

    Gives a function that says which signal came, 0 for none. Threads other than the main one cannot hear signals,
    so there it always says 0.
    """
    came = 0

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = number
            on_note("stopping after this batch; Ctrl-C (once more) ends at once, without saving it")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: came
        return
    before = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(worker: int) -> None:
    """What a process that reads clips does first: whether to stop is for the process that trains to say."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
