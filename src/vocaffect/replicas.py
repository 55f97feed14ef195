"""The server on Ray Serve: replicas on one machine or many behind Ray's own proxy, WebSockets included."""

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

from vocaffect.cluster import connected
from vocaffect.errors import VocaffectError, need_extra
from vocaffect.server.app import create_app
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.run import announcement
from vocaffect.server.settings import Settings

ONGOING = 1_000
"""Requests and streams that Ray hands one replica at once; the replica's own limits are lower."""


def run_replicas(
    settings: Settings, on: str, announce: Callable[[str], object], until: Callable[[], bool] = lambda: False
) -> None:
    """Serve from `settings.workers` replicas until interrupted, or until `until` holds.

    Every replica loads the recognisers itself, so all machines must have the bundles under the same paths.

    Raises:
        VocaffectError: if Ray is not there, the address is taken, or a recogniser cannot be loaded.
    """
    need_extra("serving on Ray", "cluster", "ray")
    catalogue = Catalogue.load(settings.recognizers)
    port = settings.port or _free_port()
    with connected(on, processes=settings.workers + 1):
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        serve.start(http_options={"host": settings.host, "port": port}, logging_config={"enable_access_log": False})
        try:
            serve.run(_deployment(serve, settings).bind(), name="vocaffect")
            for line in announcement(settings, catalogue, f"http://{settings.host}:{port}"):
                announce(line)
            while not until():
                time.sleep(0.2)
        except KeyboardInterrupt:
            pass
        finally:
            serve.shutdown()


def _deployment(serve: Any, settings: Settings) -> Any:
    def build() -> Any:
        return create_app(settings, Catalogue.load(settings.recognizers))

    @serve.deployment(num_replicas=settings.workers, max_ongoing_requests=ONGOING, ray_actor_options={"num_cpus": 1})
    @serve.ingress(build)
    class Replica:
        """One server; Ray's proxy speaks to the outside."""

    return Replica


def _free_port() -> int:
    try:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise VocaffectError(f"no port is free ({error}); name one with --port") from error
