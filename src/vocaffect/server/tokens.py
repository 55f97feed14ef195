"""The token that callers from other machines must show: in a header, or in a cookie that a browser gets for it."""

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

COOKIE = "vocaffect_token"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on, or to be called from, is this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(name: str) -> bool:
    """Whether a name is a plain IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def may_enter(token: str, headers: Headers) -> bool:
    """Whether a request shows the token; comparing takes as long whatever is wrong with it."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    by_header = scheme.lower() == "bearer" and _equal(shown.strip(), token)
    by_cookie = _equal(cookies(headers).get(COOKIE, ""), sealed(token))
    return by_header or by_cookie


def is_token(token: str, shown: str) -> bool:
    """Whether this is the token."""
    return _equal(shown, token)


def sealed(token: str) -> str:
    """What a browser keeps in place of the token, so that a stolen cookie does not tell it.

    >>> sealed("x") == sealed("y")
    False
    """
    return hmac.new(token.encode(), b"vocaffect cookie", hashlib.sha256).hexdigest()


def cookies(headers: Headers) -> Mapping[str, str]:
    """The cookies of a request; those that cannot be read are none."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def set_cookie(name: str, value: str, secure: bool, max_age_s: int) -> str:
    """A `Set-Cookie` line for a cookie that pages cannot read and other sites cannot use."""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{'; Secure' if secure else ''}"


def _equal(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode(), right.encode())
