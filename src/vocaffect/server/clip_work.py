"""The threads that whole clips are decoded and recognised in: few, with a short queue before them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from vocaffect.errors import VocaffectError
from vocaffect.server.refusals import ProtocolError

T = TypeVar("T")


class ClipWork:
    """At most `threads` clips at once, and `max_waiting` more that wait."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="clip")
        self._max = threads + max_waiting
        self._num = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, from one of the threads.

        Raises:
            ProtocolError: if too many wait already, or what the work is about cannot be used.
        """
        if self._num >= self._max:
            raise ProtocolError("busy", f"{self._num} clips are waiting already; try again later")
        self._num += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(self._done)
        try:
            return await running
        except VocaffectError as error:
            raise ProtocolError("bad_audio", str(error)) from error

    def stop(self) -> None:
        """Wait for the clips that are being computed."""
        self._threads.shutdown()

    def _done(self, _: object) -> None:
        self._num -= 1
