"""What Prometheus may ask for: counts and durations, and nothing of what was said."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

_WAITS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The metrics of one server; where several processes serve one port they are added up."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.streams = Gauge("vocaffect_streams", "Live streams now.", registry=registry, multiprocess_mode="livesum")
        self._refused = Counter(
            "vocaffect_refused", "Streams and requests that were refused.", ["code"], registry=registry
        )
        self._waited = Histogram(
            "vocaffect_wait_seconds",
            "From the arrival of the oldest chunk of a batch to its answer.",
            ["recognizer"],
            buckets=_WAITS_S,
            registry=registry,
        )
        self._size = Histogram(
            "vocaffect_batch_streams", "Streams in a batch.", ["recognizer"], buckets=_SIZES, registry=registry
        )
        self._busy = Counter("vocaffect_batch_seconds", "Time spent on batches.", ["recognizer"], registry=registry)
        self._requests = Counter(
            "vocaffect_requests", "HTTP requests answered.", ["method", "route", "status"], registry=registry
        )
        self._request_s = Histogram(
            "vocaffect_request_seconds", "From a request to the end of its answer.", ["route"], registry=registry
        )
        self._registry = registry

    def batch(self, recognizer: str, size: int, busy_s: float, waited_s: float) -> None:
        """One batch of a recogniser has been computed."""
        self._waited.labels(recognizer).observe(waited_s)
        self._size.labels(recognizer).observe(size)
        self._busy.labels(recognizer).inc(busy_s)

    def refused(self, code: str) -> None:
        """A stream or a request has been refused with this error code."""
        self._refused.labels(code).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
