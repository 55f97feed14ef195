"""Who may call: the checks of Host and Origin before anything else runs, and the headers on every answer."""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vocaffect.server.protocol import STATUS, ErrorMessage
from vocaffect.server.settings import Settings

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware: refuses foreign Hosts and Origins, and puts the security headers on every answer.

    A browser cannot be made to lie about either header. A Host that is a foreign name means that name was
    pointed at this machine (DNS rebinding); an Origin that is not ours means another site's page is calling,
    which CORS does not stop for WebSockets (RFC 6455, section 10.2). Programs that send no Origin may call.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            error = ErrorMessage(code="forbidden", message=refusal)
            response = JSONResponse(error.model_dump(), STATUS["forbidden"][0])
            await response(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows_host(host):
            return f"this server does not answer to the name {host[:100]!r}; allow it with --allow-host"
        if origin is None or origin in self._settings.allowed_origins:
            return None
        if origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return f"pages of {origin[:100]!r} may not call this server; allow them with --allow-origin"
        return None

    def _knows_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in {"localhost", self._settings.host, *self._settings.allowed_hosts} or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
