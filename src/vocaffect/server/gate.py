"""Who may call, and how often: checked before anything else runs; and the headers on every answer."""

import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vocaffect.server.metrics import Metrics
from vocaffect.server.protocol import ErrorMessage
from vocaffect.server.refusals import STATUS, ProtocolError
from vocaffect.server.settings import Settings
from vocaffect.server.tokens import COOKIE, is_address, is_loopback, is_token, may_enter, sealed, set_cookie

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",  # the page runs recognisers on the device as WebAssembly
            "style-src 'self'",
            "img-src 'self'",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

COOKIE_S = 30 * 86_400
GUARDED = ("/v1/", "/metrics", "/openapi.json")
"""Under these paths a token is asked for, where there is one; the page itself is no secret."""


class Gate:
    """ASGI middleware: refuses foreign Hosts and Origins, missing tokens and floods, and sets the security headers.

    A browser cannot be made to lie about Host or Origin. A Host that is a foreign name means that name was
    pointed at this machine (DNS rebinding); an Origin that is not ours means another site's page is calling,
    which CORS does not stop for WebSockets (RFC 6455, section 10.2). Programs that send no Origin may call.
    """

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._settings, self._metrics = settings, metrics
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._rates = {
            "http": parse(f"{settings.requests_per_minute}/minute"),
            "websocket": parse(f"{settings.sockets_per_minute}/minute"),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(scope, Headers(scope=scope))
        await (self._app if answer is None else answer)(scope, receive, send_with_headers)
        if scope["type"] == "http":
            route = getattr(scope.get("route"), "path", "(none)")
            self._metrics.request(scope["method"], route, status, time.perf_counter() - begun)

    def _answer(self, scope: Scope, headers: Headers) -> Response | None:
        """What is answered in place of the application, if anything."""
        token = self._settings.token
        try:
            self._check_names(headers)
            self._check_rate(scope)
            if token and scope["path"].startswith(GUARDED) and not may_enter(token, headers):
                raise ProtocolError("unauthorized", "a token is needed: send it as 'Authorization: Bearer TOKEN'")
        except ProtocolError as error:
            self._metrics.refused(error.code)
            message = ErrorMessage(code=error.code, message=error.message)
            later = {"Retry-After": "10"} if error.code == "too_many" else {}
            return JSONResponse(message.model_dump(), STATUS[error.code][0], later)
        return self._welcome(scope) if token and scope["type"] == "http" and scope["path"] == "/" else None

    def _welcome(self, scope: Scope) -> Response | None:
        """A browser that opens the page with the token in its address gets the cookie, and the plain address."""
        shown = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if not shown:
            return None
        answer = Response(status_code=303, headers={"Location": "/", "Cache-Control": "no-store"})
        if is_token(self._settings.token or "", shown[0]):
            cookie = set_cookie(COOKIE, sealed(shown[0]), scope["scheme"] == "https", COOKIE_S)
            answer.headers["Set-Cookie"] = cookie
        return answer

    def _check_names(self, headers: Headers) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows_host(host):
            raise ProtocolError(
                "forbidden", f"this server does not answer to the name {host[:100]!r}; allow it with --allow-host"
            )
        if origin is None or origin in self._settings.allowed_origins:
            return
        if origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            raise ProtocolError(
                "forbidden", f"pages of {origin[:100]!r} may not call this server; allow them with --allow-origin"
            )

    def _check_rate(self, scope: Scope) -> None:
        address = (scope.get("client") or ("unknown", 0))[0]
        if is_loopback(address) and not self._settings.limit_loopback:
            return
        if not self._limiter.hit(self._rates[scope["type"]], scope["type"], address):
            raise ProtocolError("too_many", "too many calls from this address; wait a little, then try again")

    def _knows_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in {"localhost", self._settings.host, *self._settings.allowed_hosts} or is_address(name)
