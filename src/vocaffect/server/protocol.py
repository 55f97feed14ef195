"""The messages between server and client, version 1: docs/protocol.md explains them, web/ has their twin."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

VERSION: Final = 1

ErrorCode = Literal[
    "bad_message",
    "unsupported_version",
    "unknown_recognizer",
    "bad_audio",
    "too_large",
    "too_long",
    "timeout",
    "busy",
    "forbidden",
    "not_found",
    "internal",
]

STATUS: Final[dict[ErrorCode, tuple[int, int]]] = {
    "bad_message": (400, 1008),
    "unsupported_version": (400, 1008),
    "unknown_recognizer": (404, 1008),
    "bad_audio": (422, 1008),
    "too_large": (413, 1009),
    "too_long": (413, 1009),
    "timeout": (408, 1008),
    "busy": (503, 1013),
    "forbidden": (403, 1008),
    "not_found": (404, 1008),
    "internal": (500, 1011),
}
"""For each error code the HTTP status and the WebSocket close code (RFC 6455, section 7.4.1)."""


class ProtocolError(Exception):
    """A request that is refused, with the code and the sentence the client gets."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


class Message(BaseModel):
    """A JSON object with exactly the fields of its class."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Hello(Message):
    """The client's first message: how its binary messages are to be read."""

    type: Literal["hello"] = "hello"
    version: int
    sample_rate: int = Field(ge=8_000, le=192_000)
    format: Literal["int16", "float32"]
    recognizer: str | None = None


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


class RecognizerList(Message):
    """The answer of `GET /v1/recognizers`."""

    type: Literal["recognizers"] = "recognizers"
    default: str
    recognizers: list[RecognizerInfo]


class Ready(Message):
    """The server's first message: audio may be sent."""

    type: Literal["ready"] = "ready"
    version: int
    update_s: float
    recognizer: RecognizerInfo


class Update(Message):
    """The state of the stream at `time_s`; posterior and label are null wherever no emotion is claimed."""

    type: Literal["update"] = "update"
    time_s: float
    speech: bool
    speech_probability: float
    level_db: float
    posterior: list[float] | None
    label: str | None
    segment: int | None


class Segment(Message):
    """A span of speech that has ended, and the recogniser's decision about it."""

    type: Literal["segment"] = "segment"
    index: int
    start_s: float
    end_s: float
    label: str
    posterior: list[float]


class Summary(Message):
    """The server's last message in answer to `end`."""

    type: Literal["summary"] = "summary"
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
    segments: list[Segment]
    trace: Trace | None


class Health(Message):
    """The answer of `GET /healthz`."""

    type: Literal["health"] = "health"
    status: Literal["ok"] = "ok"
    version: str


ClientMessage = Annotated[Hello | End, Field(discriminator="type")]
ServerMessage = Annotated[Ready | Update | Segment | Summary | ErrorMessage, Field(discriminator="type")]

_CLIENT: Final[TypeAdapter[Hello | End]] = TypeAdapter(ClientMessage)


def parse_client(text: str) -> Hello | End:
    """The client's message in a text frame.

    Raises:
        ProtocolError: if the text is no JSON or no message of the protocol.
    """
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
        raise ProtocolError("bad_message", f"not a message of the protocol ({faults[:500]})") from error
