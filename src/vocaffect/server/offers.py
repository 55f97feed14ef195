"""What is on offer: the recognisers, their bundles for on-device use, and whether the server is well."""

import hashlib
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse, PlainTextResponse, Response

from vocaffect import __version__
from vocaffect.server.catalogue import describe_fully
from vocaffect.server.clips import ERRORS
from vocaffect.server.protocol import Health, Readiness, RecognizerList, ServerInfo
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.resources import resources_of
from vocaffect.voice_activity import NETWORK

router = APIRouter()

_ONNX: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
_UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "The client has it already."}}
VOICE_ACTIVITY_URL = "/v1/voice-activity/bundle"


@router.get("/v1/recognizers")
async def recognizers(request: Request) -> RecognizerList:
    """The recognisers on offer, each with its whole card."""
    resources = resources_of(request)
    settings = resources.settings
    return RecognizerList(
        default=resources.catalogue.default,
        default_for_files=resources.catalogue.default_for_files,
        recognizers=[describe_fully(recognizer) for recognizer in resources.catalogue],
        server=ServerInfo(
            version=__version__,
            max_upload_bytes=settings.max_upload_bytes,
            max_clip_s=settings.max_clip_s,
            max_stream_s=settings.max_stream_s,
            max_batch=settings.max_batch,
            saves=resources.store is not None,
            voice_activity_url=VOICE_ACTIVITY_URL,
        ),
    )


@router.get("/v1/recognizers/{name}/bundle", response_class=Response, responses={**ERRORS, **_ONNX, **_UNCHANGED})
async def bundle(request: Request, name: Annotated[str, Path(max_length=100)]) -> Response:
    """The very ONNX file the server runs; its ETag is the digest in its card."""
    recognizer = resources_of(request).catalogue.get(name)
    if recognizer.path is None:
        raise ProtocolError("not_found", f"the recogniser '{name[:100]}' was not read from a file")
    return _file(request, str(recognizer.path), recognizer.card.digest)


@router.get(VOICE_ACTIVITY_URL, response_class=Response, responses={**ERRORS, **_ONNX, **_UNCHANGED})
async def voice_activity(request: Request) -> Response:
    """The network that tells speech from silence (Silero VAD, MIT), for on-device use."""
    return _file(request, str(NETWORK), _digest(NETWORK))


@router.get("/healthz")
async def healthz() -> Health:
    """Whether the server answers."""
    return Health(version=__version__)


@router.get("/readyz", responses={**ERRORS, 503: {"model": Readiness}})
async def readyz(request: Request, response: Response) -> Readiness:
    """Whether the server would take another stream; 503 where it would not."""
    readiness = resources_of(request).readiness()
    response.status_code = 200 if readiness.status == "ready" else 503
    return readiness


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """The server's metrics in Prometheus' text format."""
    return PlainTextResponse(resources_of(request).metrics.text(), media_type=CONTENT_TYPE_LATEST)


@cache
def _digest(path: FilePath) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def _file(request: Request, path: str, tag: str) -> Response:
    """A file that never changes under its tag. Clients ask again with the tag, so a new bundle is seen at once."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if request.query_params.get("v") == tag:
        headers["Cache-Control"] = "public, max-age=31536000, immutable"
    if f'"{tag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type="application/octet-stream", headers=headers)
