import json
from collections.abc import Callable

import httpx
import pytest
import websockets.sync.client as ws
from websockets.exceptions import InvalidStatus

from vocaffect.server.gate import SECURITY_HEADERS
from vocaffect.server.settings import Settings


@pytest.mark.parametrize("path", ["/healthz", "/v1/recognizers", "/nowhere", "/"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value


def test_the_policy_allows_no_inline_script_and_nothing_from_elsewhere() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy.replace("'wasm-unsafe-eval'", "")  # WebAssembly may be compiled, text may not
    assert "http" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::1"])
def test_a_foreign_host_is_refused(client: httpx.Client, host: str) -> None:
    answer = client.get("/v1/recognizers", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "192.168.1.20", "LOCALHOST"])
def test_this_machine_and_plain_addresses_are_known(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_pages_of_other_sites_may_not_call(
    client: httpx.Client, address: str, connect: Callable[..., object], origin: str
) -> None:
    answer = client.post("/v1/recognize", content=b"x", headers={"Origin": origin})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    with pytest.raises(InvalidStatus) as caught:
        connect(address, origin=origin)
    assert caught.value.response.status_code == 403


def test_the_servers_own_page_may_call(address: str, connect: Callable[..., object]) -> None:
    with connect(address, origin=address):  # type: ignore[attr-defined]
        pass


def test_what_the_settings_allow_is_allowed(start_server: Callable[..., str]) -> None:
    address = start_server(allowed_hosts={"studio.local"}, allowed_origins={"https://lab.example"})
    headers = {"Host": "studio.local:80", "Origin": "https://lab.example"}
    assert httpx.get(f"{address}/healthz", headers=headers).status_code == 200


TOKEN = "a token of some length"


@pytest.fixture(scope="module")
def guarded(start_server: Callable[..., str]) -> str:
    """The address of a server that asks for a token."""
    return start_server(token=TOKEN)


@pytest.mark.parametrize("path", ["/v1/recognizers", "/metrics", "/openapi.json", "/v1/saved"])
@pytest.mark.parametrize("shown", [None, "", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_without_the_token_nothing_is_told(guarded: str, path: str, shown: str | None) -> None:
    answer = httpx.get(guarded + path, headers={"Authorization": shown} if shown is not None else {})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_with_the_token_everything_is_as_ever(guarded: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{guarded}/v1/recognizers", headers=headers).status_code == 200
    url = guarded.replace("http", "ws") + "/v1/stream"
    with pytest.raises(InvalidStatus) as caught:
        ws.connect(url)
    assert caught.value.response.status_code == 401
    with ws.connect(url, additional_headers=headers) as socket:
        socket.send('{"type": "hello", "version": 1, "sample_rate": 16000, "format": "int16"}')
        assert json.loads(socket.recv())["type"] == "ready"


def test_whoever_watches_over_the_server_needs_no_token(guarded: str) -> None:
    assert httpx.get(f"{guarded}/healthz").status_code == httpx.get(f"{guarded}/readyz").status_code == 200


def test_a_browser_trades_the_token_for_a_cookie(guarded: str) -> None:
    with httpx.Client(base_url=guarded) as browser:
        assert "set-cookie" not in browser.get("/?token=wrong").headers
        answer = browser.get(f"/?token={TOKEN}")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert browser.get("/v1/recognizers").status_code == 200


def test_beyond_this_machine_a_token_is_made_up_unless_told_otherwise() -> None:
    tokens = {Settings(host="0.0.0.0").token, Settings(host="0.0.0.0").token}
    assert len(tokens) == 2
    assert all(token and len(token) >= 32 for token in tokens)
    assert Settings(host="0.0.0.0", insecure=True).token is None
    assert Settings().token is Settings(host="::1").token is Settings(host="localhost").token is None


def test_whoever_calls_too_often_is_told_to_wait(
    start_server: Callable[..., str], connect: Callable[..., ws.ClientConnection]
) -> None:
    address = start_server(requests_per_minute=5, sockets_per_minute=2, limit_loopback=True)
    answers = [httpx.get(f"{address}/healthz") for _ in range(7)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["code"] == "too_many"
    assert int(answers[-1].headers["Retry-After"]) > 0
    for _ in range(2):
        with connect(address):
            pass
    with pytest.raises(InvalidStatus) as caught:
        connect(address)
    assert caught.value.response.status_code == 429


def test_one_address_has_only_so_many_streams(
    start_server: Callable[..., str], connect: Callable[..., ws.ClientConnection]
) -> None:
    address = start_server(max_streams_per_address=2, limit_loopback=True)
    with connect(address), connect(address), connect(address) as third:
        assert json.loads(third.recv())["code"] == "too_many"
