"""The application: the rooms of the server put together."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from vocaffect import __version__
from vocaffect.server.capacity import with_capacity
from vocaffect.server.catalogue import Catalogue
from vocaffect.server.clip_work import ClipWork
from vocaffect.server.clips import router as clips_router
from vocaffect.server.database import Database, default_url
from vocaffect.server.decoding import Decoding
from vocaffect.server.engine import Engine
from vocaffect.server.gate import Gate
from vocaffect.server.metrics import Metrics
from vocaffect.server.offers import router as offers_router
from vocaffect.server.page import STATIC, add_page
from vocaffect.server.protocol import ErrorMessage
from vocaffect.server.refusals import STATUS, ErrorCode, ProtocolError
from vocaffect.server.resources import Resources
from vocaffect.server.saving import router as saving_router
from vocaffect.server.settings import Settings
from vocaffect.server.store import Store
from vocaffect.server.streaming import router as streaming_router

_log = logging.getLogger(__name__)


def create_app(settings: Settings, catalogue: Catalogue, static: Path = STATIC) -> FastAPI:
    """The server's ASGI application over recognisers that are loaded already."""
    settings = with_capacity(settings, catalogue)
    metrics = Metrics()
    database = None if settings.database == "none" else Database(settings.database or default_url())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = Engine(list(catalogue), settings, metrics)
        engine.start()
        clips = ClipWork(max(1, (os.cpu_count() or 1) // 2), settings.max_waiting_clips)
        decoding = Decoding()
        store = None if database is None else Store(database, settings.max_saved)
        app.state.vocaffect = Resources(settings, catalogue, engine, clips, decoding, store, metrics)
        yield
        await engine.stop()
        clips.stop()
        decoding.stop()
        if database is not None:
            database.close()

    app = FastAPI(
        title="vocaffect",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # the interactive pages would load scripts from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    _add_error_handlers(app)
    app.include_router(clips_router)
    app.include_router(offers_router)
    app.include_router(saving_router)
    app.include_router(streaming_router)
    add_page(app, static)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    """Make every refusal the protocol's `error` message, under the right status."""

    @app.exception_handler(ProtocolError)
    async def refused(_: Request, error: ProtocolError) -> JSONResponse:
        return _answer(error.code, error.message)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return _answer("bad_message", f"the request is not valid ({faults[:500]})")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == STATUS["not_found"][0]:
            return _answer("not_found", f"there is nothing at {request.url.path[:200]}")
        return _answer("bad_message", str(error.detail), error.status_code)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed", exc_info=error)
        return _answer("internal", "the server failed; its log says why")


def _answer(code: ErrorCode, message: str, status: int | None = None) -> JSONResponse:
    return JSONResponse(ErrorMessage(code=code, message=message).model_dump(), status or STATUS[code][0])
