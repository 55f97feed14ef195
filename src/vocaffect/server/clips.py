"""`POST /v1/recognize` and the small answers beside it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from vocaffect import __version__
from vocaffect.errors import VocaffectError
from vocaffect.server.protocol import ErrorMessage, Health, ProtocolError, Recognition, RecognizerList
from vocaffect.server.resources import resources_of
from vocaffect.server.uploads import read_upload
from vocaffect.server.views import recognize_clip

router = APIRouter()

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorMessage} for status in ("4XX", "5XX")}


@router.post(
    "/v1/recognize",
    openapi_extra=_BODY,
    responses=_ERRORS,
)
async def recognize(
    request: Request,
    recognizer: Annotated[str | None, Query(description="The name of a recogniser.")] = None,
    trace: Annotated[bool, Query(description="Also tell how the clip went, every 100 ms.")] = False,
) -> Recognition:
    """Recognise one clip, sent as a form's file or as the plain body."""
    resources = resources_of(request)
    chosen = resources.catalogue.get(recognizer)
    data, name = await read_upload(request, resources.settings)
    try:
        return await asyncio.get_running_loop().run_in_executor(
            resources.clip_threads, recognize_clip, chosen, data, name, resources.settings.max_clip_s, trace
        )
    except VocaffectError as error:
        raise ProtocolError("bad_audio", str(error)) from error


@router.get("/v1/recognizers")
async def recognizers(request: Request) -> RecognizerList:
    """The recognisers on offer."""
    return resources_of(request).catalogue.describe()


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the server answers."""
    return Health(version=__version__)
