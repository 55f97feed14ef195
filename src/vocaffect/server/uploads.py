"""Reading uploaded clips: never more bytes than allowed, never for ever, and on disk rather than in memory."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from vocaffect.server.refusals import ProtocolError
from vocaffect.server.settings import Settings

NAMELESS = "the clip"
IN_MEMORY_BYTES = 1 << 16
"""What is larger goes to a temporary file: six hundred slow uploads must not fill the memory."""
MAX_FIELDS = 8


@dataclass(frozen=True)
class Upload:
    """One uploaded file, from its first byte, and what its sender calls it, which serves in messages alone."""

    file: BinaryIO
    size: int
    name: str = NAMELESS


@asynccontextmanager
async def uploads(request: Request, settings: Settings, max_files: int = 1) -> AsyncIterator[list[Upload]]:
    """The files of a form, or the plain body as one, for as long as the block lasts.

    Raises:
        ProtocolError: if the body is too large, too slow, or a form that holds no file or too many.
    """
    body = _capped(request, settings, settings.max_upload_bytes)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        parsing = _form(request, body, settings, max_files)
    else:
        parsing = _plain(body, settings)
    async with parsing as received:
        yield received


async def read_text(request: Request, settings: Settings) -> bytes:
    """A small body: a message of the protocol.

    Raises:
        ProtocolError: if it is too large or too slow.
    """
    async with _in_time(settings):
        return b"".join([chunk async for chunk in _capped(request, settings, settings.max_text_bytes)])


@asynccontextmanager
async def _plain(body: AsyncGenerator[bytes, None], settings: Settings) -> AsyncIterator[list[Upload]]:
    with SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
        async with _in_time(settings):
            async for chunk in body:
                file.write(chunk)
        size = file.tell()
        file.seek(0)
        yield [Upload(cast("BinaryIO", file), size)]


@asynccontextmanager
async def _form(
    request: Request, body: AsyncGenerator[bytes, None], settings: Settings, max_files: int
) -> AsyncIterator[list[Upload]]:
    parser = MultiPartParser(request.headers, body, max_files=max_files, max_fields=MAX_FIELDS)
    parser.spool_max_size = IN_MEMORY_BYTES
    try:
        async with _in_time(settings):
            form = await parser.parse()
    except MultiPartException as error:
        raise ProtocolError("bad_message", f"the form cannot be read ({error.message})") from error
    except (KeyError, ValueError, LookupError) as error:
        raise ProtocolError("bad_message", "the form cannot be read; send multipart/form-data") from error
    try:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise ProtocolError("bad_message", "the form holds no file; send one, as the field 'file'")
        yield [Upload(each.file, each.size or 0, (each.filename or NAMELESS)[:100]) for each in files]
    finally:
        await form.close()


@asynccontextmanager
async def _in_time(settings: Settings) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(settings.upload_timeout_s):
            yield
    except TimeoutError:
        raise ProtocolError(
            "timeout", f"the upload took longer than {settings.upload_timeout_s:g} s; send a shorter clip"
        ) from None


async def _capped(request: Request, settings: Settings, limit: int) -> AsyncGenerator[bytes, None]:
    """The body as it arrives; what `Content-Length` says is never believed."""
    size, stream = 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(settings.body_timeout_s):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise ProtocolError(
                "timeout", f"nothing of the upload came for {settings.body_timeout_s:g} s; send it again"
            ) from None
        size += len(chunk)
        if size > limit:
            raise ProtocolError("too_large", f"the body may have {limit} bytes; send less")
        yield chunk
