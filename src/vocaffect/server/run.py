"""Starting a server: take the port, load the recognisers, say where the page is, serve until told to stop."""

import gc
import os
import socket
import webbrowser
from collections.abc import Callable, Iterator
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from vocaffect.errors import VocaffectError
from vocaffect.server.app import create_app
from vocaffect.server.capacity import with_capacity
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.resources import Resources
from vocaffect.server.settings import Settings
from vocaffect.server.wire import WebSocket, http_protocol, quieten

BACKLOG = 1024
GARBAGE = 10_000
"""Objects that may come before a collection, during which nothing else happens; reference counts free nearly all."""
SEND_BUFFER_BYTES = 128 * 2**10
"""What the kernel keeps for a client that does not read; left alone, it keeps megabytes."""


def run(settings: Settings, announce: Callable[[str], object], open_page: bool = False) -> None:
    """Serve until interrupted; `announce` is told the page's address once connections are accepted.

    Raises:
        VocaffectError: if the address is taken or a recogniser cannot be loaded.
    """
    catalogue = Catalogue.load(settings.recognizers)
    listener = listen(settings)
    settings = with_capacity(settings, catalogue)
    address = page_address(settings, listener)
    for line in announcement(settings, catalogue, address):
        announce(line)
    if open_page:
        webbrowser.open(entrance(settings, address))
    with listener:
        make_server(settings, catalogue).run(sockets=[listener])


def announcement(settings: Settings, catalogue: Catalogue, address: str) -> Iterator[str]:
    """What a server says of itself when it starts."""
    yield f"vocaffect serves at {entrance(settings, address)} (Ctrl-C stops it)"
    for recognizer in catalogue:
        card = recognizer.card
        how = "every frame" if card.streaming == "frame" else f"a window of {card.window_s:g} s"
        yield f"  {card.name}: {len(card.labels)} emotions, {how}{_default(card.name, catalogue)}"
    yield (
        f"  limits: {_streams(settings)}, {settings.max_stream_s / 60:g} min each; "
        f"clips of {settings.max_clip_s / 60:g} min and {settings.max_upload_bytes / 2**20:g} MiB"
    )
    if settings.beyond_this_machine and settings.token is None:
        yield "  anybody who reaches this address may use it (--insecure)"


def _default(name: str, catalogue: Catalogue) -> str:
    uses = {"streams": catalogue.default, "files": catalogue.default_for_files}
    found = " and ".join(use for use, default in uses.items() if default == name)
    return f", default for {found}" if found else ""


def _streams(settings: Settings) -> str:
    if len(settings.streams_each) < 2:
        return f"{settings.max_streams or 'as many as fit'} streams at once"
    return " or ".join(f"{count} streams with {name}" for name, count in settings.streams_each.items()) + " at once"


def entrance(settings: Settings, address: str) -> str:
    """The page's address, with the token if one is asked for."""
    return f"{address}/?token={quote(settings.token)}" if settings.token else address


class Server(uvicorn.Server):
    """A uvicorn server that, before it closes its connections, answers what has come and says that it goes."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self.parent: int | None = None
        """The process without which this one makes no sense, if there is one."""

    @property
    def _resources(self) -> Resources:
        resources: Resources = self._app.state.vocaffect
        return resources

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start with the decoding process at hand."""
        await super().startup(sockets)
        self._resources.decoding.start()
        gc.freeze()  # what is there now stays, so no collection need look at it
        gc.set_threshold(GARBAGE)

    async def on_tick(self, counter: int) -> bool:
        """Also stop where the parent has gone."""
        orphaned = self.parent is not None and os.getppid() != self.parent
        return orphaned or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no connections, drain the streams, then close."""
        for server in self.servers:
            server.close()
        await self._resources.engine.drain()
        await super().shutdown(sockets)


def make_server(settings: Settings, catalogue: Catalogue) -> Server:
    """A server with the limits that connections themselves have to keep."""
    app = create_app(settings, catalogue)
    quieten()
    config = uvicorn.Config(
        app,
        http=http_protocol(settings.head_timeout_s, settings.exchange_timeout_s),
        ws=WebSocket,
        ws_max_size=settings.max_message_bytes,
        ws_per_message_deflate=False,  # PCM does not shrink, and inflating costs a flood of memory
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=3,
    )
    return Server(config, app)


def listen(settings: Settings) -> socket.socket:
    """A listening socket; clients that come before the server runs wait in its queue.

    Raises:
        VocaffectError: if the address cannot be had.
    """
    listener = bind(settings)
    listener.listen(BACKLOG)
    return listener


def bind(settings: Settings, shared: bool = False) -> socket.socket:
    """A socket at the server's address; `shared` lets other processes bind theirs there too.

    Raises:
        VocaffectError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # what is accepted inherits it
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise VocaffectError(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror or error}); "
            "choose another with --port"
        ) from error
    return listener


def page_address(settings: Settings, listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    port = listener.getsockname()[1]
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "") else settings.host
    host = "::1" if host == "::" else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
