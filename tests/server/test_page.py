import asyncio
import gzip
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from vocaffect.server.app import create_app
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.settings import Settings


def get(app: FastAPI, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>the page</title>")
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    (tmp_path.parent / "secret.txt").write_text("not yours")
    return tmp_path


def test_the_page_is_served_and_only_hashed_names_are_kept(catalogue: Catalogue, static: Path) -> None:
    app = create_app(Settings(), catalogue, static)
    page, script = get(app, "/"), get(app, "/assets/index-abc.js")
    assert "the page" in page.text
    assert page.headers["cache-control"] == "no-cache"
    assert "immutable" in script.headers["cache-control"]
    assert script.headers["content-type"].startswith("text/javascript")


def test_a_compressed_twin_is_served_to_whoever_takes_it(catalogue: Catalogue, static: Path) -> None:
    script = b"let x = 1;\n" * 100
    (static / "assets" / "index-abc.js").write_bytes(script)
    (static / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(script))
    app = create_app(Settings(), catalogue, static)
    taken = get(app, "/assets/index-abc.js", {"Accept-Encoding": "gzip"})
    assert taken.content == script  # httpx has unpacked it
    assert taken.headers["content-encoding"] == "gzip"
    assert taken.headers["content-type"].startswith("text/javascript")
    assert int(taken.headers["content-length"]) < len(script)
    assert "immutable" in taken.headers["cache-control"]
    plain = get(app, "/assets/index-abc.js", {"Accept-Encoding": "identity"})
    assert plain.content == script
    assert "content-encoding" not in plain.headers
    assert taken.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    known = {"Accept-Encoding": "gzip", "If-None-Match": taken.headers["etag"]}
    assert get(app, "/assets/index-abc.js", known).status_code == 304


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/none.js"])
def test_nothing_outside_the_page_is_served(catalogue: Catalogue, static: Path, path: str) -> None:
    answer = get(create_app(Settings(), catalogue, static), path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_without_a_built_page_the_server_says_how_to_build_it(catalogue: Catalogue, tmp_path: Path) -> None:
    app = create_app(Settings(), catalogue, tmp_path / "nothing")
    answer = get(app, "/")
    assert answer.status_code == 503
    assert "python hatch_build.py" in answer.text
    assert get(app, "/healthz").json()["status"] == "ok"
