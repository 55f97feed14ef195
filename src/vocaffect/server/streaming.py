"""`WS /v1/stream`: moves messages between a socket and a session, and decides nothing else."""

import asyncio
import logging

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from vocaffect.errors import VocaffectError
from vocaffect.server.engine import Engine, Live, told
from vocaffect.server.protocol import ErrorMessage, Ready, Reply, parse_hello
from vocaffect.server.refusals import STATUS, ProtocolError
from vocaffect.server.resources import Resources, resources_of
from vocaffect.server.session import Phase, Session
from vocaffect.server.settings import Settings

FAREWELL_S = 1.0
"""How long a client that is refused may take to hear why."""

router = APIRouter()
_log = logging.getLogger(__name__)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Hold one conversation; whatever ends it early is told as a typed error."""
    await socket.accept()
    resources = resources_of(socket)
    try:
        await _converse(socket, resources)
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client has gone
    except Exception as error:
        if not isinstance(error, ProtocolError | VocaffectError):
            _log.error("a stream failed", exc_info=error)
        await _refuse(socket, told(error), resources)


async def _converse(socket: WebSocket, resources: Resources) -> None:
    """Send what there is to send, while another task receives."""
    settings, engine = resources.settings, resources.engine
    session = Session(resources.catalogue, settings.max_stream_s)
    address = socket.client.host if socket.client else "unknown"
    with engine.joined(session, address) as live:
        if socket.query_params:
            _say(live, session.open(parse_hello(dict(socket.query_params))), engine)
        receiving = asyncio.create_task(_receive_all(socket, live, engine, settings))
        try:
            while (text := await live.next()) is not None:
                await _send(socket, text, settings)
                engine.submit(live)
        finally:
            receiving.cancel()


def _say(live: Live, reply: Reply, engine: Engine) -> None:
    """Answer at once; with `ready` the stream becomes one of those that are computed, if there is room."""
    if isinstance(reply, Ready):
        engine.admit(live)
    live.say([reply.model_dump_json()])


async def _send(socket: WebSocket, text: str, settings: Settings) -> None:
    try:
        async with asyncio.timeout(settings.send_timeout_s):
            await socket.send_text(text)
    except TimeoutError:
        raise ProtocolError(
            "too_slow", f"the updates have not been read for {settings.send_timeout_s:g} s; use a faster connection"
        ) from None


async def _receive_all(socket: WebSocket, live: Live, engine: Engine, settings: Settings) -> None:
    """Take messages in until the conversation is over; what goes wrong is the conversation's failure."""
    try:
        while live.session.phase is not Phase.OVER:
            await live.room()
            data = await _receive(socket, live.session.phase, settings)
            if isinstance(data, bytes):
                live.session.binary(data)
            elif (reply := live.session.text(data)) is not None:
                _say(live, reply, engine)
            if live.session.has_work:
                engine.submit(live)
    except Exception as error:
        live.say([], error)


async def _receive(socket: WebSocket, phase: Phase, settings: Settings) -> str | bytes:
    limit_s = {Phase.WAITING: settings.hello_timeout_s, Phase.STREAMING: settings.idle_timeout_s}.get(phase)
    try:
        async with asyncio.timeout(limit_s):
            message = await socket.receive()
    except TimeoutError:
        raise ProtocolError("timeout", f"nothing came for {limit_s:g} s; open a new stream") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text: str | None = message.get("text")
    binary: bytes | None = message.get("bytes")
    return text if text is not None else binary or b""


async def _refuse(socket: WebSocket, error: ProtocolError, resources: Resources) -> None:
    resources.metrics.refused(error.code)
    message = ErrorMessage(code=error.code, message=error.message)
    try:
        async with asyncio.timeout(FAREWELL_S):
            await socket.send_text(message.model_dump_json())
            await socket.close(STATUS[error.code][1], error.message.encode()[:120].decode(errors="ignore"))
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        pass  # the client has gone already, or does not listen
