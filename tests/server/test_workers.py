"""More than one process: on one port, behind a load balancer, and on Ray."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import websockets.sync.client as ws
from numpy.typing import NDArray

from vocaffect.bundle import golden_signal
from vocaffect.load import load
from vocaffect.server.settings import Settings

COMMAND = [sys.executable, "-c", "from vocaffect.cli import main; main()", "serve"]
HELLO = json.dumps({"type": "hello", "version": 1, "sample_rate": 16_000, "format": "int16"})


def say(address: str, speech: NDArray[np.float32]) -> list[dict[str, Any]]:
    """All that is answered to a stream."""
    with ws.connect(address.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(HELLO)
        socket.send(np.round(speech * 32_767).astype("<i2").tobytes())
        socket.send('{"type":"end"}')
        return [json.loads(text) for text in socket]


@pytest.fixture
def crew(toy_bundle: Path) -> Iterator[tuple[str, psutil.Process]]:
    command = [*COMMAND, "--port", "0", "--workers", "2", "--recognizer", str(toy_bundle)]
    environment = {**os.environ, "VOCAFFECT_DATABASE": "none", "VOCAFFECT_MAX_STREAMS": "100"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" at ")[1].split()[0]
        _until(lambda: _answers(address))
        yield address, psutil.Process(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not _answers(address)


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system cannot share a port")
def test_two_processes_share_a_port_and_one_that_dies_comes_back(
    crew: tuple[str, psutil.Process], speech: NDArray[np.float32]
) -> None:
    address, parent = crew

    def servers() -> set[int]:
        alive = [child for child in parent.children() if child.status() != psutil.STATUS_ZOMBIE]
        return {child.pid for child in alive if "spawn_main" in " ".join(child.cmdline())}

    _until(lambda: len(servers()) == 2 and len(_listening(address)) == 2)
    first = say(address, speech)
    assert first[-1]["type"] == "summary"
    with ThreadPoolExecutor(6) as pool:
        assert all(answer == first for answer in pool.map(lambda _: say(address, speech), range(12)))
    assert 'vocaffect_batch_seconds_total{recognizer="toy-frame"}' in httpx.get(f"{address}/metrics").text
    victim = servers().pop()
    os.kill(victim, signal.SIGKILL)
    _until(lambda: victim not in servers() and len(servers()) == 2 and len(_listening(address)) == 2)
    assert say(address, speech) == first


def test_streams_may_be_spread_over_servers_by_a_load_balancer(
    start_server: Callable[..., str], speech: NDArray[np.float32]
) -> None:
    servers = [start_server(), start_server()]
    with _Balancer(servers) as address:
        first = say(servers[0], speech)
        with ThreadPoolExecutor(4) as pool:
            assert all(answer == first for answer in pool.map(lambda _: say(address, speech), range(8)))
    counts = [httpx.get(f"{server}/metrics").text.count("vocaffect_batch_streams_count{") for server in servers]
    assert counts == [1, 1]  # both have computed


@pytest.mark.timeout(240)
def test_ray_serves_the_same(toy_bundle: Path, speech: NDArray[np.float32]) -> None:
    pytest.importorskip("ray.serve")
    from vocaffect.replicas import run_replicas

    told: list[str] = []
    heard: list[Any] = []

    def talk() -> bool:
        address = told[0].split(" at ")[1].split()[0]
        heard.append(say(address, speech))
        heard.append(load(address, 6, 1.0, golden_signal(2.0), ramp_s=0.2))
        return True

    settings = Settings(recognizers=(str(toy_bundle),), workers=2, port=0, database="none", max_streams=100)
    run_replicas(settings, "ray", told.append, until=talk)
    answers, result = heard
    assert answers[-1]["type"] == "summary"
    assert len(answers[-1]["segments"]) == 1
    assert (result.admitted, result.lost) == (6, 0)
    assert len(result.waits_s) == result.num_chunks > 0


class _Balancer:
    """Hands connections to servers in turn, as a load balancer does, and copies bytes both ways."""

    def __init__(self, servers: list[str]) -> None:
        self._servers = cycle([(url.hostname or "", url.port or 0) for url in map(urlsplit, servers)])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = ThreadPoolExecutor(40)

    def __enter__(self) -> str:
        self._threads.submit(self._accept)
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads.shutdown()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.submit(self._join, client, socket.create_connection(next(self._servers)))

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        with client, server:
            back = self._threads.submit(self._copy, server, client)
            self._copy(client, server)
            back.result()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def _listening(address: str) -> list[Any]:
    port = urlsplit(address).port
    return [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it never came about")
