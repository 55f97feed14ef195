from collections.abc import Callable

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from vocaffect.server.gate import SECURITY_HEADERS


@pytest.mark.parametrize("path", ["/healthz", "/v1/recognizers", "/nowhere", "/"])
def test_every_answer_carries_the_security_headers(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value


def test_the_policy_allows_no_inline_script_and_nothing_from_elsewhere() -> None:
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
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
