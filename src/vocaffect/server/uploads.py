"""Reading an uploaded clip: multipart or the plain body, never more bytes than allowed, never for ever."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from vocaffect.server.protocol import ProtocolError
from vocaffect.server.settings import Settings

NAMELESS = "the clip"


@dataclass(frozen=True)
class Upload:
    """One uploaded file: its bytes, and what its sender calls it, which serves in messages alone."""

    data: bytes
    name: str = NAMELESS


async def read_upload(request: Request, settings: Settings) -> Upload:
    """The uploaded clip, as a form's file or the plain body.

    Raises:
        ProtocolError: if the body is too large, too slow, or a form without exactly one file.
    """
    if _is_form(request):
        return (await _read_form(request, settings, max_files=1))[0]
    async with _in_time(settings):
        return Upload(b"".join([chunk async for chunk in _capped(request, settings.max_upload_bytes)]))


async def read_uploads(request: Request, settings: Settings) -> list[Upload]:
    """All files of a form, `max_batch` at most; their bytes together count as one body.

    Raises:
        ProtocolError: as `read_upload`, or if the body is no form.
    """
    if not _is_form(request):
        raise ProtocolError("bad_message", "a batch is a form: send multipart/form-data with a file in each part")
    return await _read_form(request, settings, settings.max_batch)


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("multipart/form-data")


@asynccontextmanager
async def _in_time(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            yield
    except TimeoutError:
        raise ProtocolError(
            "timeout", f"the upload took longer than {settings.upload_timeout_s:g} s; send a shorter clip"
        ) from None


async def _capped(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; what `Content-Length` says is never believed."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ProtocolError("too_large", f"a clip may have {limit} bytes; send a shorter one")
        yield chunk


async def _read_form(request: Request, settings: Settings, max_files: int) -> list[Upload]:
    body = _capped(request, settings.max_upload_bytes)
    try:
        async with _in_time(settings):
            form = await MultiPartParser(request.headers, body, max_files=max_files, max_fields=8).parse()
    except MultiPartException as error:
        raise ProtocolError("bad_message", f"the form cannot be read ({error.message})") from error
    except (KeyError, ValueError) as error:
        raise ProtocolError("bad_message", "the form cannot be read; send multipart/form-data") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise ProtocolError("bad_message", "the form holds no file; send one, as the field 'file'")
        return [Upload(await file.read(), (file.filename or NAMELESS)[:100]) for file in files]
    finally:
        await form.close()
