"""A real server on a free port: what is tested is what users reach, sockets and limits included."""

import runpy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets.sync.client as ws
from numpy.typing import NDArray
from websockets.typing import Origin

from vocaffect.server.catalogue import Catalogue
from vocaffect.server.run import listen, make_server, page_address
from vocaffect.server.settings import Settings

StartServer = Callable[..., str]


@pytest.fixture(scope="session")
def catalogue(toy_bundle: Path) -> Catalogue:
    return Catalogue.load([str(toy_bundle)])


@pytest.fixture(scope="module")
def start_server(catalogue: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start_server(max_clip_s=3)` runs a server with these settings and returns its address."""
    with ExitStack() as stack:

        def start(**limits: Any) -> str:
            database = tmp_path_factory.mktemp("saved") / "saved.db"
            settings = Settings(port=0, **{"database": f"sqlite:///{database}", "max_streams": 400, **limits})
            listener = stack.enter_context(listen(settings))
            server = make_server(settings, catalogue)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(setattr, server, "should_exit", True)
            while not server.started:
                time.sleep(0.01)
            return page_address(settings, listener)

        yield start


@pytest.fixture(scope="module")
def address(start_server: StartServer) -> str:
    """The address of a server with default limits."""
    return start_server()


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def connect() -> Callable[..., ws.ClientConnection]:
    """`connect(address)` opens a socket to `/v1/stream`."""

    def connect(address: str, origin: Origin | None = None) -> ws.ClientConnection:
        url = address.replace("http", "ws") + "/v1/stream"
        return ws.connect(url, compression=None, origin=origin)

    return connect


@pytest.fixture(scope="session")
def speech() -> NDArray[np.float32]:
    """Silence, a synthetic voice, silence."""
    signal: NDArray[np.float32] = runpy.run_path(str(Path(__file__).parent / "voice.py"))["speech"]()
    return signal
