"""Several processes behind one port: streams are independent, so the kernel may hand each to any of them."""

import multiprocessing
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from vocaffect.errors import VocaffectError
from vocaffect.server.capacity import with_capacity
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.run import announcement, bind, make_server, page_address
from vocaffect.server.settings import Settings

RESTART_AFTER_S = 1.0
STOP_S = 15.0

_context = multiprocessing.get_context("spawn")


def run_workers(settings: Settings, announce: Callable[[str], object]) -> None:
    """Serve from `settings.workers` processes until interrupted; one that dies is started again.

    Raises:
        VocaffectError: if the address is taken, a recogniser cannot be loaded, or the system cannot share a port.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise VocaffectError("this system cannot share a port: start several servers behind a load balancer instead")
    catalogue = Catalogue.load(settings.recognizers)
    with bind(settings, shared=True) as reserved, tempfile.TemporaryDirectory(prefix="vocaffect-metrics-") as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
        settings = settings.model_copy(update={"port": reserved.getsockname()[1]})
        settings = with_capacity(settings, catalogue)
        crew = _Crew(settings)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, crew.stop)
        for line in announcement(settings, catalogue, page_address(settings, reserved)):
            announce(line)
        crew.work()


class _Crew:
    """The processes, and whether they are to go on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = False
        self._workers: list[SpawnProcess] = []

    def work(self) -> None:
        """Keep all processes running until told to stop."""
        self._workers = [self._start() for _ in range(self._settings.workers)]
        while not self._stopping:
            time.sleep(0.1)
            for place, worker in enumerate(self._workers):
                if not worker.is_alive() and not self._stopping:
                    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # or its streams would count on
                    time.sleep(RESTART_AFTER_S)
                    self._workers[place] = self._start()
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(STOP_S)

    def stop(self, _: int, __: FrameType | None) -> None:
        """Told to stop."""
        self._stopping = True

    def _start(self) -> SpawnProcess:
        worker = _context.Process(target=_serve, args=(self._settings, os.getpid()))
        worker.start()
        return worker


def _serve(settings: Settings, parent: int) -> None:
    """One process: its own socket on the shared port, its own recognisers; it does not outlive its parent."""
    with bind(settings, shared=True) as listener:
        listener.listen(1024)
        server = make_server(settings, Catalogue.load(settings.recognizers))
        server.parent = parent
        server.run(sockets=[listener])
