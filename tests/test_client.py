"""The Python client against a real server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocaffect.bundle import golden_signal
from vocaffect.client import AsyncClient, Client, Heard, ServerError
from vocaffect.errors import VocaffectError
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.run import listen, make_server, page_address
from vocaffect.server.settings import Settings

TOKEN = "sixteen characters or more"


@pytest.fixture(scope="module")
def url(toy_bundle: Path) -> Iterator[str]:
    settings = Settings(port=0, token=TOKEN, database="none", max_streams=50)
    with listen(settings) as listener:
        server = make_server(settings, Catalogue.load([str(toy_bundle)]))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield page_address(settings, listener)
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def client(url: str) -> Client:
    return Client(url, TOKEN)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    soundfile.write(path, golden_signal(3.0), 16_000, subtype="FLOAT")
    return path


def chunks() -> list[np.ndarray]:
    return np.array_split(golden_signal(3.0), 17)


def test_a_file_and_the_same_file_streamed_say_the_same(client: Client, clip: Path) -> None:
    recognition = client.recognize(clip, "toy-frame", trace=True)
    ready, *messages, summary = client.stream(chunks(), recognizer="toy-frame")
    assert ready.type == "ready"
    assert summary.type == "summary"
    assert summary.segments == recognition.segments
    assert recognition.trace is not None
    assert [message for message in messages if message.type == "update"] == recognition.trace.updates
    assert client.recognize(clip.read_bytes()).label == recognition.label


def test_asyncio_says_the_same(url: str, client: Client, clip: Path) -> None:
    async def live() -> AsyncIterator[np.ndarray]:
        for chunk in chunks():
            yield chunk

    async def talk() -> list[Heard]:
        other = AsyncClient(url, TOKEN)
        assert (await other.recognize(clip)) == client.recognize(clip)
        assert (await other.recognizers()) == client.recognizers()
        return [message async for message in other.stream(live(), interval_s=0.2, features=True)]

    messages = asyncio.run(talk())
    assert messages[-1] == list(client.stream(chunks()))[-1]
    assert any(message.type == "update" and message.features for message in messages)


def test_errors_carry_the_servers_code_and_sentence(client: Client, url: str, tmp_path: Path) -> None:
    for call, code in (
        (lambda: client.recognize(b"no audio"), "bad_audio"),
        (lambda: client.recognize(b"", "nobody"), "unknown_recognizer"),
        (lambda: Client(url).recognizers(), "unauthorized"),
        (lambda: list(Client(url).stream([])), "unauthorized"),
        (lambda: list(client.stream([], recognizer="nobody")), "unknown_recognizer"),
        (lambda: list(client.stream([np.full(9, np.nan, np.float32)])), "bad_audio"),
        (lambda: Client("http://127.0.0.1:1").recognizers(), "unreachable"),
        (lambda: list(Client("http://127.0.0.1:1").stream([])), "unreachable"),
    ):
        with pytest.raises(ServerError) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(VocaffectError, match="cannot read"):
        client.recognize(tmp_path / "none.wav")
    with pytest.raises(VocaffectError, match="sample_rate"):
        list(client.stream([], sample_rate=1))
    with pytest.raises(VocaffectError, match="no address"):
        Client("127.0.0.1:8000")
