"""`POST /v1/recognize` and `/v1/recognize/batch`: whole clips, decoded and recognised in threads of their own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from vocaffect.audio import decode
from vocaffect.errors import VocaffectError
from vocaffect.server.protocol import (
    Batch,
    BatchItem,
    ErrorMessage,
    Message,
    Progress,
    ProtocolError,
    Recognition,
)
from vocaffect.server.resources import Resources, resources_of
from vocaffect.server.uploads import Upload, read_upload, read_uploads
from vocaffect.server.whole import Tell, recognize_clip

router = APIRouter()

_FORM = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
_FORMS = {
    "type": "object",
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    "required": ["files"],
}


def _body(form: dict[str, Any], plain: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if plain:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorMessage} for status in ("4XX", "5XX")}

Chosen = Annotated[str | None, Query(description="The name of a recogniser.", max_length=100)]
Traced = Annotated[bool, Query(description="Also tell how the clip went, every 100 ms.")]
WithFeatures = Annotated[bool, Query(description="With the trace, what the recogniser saw.")]


@router.post(
    "/v1/recognize",
    openapi_extra=_body(_FORM, plain=True),
    response_model=Recognition,
    responses={**ERRORS, 200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def recognize(
    request: Request,
    recognizer: Chosen = None,
    trace: Traced = False,
    features: WithFeatures = False,
    progress: Annotated[bool, Query(description="Answer in lines of JSON: progress, then the recognition.")] = False,
) -> Recognition | Response:
    """Recognise one clip, sent as a form's file or as the plain body."""
    resources = resources_of(request)
    resources.catalogue.get(recognizer)
    upload = await read_upload(request, resources.settings)
    if progress:
        lines = _progressing(resources, upload, recognizer, trace, features)
        return StreamingResponse(lines, media_type="application/x-ndjson")
    return await _recognize(resources, upload, recognizer, trace, features)


@router.post("/v1/recognize/batch", openapi_extra=_body(_FORMS, plain=False), responses=ERRORS)
async def recognize_batch(
    request: Request, recognizer: Chosen = None, trace: Traced = False, features: WithFeatures = False
) -> Batch:
    """Recognise every file of a form; one that cannot be read does not stop the others."""
    resources = resources_of(request)
    resources.catalogue.get(recognizer)
    uploads = await read_uploads(request, resources.settings)
    results: list[BatchItem] = []
    for index, upload in enumerate(uploads):
        recognition, error = None, None
        try:
            recognition = await _recognize(resources, upload, recognizer, trace, features)
        except ProtocolError as refused:
            error = ErrorMessage(code=refused.code, message=refused.message)
        results.append(BatchItem(index=index, name=upload.name, recognition=recognition, error=error))
    return Batch(results=results)


async def _recognize(
    resources: Resources, upload: Upload, name: str | None, trace: bool, features: bool, tell: Tell | None = None
) -> Recognition:
    loop = asyncio.get_running_loop()
    recognizer = resources.catalogue.get(name)

    def work() -> Recognition:
        if tell:
            tell(Progress(step="preprocessing", fraction=0.0))
        clip = decode(upload.data, name=upload.name, max_s=resources.settings.max_clip_s)
        if tell:
            tell(Progress(step="preprocessing", fraction=1.0))
        return recognize_clip(recognizer, clip, trace, features, tell)

    try:
        return await loop.run_in_executor(resources.clip_threads, work)
    except VocaffectError as error:
        raise ProtocolError("bad_audio", str(error)) from error


async def _progressing(
    resources: Resources, upload: Upload, name: str | None, trace: bool, features: bool
) -> AsyncIterator[str]:
    """Progress as it comes, then the recognition or the error: one JSON object a line."""
    told: asyncio.Queue[Message | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:
        loop.call_soon_threadsafe(told.put_nowait, progress)

    work = asyncio.create_task(_recognize(resources, upload, name, trace, features, tell))
    work.add_done_callback(lambda _: told.put_nowait(None))
    yield Progress(step="upload", fraction=1.0).model_dump_json() + "\n"
    while (message := await told.get()) is not None:
        yield message.model_dump_json() + "\n"
    try:
        yield (await work).model_dump_json() + "\n"
    except ProtocolError as error:
        yield ErrorMessage(code=error.code, message=error.message).model_dump_json() + "\n"
