"""What uvicorn leaves open: how long a peer may take, and how much it may send that is not yet a message.

Its connections have no deadline before the first request and after a refused one, no bound on a head or on the
number of frames in a WebSocket message, and a transport whose peer does not read is never given up.
"""

import asyncio
import logging
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD_BYTES = 32 * 2**10
MAX_FRAMES = 1024
"""Frames in one WebSocket message."""
FLUSH_S = 5.0
"""How long a peer may take to read the last bytes meant for it."""


def quieten() -> None:
    """Keep uvicorn from writing a line for whatever a stranger does wrong: a flood would fill the disk."""
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith(_HARMLESS))


_HARMLESS = ("ASGI callable returned without completing handshake", "Invalid UTF-8 sequence received from client")


class Http(HttpToolsProtocol):
    """One HTTP connection: its head comes in `head_s` and is small, and an exchange takes `exchange_s` at most."""

    def __init__(self, *arguments: Any, head_s: float, exchange_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_s, self._exchange_s = head_s, exchange_s
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock of the first head runs from here."""
        super().connection_made(transport)
        self._give(self._head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and b"\r\n\r\n" not in data:
                self.send_400_response("The head of the request is too large.")
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """From here the clock of the exchange runs."""
        self._in_head, self._head_bytes = False, 0
        self._give(self._exchange_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What follows is another head."""
        super().on_message_complete()
        self._in_head = True

    def on_response_complete(self) -> None:
        """Whoever goes on sending what nobody reads is cut off; others may send another request."""
        super().on_response_complete()
        self._give(FLUSH_S if self.cycle.more_body else self._head_s)

    def handle_websocket_upgrade(self) -> None:
        """From here on the WebSocket keeps the clock."""
        self._stop()
        super().handle_websocket_upgrade()

    def _give(self, seconds: float) -> None:
        self._stop()
        self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class WebSocket(WebSocketsSansIOProtocol):
    """One WebSocket: few frames a message, no pongs for those who do not read, and an end that comes."""

    def handle_cont(self, event: Any) -> None:
        """Refuse a message in too many frames: empty ones count nothing towards its size."""
        if self.close_sent:
            return
        if len(self.frames) >= MAX_FRAMES:
            self.conn.fail(1009, "a message has too many frames")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, unless the answers pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.transport.abort()

    def on_task_complete(self, task: "asyncio.Task[None]") -> None:
        """Give up a peer that does not read the last of it."""
        super().on_task_complete(task)
        self.loop.call_later(FLUSH_S, self.transport.abort)


def http_protocol(head_s: float, exchange_s: float) -> Any:
    """The class of connections with these limits, as uvicorn's configuration takes it."""
    return partial(Http, head_s=head_s, exchange_s=exchange_s)
