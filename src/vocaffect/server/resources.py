"""What every request of one running server shares."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from starlette.requests import HTTPConnection

from vocaffect.server.catalogue import Catalogue
from vocaffect.server.protocol import ProtocolError, Readiness
from vocaffect.server.settings import Settings


class Resources:
    """Settings, recognisers, the threads that compute, and the count of open streams."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        stream_threads: ThreadPoolExecutor,
        clip_threads: ThreadPoolExecutor,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.stream_threads = stream_threads
        self.clip_threads = clip_threads
        self._num_streams = 0

    @contextmanager
    def stream_slot(self) -> Iterator[None]:
        """A place among the live streams.

        Raises:
            ProtocolError: if all are taken.
        """
        if self._num_streams >= self.settings.max_streams:
            raise ProtocolError("busy", f"all {self.settings.max_streams} streams are taken; try again later")
        self._num_streams += 1
        try:
            yield
        finally:
            self._num_streams -= 1

    def readiness(self) -> Readiness:
        """Whether another stream would be taken."""
        full = self._num_streams >= self.settings.max_streams
        return Readiness(
            status="full" if full else "ready", num_streams=self._num_streams, max_streams=self.settings.max_streams
        )


def resources_of(connection: HTTPConnection) -> Resources:
    """What the server shares that a request or a socket belongs to."""
    resources: Resources = connection.app.state.vocaffect
    return resources
