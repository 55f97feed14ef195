"""A server in a process of its own, for the benchmarks of serving."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

COMMAND = [sys.executable, "-c", "from vocaffect.cli import main; main()", "serve", "--port", "0"]


@dataclass(frozen=True)
class Served:
    """A running server: its address and its process."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds that it has used, its workers included."""
        alive = [each for each in self._all() if each.is_running()]
        return sum(times.user + times.system for times in (each.cpu_times() for each in alive))

    def rss_bytes(self) -> int:
        """Its memory, the decoding process not counted: that one is forked afresh for every clip."""
        return int(self.process.memory_info().rss)

    def num_descriptors(self) -> int:
        """How many descriptors it has open."""
        return int(self.process.num_fds())

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def serving(*options: str, command: list[str] | None = None, **settings: object) -> Iterator[Served]:
    """A server with these options and settings (`max_clip_s=10`); it keeps nothing unless told to."""
    environment = {**os.environ, "VOCAFFECT_DATABASE": "none"}
    environment |= {f"VOCAFFECT_{name.upper()}": str(value) for name, value in settings.items()}
    with subprocess.Popen(
        [*(command or COMMAND), *options], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split(" at ")[1].split()[0]
            yield Served(url, psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait(30)
