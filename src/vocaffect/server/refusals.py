"""Why a server refuses: the codes of errors, and what each is over HTTP and over WebSocket."""

from typing import Final, Literal

ErrorCode = Literal[
    "bad_message",
    "unsupported_version",
    "unknown_recognizer",
    "bad_audio",
    "too_large",
    "too_long",
    "timeout",
    "too_slow",
    "too_many",
    "busy",
    "closing",
    "unauthorized",
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
    "too_slow": (408, 1008),
    "too_many": (429, 1013),
    "busy": (503, 1013),
    "closing": (503, 1012),
    "unauthorized": (401, 1008),
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
