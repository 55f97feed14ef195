"""Reading an uploaded clip: multipart or the plain body, never more bytes than allowed, never for ever."""

import asyncio
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from vocaffect.server.protocol import ProtocolError
from vocaffect.server.settings import Settings

NAMELESS = "the clip"


async def read_upload(request: Request, settings: Settings) -> tuple[bytes, str]:
    """The bytes of the uploaded clip, and what to call it in errors.

    Raises:
        ProtocolError: if the body is too large, too slow, or a form without exactly one file.
    """
    body = _capped(request, settings.max_upload_bytes)
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            if request.headers.get("content-type", "").startswith("multipart/form-data"):
                return await _read_form(request, body)
            return b"".join([chunk async for chunk in body]), NAMELESS
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


async def _read_form(request: Request, body: AsyncGenerator[bytes, None]) -> tuple[bytes, str]:
    try:
        form = await MultiPartParser(request.headers, body, max_files=1, max_fields=8).parse()
    except MultiPartException as error:
        raise ProtocolError("bad_message", f"the form cannot be read ({error.message})") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise ProtocolError("bad_message", "the form holds no file; send one, as the field 'file'")
        return await files[0].read(), (files[0].filename or NAMELESS)[:100]
    finally:
        await form.close()
