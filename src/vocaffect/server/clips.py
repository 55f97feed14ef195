"""`POST /v1/recognize` and `/v1/recognize/batch`: whole clips, decoded and recognised in threads of their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from vocaffect.server.protocol import Batch, BatchItem, ErrorMessage, Message, Progress, Recognition
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.resources import Resources, resources_of
from vocaffect.server.uploads import Upload, uploads
from vocaffect.server.whole import Tell, recognize_clip

router = APIRouter()

_FORM = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
_FORMS = {
    "type": "object",
    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
    "required": ["files"],
}


def _form_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def plain_body() -> dict[str, Any]:
    """What OpenAPI is told of a route that takes one clip, as a form's file or as the plain body."""
    described = _form_of(_FORM)
    content = described["requestBody"]["content"]
    content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return described


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorMessage} for status in ("4XX", "5XX")}

Chosen = Annotated[
    str | None, Query(description="The name of a recogniser; left out, the default for files.", max_length=100)
]
Traced = Annotated[bool, Query(description="Also tell how the clip went, every 100 ms.")]
WithFeatures = Annotated[bool, Query(description="With the trace, what the recogniser saw.")]


@router.post(
    "/v1/recognize",
    openapi_extra=plain_body(),
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
    resources.catalogue.get_for_file(recognizer)
    if progress:
        return await _progressing(request, resources, recognizer, trace, features)
    async with uploads(request, resources.settings) as (upload,):
        return await _recognize(resources, upload, recognizer, trace, features)


@router.post("/v1/recognize/batch", openapi_extra=_form_of(_FORMS), responses=ERRORS)
async def recognize_batch(
    request: Request, recognizer: Chosen = None, trace: Traced = False, features: WithFeatures = False
) -> Batch:
    """Recognise every file of a form; one that cannot be read does not stop the others."""
    resources = resources_of(request)
    resources.catalogue.get_for_file(recognizer)
    results: list[BatchItem] = []
    async with uploads(request, resources.settings, resources.settings.max_batch) as received:
        for index, upload in enumerate(received):
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
    recognizer = resources.catalogue.get_for_file(name)

    def work() -> Recognition:
        if tell:
            tell(Progress(step="preprocessing", fraction=0.0))
        clip = resources.decoding.decode(upload.file, upload.size, upload.name, resources.settings.max_clip_s)
        if tell:
            tell(Progress(step="preprocessing", fraction=1.0))
        return recognize_clip(recognizer, clip, trace, features, tell)

    return await resources.clips.run(work)


async def _progressing(
    request: Request, resources: Resources, name: str | None, trace: bool, features: bool
) -> StreamingResponse:
    """Progress as it comes, then the recognition or the error: one JSON object a line."""
    stack = AsyncExitStack()
    (upload,) = await stack.enter_async_context(uploads(request, resources.settings))
    told: asyncio.Queue[Message | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:
        loop.call_soon_threadsafe(told.put_nowait, progress)

    async def lines() -> AsyncIterator[str]:
        async with stack:
            work = asyncio.create_task(_recognize(resources, upload, name, trace, features, tell))
            work.add_done_callback(lambda _: told.put_nowait(None))
            yield _line(Progress(step="upload", fraction=1.0))
            while (message := await told.get()) is not None:
                yield _line(message)
            try:
                yield _line(await work)
            except ProtocolError as error:
                yield _line(ErrorMessage(code=error.code, message=error.message))

    return StreamingResponse(lines(), media_type="application/x-ndjson")


def _line(message: Message) -> str:
    return message.model_dump_json() + "\n"
