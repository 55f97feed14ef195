"""`WS /v1/stream`: moves bytes between a socket and a session, and decides nothing else."""

import asyncio
import logging

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from vocaffect.errors import VocaffectError
from vocaffect.server.protocol import STATUS, ErrorMessage, ProtocolError
from vocaffect.server.resources import Resources, resources_of
from vocaffect.server.session import Phase, Session, answer

router = APIRouter()
_log = logging.getLogger(__name__)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """Hold one conversation; whatever ends it early is told as a typed error."""
    await socket.accept()
    try:
        await _converse(socket, resources_of(socket))
        await socket.close()
    except WebSocketDisconnect:
        pass
    except ProtocolError as error:
        await _refuse(socket, ErrorMessage(code=error.code, message=error.message))
    except VocaffectError as error:
        await _refuse(socket, ErrorMessage(code="bad_audio", message=str(error)))
    except Exception:
        _log.exception("a stream failed")
        await _refuse(socket, ErrorMessage(code="internal", message="the server failed; its log says why"))


async def _converse(socket: WebSocket, resources: Resources) -> None:
    session = Session(resources.catalogue, resources.settings.max_stream_s)
    loop = asyncio.get_running_loop()
    with resources.stream_slot():
        while session.phase is not Phase.OVER:
            data = await _receive(socket, session.phase, resources)
            if isinstance(data, bytes):
                session.binary(data)
            elif (reply := session.text(data)) is not None:
                await socket.send_text(reply.model_dump_json())
            while session.has_work:
                (replies,) = await loop.run_in_executor(resources.stream_threads, answer, [session])
                if isinstance(replies, Exception):
                    raise replies
                for reply in replies:
                    await socket.send_text(reply.model_dump_json())


async def _receive(socket: WebSocket, phase: Phase, resources: Resources) -> str | bytes:
    settings = resources.settings
    limit_s = settings.hello_timeout_s if phase is Phase.WAITING else settings.idle_timeout_s
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


async def _refuse(socket: WebSocket, error: ErrorMessage) -> None:
    try:
        await socket.send_text(error.model_dump_json())
        await socket.close(STATUS[error.code][1], error.message.encode()[:120].decode(errors="ignore"))
    except (WebSocketDisconnect, RuntimeError):
        pass  # the client has gone already
