"""The page's built files, or where there are none, a note on how to build them."""

from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>vocaffect: page not built</title>
<h1>The page is not built</h1>
<p>The server runs and answers under <code>/v1</code>. To build the page, run
<code>python hatch_build.py</code> in a checkout of vocaffect, then start the server again.</p>
</html>
"""


class _Files(StaticFiles):
    """Static files, cached as each kind allows: names under `assets/` carry a hash of their content.

    Where the build has left a compressed twin beside a file, `x.js.gz` beside `x.js`, a client that takes it gets that.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and Path(f"{response.path}.gz").is_file():
            response = self._compressed(response, scope)
        immutable = path.startswith("assets/") and response.status_code in (200, 304)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if immutable else "no-cache"
        return response

    def _compressed(self, plain: FileResponse, scope: Scope) -> Response:
        if "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            plain.headers["Vary"] = "Accept-Encoding"
            return plain
        path = Path(f"{plain.path}.gz")
        response = self.file_response(path, path.stat(), scope)
        if response.status_code == HTTPStatus.OK:
            response.headers["Content-Type"] = plain.headers["content-type"]
            response.headers["Content-Encoding"] = "gzip"
        response.headers["Vary"] = "Accept-Encoding"
        return response


def add_page(app: FastAPI, static: Path = STATIC) -> None:
    """Serve the page under `/`; to be called after every other route has been added."""
    if (static / "index.html").is_file():
        app.mount("/", _Files(directory=static, html=True), name="page")
        return

    @app.get("/", include_in_schema=False)
    def page_not_built() -> HTMLResponse:
        return HTMLResponse(_NOT_BUILT, status_code=503)
