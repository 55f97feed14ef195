"""What every request of one running server shares."""

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from vocaffect.server.catalogue import Catalogue
from vocaffect.server.clip_work import ClipWork
from vocaffect.server.decoding import Decoding
from vocaffect.server.engine import Engine
from vocaffect.server.metrics import Metrics
from vocaffect.server.protocol import Readiness
from vocaffect.server.settings import Settings
from vocaffect.server.store import Store


@dataclass(frozen=True)
class Resources:
    """Settings, recognisers, what computes for streams and for clips, what is saved, and the metrics."""

    settings: Settings
    catalogue: Catalogue
    engine: Engine
    clips: ClipWork
    decoding: Decoding
    store: Store | None
    metrics: Metrics

    def readiness(self) -> Readiness:
        """Whether another stream would be taken."""
        engine = self.engine
        status = "closing" if engine.closing else "full" if engine.refusal(self.catalogue.default) else "ready"
        return Readiness(status=status, num_streams=engine.num_streams, max_streams=engine.max_streams)


def resources_of(connection: HTTPConnection) -> Resources:
    """What the server shares that a request or a socket belongs to."""
    resources: Resources = connection.app.state.vocaffect
    return resources
