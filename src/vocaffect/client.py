"""A client of a running server: recognise files over there, or stream audio and hear of it as it is spoken.

    from vocaffect.client import Client

    client = Client("http://127.0.0.1:8000")
    print(client.recognize("clip.wav").label)
    for message in client.stream(chunks):  # arrays of float32 at 16 kHz, as a microphone gives them
        if message.type == "segment":
            print(message.start_s, message.end_s, message.label)

`AsyncClient` has the same methods for asyncio. What comes back are the messages of docs/protocol.md.
"""

import asyncio
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from vocaffect.errors import VocaffectError
from vocaffect.server.protocol import (
    VERSION,
    End,
    ErrorMessage,
    Flushed,
    Hello,
    Known,
    Message,
    Pong,
    Ready,
    Recognition,
    RecognizerList,
    Segment,
    Summary,
    Update,
    parse_server,
)
from vocaffect.units import SAMPLE_RATE

Chunk = NDArray[np.float32]
Heard = Ready | Update | Segment | Known | Pong | Flushed | Summary
M = TypeVar("M", bound=Message)


class ServerError(VocaffectError):
    """The server refused, or could not be reached; `code` is the protocol's, or "unreachable"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A server by its address, and the token it asks for, if it does."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout_s: float = 60.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise VocaffectError(f"'{url}' is no address of a server; write it as http://127.0.0.1:8000")
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s

    def recognizers(self) -> RecognizerList:
        """What is on offer there.

        Raises:
            ServerError: if the server refuses or cannot be reached.
        """
        return self._ask("/v1/recognizers", RecognizerList)

    def recognize(self, source: Path | str | bytes, recognizer: str | None = None, trace: bool = False) -> Recognition:
        """Recognise an audio file or its bytes.

        Raises:
            ServerError: as `recognizers`, or if the audio cannot be used.
        """
        data = source if isinstance(source, bytes) else _read(Path(source))
        query = {"trace": str(trace).lower(), **({"recognizer": recognizer} if recognizer else {})}
        return self._ask(f"/v1/recognize?{urlencode(query)}", Recognition, data)

    def stream(
        self,
        chunks: Iterable[Chunk],
        sample_rate: int = SAMPLE_RATE,
        recognizer: str | None = None,
        interval_s: float = 0.1,
        features: bool = False,
    ) -> Iterator[Heard]:
        """Send float32 chunks (num_samples,) as they come, and hear `ready`, updates, segments and the summary.

        Raises:
            ServerError: as `recognizers`, or whatever the server ends the stream with.
        """
        with _errors(), connect(self._stream_url, **self._options) as socket:
            socket.send(_hello(sample_rate, recognizer, interval_s, features))
            sending = threading.Thread(target=_send_all, args=(socket, chunks), daemon=True)
            sending.start()
            for text in socket:
                yield _heard(text)

    @property
    def _stream_url(self) -> str:
        return f"ws{self._url.removeprefix('http')}/v1/stream"

    @property
    def _options(self) -> dict[str, Any]:
        return {"additional_headers": self._headers, "compression": None, "open_timeout": self._timeout_s}

    def _ask(self, path: str, message: type[M], data: bytes | None = None) -> M:
        headers = {**self._headers, **({"Content-Type": "application/octet-stream"} if data is not None else {})}
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:
                return message.model_validate_json(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.read(), error.code) from None
        except (OSError, ValueError) as error:
            raise ServerError("unreachable", f"no vocaffect server answers at {self._url} ({error})") from error


class AsyncClient:
    """The same for asyncio."""

    def __init__(self, url: str = "http://127.0.0.1:8000", token: str | None = None, timeout_s: float = 60.0) -> None:
        self._client = Client(url, token, timeout_s)

    async def recognizers(self) -> RecognizerList:
        """As `Client.recognizers`."""
        return await asyncio.to_thread(self._client.recognizers)

    async def recognize(
        self, source: Path | str | bytes, recognizer: str | None = None, trace: bool = False
    ) -> Recognition:
        """As `Client.recognize`."""
        return await asyncio.to_thread(self._client.recognize, source, recognizer, trace)

    async def stream(
        self,
        chunks: AsyncIterable[Chunk],
        sample_rate: int = SAMPLE_RATE,
        recognizer: str | None = None,
        interval_s: float = 0.1,
        features: bool = False,
    ) -> AsyncIterator[Heard]:
        """As `Client.stream`, of chunks that come asynchronously."""
        with _errors():
            async with connect_async(self._client._stream_url, **self._client._options) as socket:
                await socket.send(_hello(sample_rate, recognizer, interval_s, features))

                async def send_all() -> None:
                    with suppress(ConnectionClosed):
                        async for chunk in chunks:
                            await socket.send(_coded(chunk))
                        await socket.send(End().model_dump_json())

                sending = asyncio.create_task(send_all())
                try:
                    async for text in socket:
                        yield _heard(text)
                finally:
                    sending.cancel()


@contextmanager
def _errors() -> Iterator[None]:
    """Whatever goes wrong with a socket becomes a ServerError."""
    try:
        yield
    except InvalidStatus as error:
        raise _refused(bytes(error.response.body or b""), error.response.status_code) from None
    except (WebSocketException, OSError) as error:
        raise ServerError("unreachable", f"the connection to the server failed ({error})") from error


def _hello(sample_rate: int, recognizer: str | None, interval_s: float, features: bool) -> str:
    try:
        hello = Hello(
            version=VERSION,
            sample_rate=sample_rate,
            format="float32",
            recognizer=recognizer,
            interval_s=interval_s,
            features=features,
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise VocaffectError(f"no server takes such a stream ({faults})") from error
    return hello.model_dump_json()


def _send_all(socket: Any, chunks: Iterable[Chunk]) -> None:
    with suppress(ConnectionClosed):
        for chunk in chunks:
            socket.send(_coded(chunk))
        socket.send(End().model_dump_json())


def _coded(chunk: Chunk) -> bytes:
    return np.ascontiguousarray(chunk, "<f4").tobytes()


def _heard(text: str | bytes) -> Heard:
    message = parse_server(text)
    if isinstance(message, ErrorMessage):
        raise ServerError(message.code, message.message)
    return message


def _refused(body: bytes, status: int) -> ServerError:
    try:
        error = ErrorMessage.model_validate_json(body)
    except ValidationError:
        return ServerError("unreachable", f"what answers there is no vocaffect server (HTTP status {status})")
    return ServerError(error.code, error.message)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VocaffectError(f"cannot read {path} ({error.strerror or error}); check the path") from error
