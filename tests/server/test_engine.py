"""What many streams at once may expect: nobody waits for anybody, and nothing grows without bound."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
import uvicorn
import websockets.sync.client as ws
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed

from vocaffect.bundle import golden_signal
from vocaffect.errors import VocaffectError
from vocaffect.load import load
from vocaffect.server import engine
from vocaffect.server.capacity import FEWEST, with_capacity
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.metrics import Metrics
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.run import listen, make_server, page_address
from vocaffect.server.session import Session
from vocaffect.server.settings import Settings

Connect = Callable[..., ws.ClientConnection]
HELLO = json.dumps({"type": "hello", "version": 1, "sample_rate": 16_000, "format": "int16"})
SECOND = bytes(32_000)


def received(socket: ws.ClientConnection) -> Iterator[dict[str, Any]]:
    try:
        while True:
            yield json.loads(socket.recv(timeout=60))
    except ConnectionClosed:
        return


def test_a_load_of_streams_is_answered_in_full(address: str) -> None:
    result = load(address, 20, 1.0, golden_signal(3.0), ramp_s=0.5, warm_s=0.2)
    assert (result.admitted, result.refused, result.lost) == (20, {}, 0)
    assert len(result.waits_s) == result.num_chunks > 20
    assert 0 < result.quantile(0.5) <= result.quantile(0.99)


def test_what_a_load_cannot_reach_is_a_sentence(address: str) -> None:
    signal = golden_signal(1.0)
    for nonsense in ("nonsense", "127.0.0.1:8000", "ftp://127.0.0.1"):
        with pytest.raises(VocaffectError, match="is no server's address; give one such as"):
            load(nonsense, 1, 1.0, signal)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(VocaffectError, match=f"nobody answers at 127.0.0.1:{port} .*vocaffect serve"):
        load(f"http://127.0.0.1:{port}", 1, 1.0, signal)
    with pytest.raises(VocaffectError, match="nobody answers"):  # it speaks no TLS, and TLS was asked for
        load(address.replace("http:", "https:"), 1, 1.0, signal)


def test_streams_are_stepped_together(address: str) -> None:
    def sums() -> tuple[float, float]:
        lines = httpx.get(f"{address}/metrics").text.splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        name = 'vocaffect_batch_streams_{}{{recognizer="toy-frame"}}'
        return float(values.get(name.format("sum"), 0)), float(values.get(name.format("count"), 0))

    before = sums()
    load(address, 30, 1.0, golden_signal(3.0), ramp_s=0.2, warm_s=0.2)
    streams, batches = np.subtract(sums(), before)
    assert streams / batches > 2


def test_who_does_not_read_is_let_go_and_delays_nobody(start_server: Callable[..., str], connect: Connect) -> None:
    address = start_server(send_timeout_s=0.5, max_unread_messages=10)
    with connect(address) as other:
        other.send(HELLO)
        assert json.loads(other.recv())["type"] == "ready"
        deaf = _deaf_client(address)
        try:
            for _ in range(20):
                other.send(bytes(3_200))
                assert json.loads(other.recv(timeout=60))["type"] == "update"
            _eventually(lambda: httpx.get(f"{address}/readyz").json()["num_streams"] == 1)
        finally:
            deaf.close()
    assert 'vocaffect_refused_total{code="too_slow"} 1.0' in httpx.get(f"{address}/metrics").text


def test_a_batch_that_fails_ends_its_streams_and_the_next_one_goes_on(
    address: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(sessions: object) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch, connect(address) as unlucky:
        patch.setattr(engine, "_compute", broken)
        unlucky.send(HELLO)
        unlucky.send(SECOND)
        *_, last = received(unlucky)
        assert (last["code"], unlucky.close_code) == ("internal", 1011)
    assert "a batch of 1 streams failed" in caplog.text
    with connect(address) as next_one:
        next_one.send(HELLO)
        next_one.send(SECOND)
        next_one.send('{"type": "end"}')
        assert [message["type"] for message in received(next_one)][-1] == "summary"


def test_a_client_that_vanishes_leaves_nothing_behind(address: str, connect: Connect) -> None:
    for _ in range(5):
        with connect(address) as socket:
            socket.send(HELLO)
            socket.send(SECOND * 10)
            socket.socket.shutdown(SHUT_RDWR)
    _eventually(lambda: httpx.get(f"{address}/readyz").json()["num_streams"] == 0)


def test_a_file_is_streamed_as_fast_as_it_is_computed_while_live_streams_go_on(address: str, connect: Connect) -> None:
    done = threading.Event()

    def stream_a_file() -> None:
        with connect(address) as socket:
            socket.send(HELLO)
            for _ in range(60):
                socket.send(SECOND)
            socket.send('{"type": "end"}')
            summaries.append(list(received(socket))[-1])
        done.set()

    summaries: list[dict[str, Any]] = []
    thread = threading.Thread(target=stream_a_file)
    thread.start()
    with connect(address) as live:
        live.send(HELLO)
        live.recv()
        while not done.is_set():
            live.send(bytes(3_200))
            assert json.loads(live.recv(timeout=60))["type"] == "update"
    thread.join()
    assert summaries[0]["duration_s"] == 60


@pytest.fixture
def closable(catalogue: Catalogue) -> Iterator[tuple[str, uvicorn.Server, threading.Thread]]:
    settings = Settings(port=0, max_streams=100, database="none")
    with listen(settings) as listener:
        server = make_server(settings, catalogue)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        _eventually(lambda: server.started)
        yield page_address(settings, listener), server, thread
        server.should_exit = True
        thread.join(20)


def test_a_server_that_stops_computes_what_has_come_and_says_so(
    closable: tuple[str, uvicorn.Server, threading.Thread], connect: Connect
) -> None:
    address, server, thread = closable
    with connect(address) as socket:
        socket.send(HELLO)
        socket.send(SECOND * 2)
        assert json.loads(socket.recv())["type"] == "ready"
        server.should_exit = True
        *updates, last = list(received(socket))
        assert (last["type"], last["code"]) == ("error", "closing")
        assert [update["num_samples"] for update in updates] == [1_600 * (n + 1) for n in range(20)]
        assert socket.close_code == 1012
    thread.join(20)
    assert not thread.is_alive()


def test_two_recognisers_are_served_at_once(two: Catalogue, connect: Connect, speech: NDArray[np.float32]) -> None:
    settings = Settings(port=0, max_streams=100, database="none")
    with listen(settings) as listener:
        server = make_server(settings, two)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            _eventually(lambda: server.started)
            address = page_address(settings, listener)
            results = [
                load(address, 5, 0.5, golden_signal(2.0), name, ramp_s=0.1) for name in ("toy-frame", "toy-window")
            ]
            assert [result.admitted for result in results] == [5, 5]
            assert all(len(result.waits_s) == result.num_chunks > 0 for result in results)
            listed = httpx.get(f"{address}/v1/recognizers").json()
            assert (listed["default"], listed["default_for_files"]) == ("toy-frame", "toy-window")
            with connect(address) as socket:  # nobody names one: the first hears a stream, the last a file
                socket.send(HELLO)
                assert json.loads(socket.recv())["recognizer"]["name"] == "toy-frame"
            file = io.BytesIO()
            soundfile.write(file, speech, 16_000, format="WAV")
            for path, used in (("", "toy-window"), ("?recognizer=toy-frame", "toy-frame")):
                answer = httpx.post(f"{address}/v1/recognize{path}", content=file.getvalue(), timeout=60).json()
                assert answer["recognizer"] == used
        finally:
            server.should_exit = True
            thread.join(20)


def test_how_many_streams_are_taken_is_measured(catalogue: Catalogue) -> None:
    measured = with_capacity(Settings(), catalogue)
    assert measured.max_streams is not None
    assert measured.max_streams >= FEWEST
    assert measured.streams_each == {"toy-frame": measured.max_streams}
    given = with_capacity(Settings(max_streams=7), catalogue)
    assert (given.max_streams, given.streams_each) == (7, {})


@pytest.fixture(scope="module")
def two(toys: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("two")
    return Catalogue.load([str(toys(kind).write(folder / f"{kind}.onnx")) for kind in ("frame", "window")])


def stream_with(place: ExitStack, server: engine.Engine, catalogue: Catalogue, name: str) -> None:
    """Another stream of this recogniser, for as long as `place` lasts."""
    session = Session(catalogue, 60)
    live = place.enter_context(server.joined(session, "here"))
    session.text(json.dumps({**json.loads(HELLO), "recognizer": name}))
    server.admit(live)


@given(wanted=st.lists(st.booleans(), max_size=12), frames=st.integers(1, 6), windows=st.integers(1, 6))
def test_streams_are_taken_until_their_shares_come_to_the_whole(
    two: Catalogue, wanted: list[bool], frames: int, windows: int
) -> None:
    each = {"toy-frame": frames, "toy-window": windows}
    server = engine.Engine(list(two), Settings(max_streams=max(each.values()), streams_each=each), Metrics())
    taken = Fraction(0)
    with ExitStack() as stack:
        for name in ("toy-window" if window else "toy-frame" for window in wanted):
            if taken + Fraction(1, each[name]) > 1:
                with pytest.raises(ProtocolError, match="streams, no more"), ExitStack() as place:
                    stream_with(place, server, two, name)
                continue
            stream_with(stack, server, two, name)
            taken += Fraction(1, each[name])
            assert (server.refusal() is None) == (taken + Fraction(1, max(each.values())) <= 1)
    assert server.num_streams == 0
    assert server.refusal("toy-window") is None


def test_a_recogniser_that_is_late_takes_no_more_and_the_others_do(two: Catalogue) -> None:
    server = engine.Engine(list(two), Settings(max_streams=100, max_lag_s=0.1), Metrics())
    late = server._batchers["toy-window"]
    late.lag_s = 0.2
    assert server.refusal("toy-window") is None  # nobody streams with it: that was long ago
    with ExitStack() as place:
        stream_with(place, server, two, "toy-window")
        refused = server.refusal("toy-window")
        assert refused is not None
        assert refused.code == "busy"
        assert server.refusal("toy-frame") is server.refusal() is None


def test_requests_at_once_beyond_what_may_wait_are_refused_not_queued(
    start_server: Callable[..., str], speech: NDArray[np.float32]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    file = io.BytesIO()
    soundfile.write(file, np.tile(speech, 8), 16_000, format="WAV")
    address = start_server(max_waiting_clips=0)
    with ThreadPoolExecutor(6) as pool:
        post = lambda _: httpx.post(f"{address}/v1/recognize", content=file.getvalue(), timeout=60)  # noqa: E731
        answers = list(pool.map(post, range(6)))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 503}
    assert 503 in statuses
    assert {answer.json()["code"] for answer in answers if answer.status_code == 503} == {"busy"}


def _deaf_client(address: str) -> socket.socket:
    """A client that says hello, sends a lot, and never reads."""
    from websockets.client import ClientProtocol
    from websockets.uri import parse_uri

    url = urlsplit(address)
    connection = ClientProtocol(parse_uri(address.replace("http", "ws") + "/v1/stream"))
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf.connect((url.hostname, url.port))
    connection.send_request(connection.connect())
    deaf.sendall(b"".join(connection.data_to_send()))
    connection.receive_data(deaf.recv(4_096))
    connection.send_text(HELLO.encode())
    for _ in range(600):
        connection.send_binary(SECOND)
    deaf.settimeout(5)
    try:
        for data in connection.data_to_send():
            deaf.sendall(data)
    except TimeoutError:
        pass  # the server has stopped reading, as it should
    return deaf


def _eventually(holds: Callable[[], bool]) -> None:
    for _ in range(6_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came about")
