"""Loading a running server: many live streams at once, and how long each chunk waits for its update.

Chunks leave on a schedule whatever the answers do, and a wait counts from the moment the chunk was due, so a server (or
a client) that falls behind cannot look faster by being asked less.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import WebSocketURI, parse_uri

from vocaffect.errors import VocaffectError
from vocaffect.pcm import to_pcm
from vocaffect.units import SAMPLE_RATE, exact_div

CHUNK = exact_div(SAMPLE_RATE, 10)
"""Samples in a chunk: 100 ms."""

_POSITION = re.compile(rb'"type":"update".*?"num_samples":(\d+)')


@dataclass
class Load:
    """What a load has shown; waits are in seconds, one for each chunk that was answered."""

    asked: int
    admitted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    refused_after_s: list[float] = field(default_factory=list)
    lost: int = 0
    num_chunks: int = 0
    waits_s: list[float] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        """The wait that a fraction `q` of the chunks did not exceed."""
        return float(np.quantile(self.waits_s, q)) if self.waits_s else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The numbers in plain types, waits in milliseconds; None where there are none."""
        return {
            "asked": self.asked,
            "admitted": self.admitted,
            "refused": self.refused,
            "refused_after_max_ms": round(1000 * max(self.refused_after_s, default=0.0), 1),
            "lost": self.lost,
            "num_chunks": self.num_chunks,
            "answered": len(self.waits_s),
            "p50_ms": round(1000 * self.quantile(0.5), 1) if self.waits_s else None,
            "p99_ms": round(1000 * self.quantile(0.99), 1) if self.waits_s else None,
        }


def load(
    url: str,
    num_streams: int,
    seconds: float,
    samples: NDArray[np.float32],
    recognizer: str | None = None,
    token: str | None = None,
    ramp_s: float = 2.0,
    warm_s: float = 1.0,
) -> Load:
    """Play `samples` over and over into `num_streams` live streams for some seconds, each from another place.

    Streams begin spread over `ramp_s`; waits count from `warm_s` after that.

    Raises:
        VocaffectError: if `url` is no address as ``http://127.0.0.1:8000``, or nobody answers there.
    """
    return asyncio.run(_load(url, num_streams, seconds, to_pcm(samples), recognizer, token, ramp_s, warm_s))


async def _load(
    url: str,
    num_streams: int,
    seconds: float,
    samples: NDArray[np.int16],
    recognizer: str | None,
    token: str | None,
    ramp_s: float,
    warm_s: float,
) -> Load:
    loop = asyncio.get_running_loop()
    result = Load(num_streams)
    begin = loop.time() + 0.1
    counted_from = begin + ramp_s + warm_s
    chunks = _chunks(samples)
    hello = {"type": "hello", "version": 1, "sample_rate": SAMPLE_RATE, "format": "int16", "recognizer": recognizer}
    streams = [
        _Stream(
            url,
            json.dumps(hello),
            token,
            chunks[index % len(chunks) :] + chunks[: index % len(chunks)],
            begin + ramp_s * index / num_streams,
            counted_from,
            counted_from + seconds,
            result,
        )
        for index in range(num_streams)
    ]
    await asyncio.gather(*(stream.run() for stream in streams))
    return result


def _stream_uri(url: str) -> WebSocketURI:
    try:
        return parse_uri(f"ws{url.removeprefix('http').rstrip('/')}/v1/stream")
    except InvalidURI:
        raise VocaffectError(f"{url} is no server's address; give one such as http://127.0.0.1:8000") from None


def _chunks(samples: NDArray[np.int16]) -> list[bytes]:
    whole = samples[: len(samples) // CHUNK * CHUNK].astype("<i2")
    if not len(whole):
        raise VocaffectError("the audio is shorter than 100 ms; give a longer clip")
    return [part.tobytes() for part in np.split(whole, len(whole) // CHUNK)]


class _Stream(asyncio.Protocol):
    """One live stream on a schedule, on the bare protocol so that a thousand of them fit beside the server."""

    def __init__(
        self,
        url: str,
        hello: str,
        token: str | None,
        chunks: Sequence[bytes],
        begin: float,
        counted_from: float,
        end: float,
        result: Load,
    ) -> None:
        self._uri = _stream_uri(url)
        self._connection = ClientProtocol(self._uri, max_size=None)
        self._hello, self._token, self._chunks = hello, token, chunks
        self._begin, self._counted_from, self._end = begin, counted_from, end
        self._result = result
        self._due: list[float] = []
        self._num_answered = 0
        self._connected = 0.0
        self._ready = self._over = False

    async def run(self) -> None:
        """The whole life of the stream."""
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        await asyncio.sleep(self._begin - self._loop.time())
        self._connected = self._loop.time()
        try:
            secure = True if self._uri.secure else None
            await self._loop.create_connection(lambda: self, self._uri.host, self._uri.port, ssl=secure)
        except OSError as error:
            raise VocaffectError(
                f"nobody answers at {self._uri.host}:{self._uri.port} ({error.strerror or error}); "
                "start a server with `vocaffect serve`, or give the address that it printed"
            ) from error
        await self._closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        request = self._connection.connect()
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        self._connection.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._connection.receive_data(data)
        for event in self._connection.events_received():
            if not isinstance(event, Frame):
                if getattr(event, "status_code", 0) == 101:
                    if self._connection.state is State.OPEN:  # a refusal may have come with the same packet
                        self._connection.send_text(self._hello.encode())
                else:
                    self._refused(f"HTTP {getattr(event, 'status_code', '?')}")
            elif event.opcode is Opcode.TEXT:
                self._heard(bytes(event.data))
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ready and not self._over:
            self._result.lost += 1
        if not self._closed.done():
            self._closed.set_result(None)

    def _heard(self, text: bytes) -> None:
        if found := _POSITION.match(text, 1):
            index = int(found[1]) // CHUNK - 1
            if index >= self._num_answered and self._due[index] >= self._counted_from:
                self._result.waits_s.append(self._loop.time() - self._due[index])
            self._num_answered = index + 1
            return
        message = json.loads(text)
        match message["type"]:
            case "ready":
                self._ready = True
                self._result.admitted += 1
                self._tick(self._loop.time())
            case "error":
                self._refused(message["code"])
            case "summary":
                self._over = True

    def _refused(self, why: str) -> None:
        if self._ready:
            return
        self._result.refused[why] = self._result.refused.get(why, 0) + 1
        self._result.refused_after_s.append(self._loop.time() - self._connected)

    def _tick(self, due: float) -> None:
        """Send the chunk that is due at this moment, and set the clock for the next."""
        if self._transport.is_closing() or self._connection.state is not State.OPEN:
            return
        if due >= self._end:
            self._connection.send_text(b'{"type":"end"}')
            self._flush()
            return
        self._connection.send_binary(self._chunks[len(self._due) % len(self._chunks)])
        self._flush()
        self._due.append(due)
        self._result.num_chunks += due >= self._counted_from
        self._loop.call_at(due + 0.1, self._tick, due + 0.1)

    def _flush(self) -> None:
        for data in self._connection.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
