"""The messages between server and client, version 1: docs/protocol.md explains them, web/ has their twin."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vocaffect.card import Golden, StateSpec
from vocaffect.server.refusals import ErrorCode, ProtocolError

VERSION: Final = 1


class Message(BaseModel):
    """A JSON object with exactly the fields of its class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hello(Message):
    """The client's first message: how its binary messages are to be read, and what it wants to hear."""

    type: Literal["hello"] = "hello"
    version: int
    sample_rate: int = Field(ge=8_000, le=48_000)
    format: Literal["int16", "float32"]
    recognizer: str | None = Field(default=None, max_length=100)
    interval_s: float = Field(default=0.1, ge=0.1, le=1.0)
    features: bool = False
    voice: str | None = Field(default=None, max_length=20_000)


class Voice(Message):
    """Another voice speaks from here on: one that is known by its profile or, with null, a new one."""

    type: Literal["voice"] = "voice"
    profile: str | None = Field(max_length=20_000)


class Ping(Message):
    """Asks for a `pong` with the same id, out of turn: how long the way there and back takes."""

    type: Literal["ping"] = "ping"
    id: int = Field(default=0, ge=0, le=2**53)


class Flush(Message):
    """Asks for all that the audio sent so far makes known, and for a `flushed` after it."""

    type: Literal["flush"] = "flush"
    id: int = Field(default=0, ge=0, le=2**53)


class End(Message):
    """The client's last message: no more audio follows."""

    type: Literal["end"] = "end"


class RecognizerInfo(Message):
    """What a client should know, and show, about a recogniser."""

    name: str
    labels: list[str]
    streaming: Literal["frame", "window"]
    latency_s: float
    licence_weights: str
    licence_data: str
    intended_use: str
    limits: str
    digest: str


class RecognizerCard(RecognizerInfo):
    """All that a recogniser says about itself, and where its bundle is for running it on the client's own device."""

    bundle_url: str
    num_bytes: int
    sample_rate: int
    hop_s: float
    window_s: float | None
    window_hop_s: float | None
    temperature: float
    states: list[StateSpec]
    metrics: dict[str, Any]
    recipe: dict[str, Any]
    created: str
    golden: Golden


class ServerInfo(Message):
    """What the server is, and what it takes."""

    version: str
    max_upload_bytes: int
    max_clip_s: float
    max_stream_s: float
    max_batch: int
    saves: bool
    voice_activity_url: str


class RecognizerList(Message):
    """The answer of `GET /v1/recognizers`."""

    type: Literal["recognizers"] = "recognizers"
    default: str
    default_for_files: str
    recognizers: list[RecognizerCard]
    server: ServerInfo


class Ready(Message):
    """The server's first message: audio may be sent."""

    type: Literal["ready"] = "ready"
    version: int
    interval_s: float
    recognizer: RecognizerInfo


class Features(Message):
    """What the recogniser saw: `values[frame][feature]`, the first frame beginning at `start_s`."""

    start_s: float
    frame_s: float
    values: list[list[float]]


class Update(Message):
    """The state of the stream at `time_s`; posterior and label are null wherever no emotion is claimed."""

    type: Literal["update"] = "update"
    time_s: float
    num_samples: int
    speech: bool
    speech_probability: float
    level_db: float
    posterior: list[float] | None
    raw_posterior: list[float] | None
    label: str | None
    uncertain: bool
    segment: int | None
    segment_start_s: float | None
    features: Features | None


class Segment(Message):
    """A span of speech that has ended, and the recogniser's decision about it."""

    type: Literal["segment"] = "segment"
    index: int
    start_s: float
    end_s: float
    label: str
    posterior: list[float]
    uncertain: bool


class Pong(Message):
    """The answer to `ping`, and how much audio has been computed by now."""

    type: Literal["pong"] = "pong"
    id: int
    num_samples: int


class Flushed(Message):
    """The answer to `flush`: every update up to `num_samples` has been sent."""

    type: Literal["flushed"] = "flushed"
    id: int
    num_samples: int


class Known(Message):
    """After a segment, of a recogniser that learns voices: how far the voice is known, and the profile that says it."""

    type: Literal["known"] = "known"
    known: float
    profile: str


class Summary(Message):
    """The server's last message in answer to `end`."""

    type: Literal["summary"] = "summary"
    recognizer: str
    duration_s: float
    speech_s: float
    segments: list[Segment]


class ErrorMessage(Message):
    """Why the server stops here; the sentence says how to mend it."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str


class Trace(Message):
    """How a clip went: its updates, and the largest magnitude in every `peak_s` seconds of it."""

    peak_s: float
    peaks: list[float]
    updates: list[Update]


class Recognition(Message):
    """The answer of `POST /v1/recognize`; label and posterior are null for a clip without speech."""

    type: Literal["recognition"] = "recognition"
    recognizer: str
    duration_s: float
    label: str | None
    posterior: dict[str, float] | None
    uncertain: bool
    segments: list[Segment]
    trace: Trace | None


class Progress(Message):
    """How far a clip has come: the fraction of `step` that is done."""

    type: Literal["progress"] = "progress"
    step: Literal["upload", "preprocessing", "features", "inference"]
    fraction: float


class BatchItem(Message):
    """What became of one clip of a batch: a recognition or an error."""

    index: int
    name: str
    recognition: Recognition | None
    error: ErrorMessage | None


class Batch(Message):
    """The answer of `POST /v1/recognize/batch`, in the order of the form's files."""

    type: Literal["batch"] = "batch"
    results: list[BatchItem]


class Health(Message):
    """The answer of `GET /healthz`."""

    type: Literal["health"] = "health"
    status: Literal["ok"] = "ok"
    version: str


class Readiness(Message):
    """The answer of `GET /readyz`: whether another stream would be taken."""

    type: Literal["readiness"] = "readiness"
    status: Literal["ready", "full", "closing"]
    num_streams: int
    max_streams: int


Asked = Hello | Voice | Ping | Flush | End
Reply = Ready | Update | Segment | Known | Pong | Flushed | Summary | ErrorMessage
ClientMessage = Annotated[Asked, Field(discriminator="type")]
ServerMessage = Annotated[Reply, Field(discriminator="type")]

_CLIENT: Final[TypeAdapter[Asked]] = TypeAdapter(ClientMessage)
_SERVER: Final[TypeAdapter[Reply]] = TypeAdapter(ServerMessage)


def parse_client(text: str) -> Asked:
    """The client's message in a text frame.

    Raises:
        ProtocolError: if the text is no JSON or no message of the protocol.
    """
    with _refusing():
        return _CLIENT.validate_json(text)


def parse_server(text: str | bytes) -> Reply:
    """A message of the server, as clients read it.

    Raises:
        ProtocolError: if it is none.
    """
    with _refusing():
        return _SERVER.validate_json(text)


def parse_hello(query: dict[str, str]) -> Hello:
    """The hello that stands in an address, for clients that can send nothing but audio.

    Raises:
        ProtocolError: if it is none.
    """
    with _refusing():
        return Hello.model_validate(query)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
        raise ProtocolError("bad_message", f"not a message of the protocol ({faults[:500]})") from error
