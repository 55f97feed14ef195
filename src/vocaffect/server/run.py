"""Starting a server: take the port, load the recognisers, say where the page is, serve until told to stop."""

import socket
import webbrowser
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from vocaffect.errors import VocaffectError
from vocaffect.server.app import create_app
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.resources import Resources
from vocaffect.server.settings import Settings
from vocaffect.server.wire import WebSocket, http_protocol


def run(settings: Settings, announce: Callable[[str], object], open_page: bool = False) -> None:
    """Serve until interrupted; `announce` is told the page's address once connections are accepted.

    Raises:
        VocaffectError: if the address is taken or a recogniser cannot be loaded.
    """
    catalogue = Catalogue.load(settings.recognizers)
    listener = listen(settings)
    address = page_address(settings, listener)
    announce(f"vocaffect serves '{catalogue.default}' at {address} (Ctrl-C stops it)")
    if open_page:
        webbrowser.open(address)
    with listener:
        make_server(settings, catalogue).run(sockets=[listener])


class Server(uvicorn.Server):
    """A uvicorn server that, before it closes its connections, answers what has come and says that it goes."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no connections, drain the streams, then close."""
        for server in self.servers:
            server.close()
        resources: Resources = self._app.state.vocaffect
        await resources.engine.drain()
        await super().shutdown(sockets)


def make_server(settings: Settings, catalogue: Catalogue) -> uvicorn.Server:
    """A server with the limits that connections themselves have to keep."""
    app = create_app(settings, catalogue)
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.head_timeout_s, settings.exchange_timeout_s),
        ws=WebSocket,
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,  # PCM does not shrink, and inflating costs a flood of memory
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    return Server(config, app)


def listen(settings: Settings) -> socket.socket:
    """A listening socket; clients that come before the server runs wait in its queue.

    Raises:
        VocaffectError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=128)
    except OSError as error:
        raise VocaffectError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another with --port"
        ) from error


def page_address(settings: Settings, listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    port = listener.getsockname()[1]
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host
    host = "::1" if host == "::" else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
