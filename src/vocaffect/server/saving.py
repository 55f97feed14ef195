"""`/v1/saved`: what a browser has asked to keep; nothing gets here unless somebody presses save."""

import hashlib
import secrets
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, TypeVar, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.responses import Response, StreamingResponse

from vocaffect.server.clips import ERRORS, plain_body
from vocaffect.server.exports import MEDIA, Format, export, to_flac, write_clips
from vocaffect.server.protocol import Message
from vocaffect.server.records import Correction, Deleted, Save, Saved, SavedList
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.resources import resources_of
from vocaffect.server.store import Store
from vocaffect.server.tokens import cookies, set_cookie
from vocaffect.server.uploads import read_text, uploads

COOKIE = "vocaffect_owner"
COOKIE_S = 365 * 86_400
OWNER_CHARACTERS = 43
PAGE = 100

router = APIRouter(prefix="/v1/saved", responses=ERRORS)
M = TypeVar("M", bound=Message)


def _body_of(message: type[Message]) -> dict[str, Any]:
    schema = message.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _store(request: Request) -> Store:
    store = resources_of(request).store
    if store is None:
        raise ProtocolError("not_found", "this server keeps nothing")
    return store


def _owner(request: Request) -> str:
    """The hash of the browser's cookie; one that owns nothing where there is none."""
    return _hash(cookies(request.headers).get(COOKIE, ""))


def _hash(secret: str) -> str:
    return hashlib.sha256(f"vocaffect owner {secret}".encode()).hexdigest() if _is_secret(secret) else ""


def _is_secret(secret: str) -> bool:
    return len(secret) == OWNER_CHARACTERS and secret.isascii()


Owner = Annotated[str, Depends(_owner)]
Kept = Annotated[Store, Depends(_store)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.post("", status_code=201, openapi_extra=_body_of(Save))
async def save(request: Request, response: Response, store: Kept) -> Saved:
    """Keep a session; the first one gives the browser the cookie that owns it."""
    wanted = await _read(request, Save)
    secret = cookies(request.headers).get(COOKIE, "")
    if not _is_secret(secret):
        secret = secrets.token_urlsafe(32)
    saved = await run_in_threadpool(store.save, _hash(secret), wanted)
    cookie = set_cookie(COOKIE, secret, request.url.scheme == "https", COOKIE_S)
    response.headers["Set-Cookie"] = cookie
    return saved


@router.get("")
async def list_saved(
    owner: Owner,
    store: Kept,
    limit: Annotated[int, Query(ge=1, le=PAGE)] = 50,
    after: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
) -> SavedList:
    """The browser's saved sessions, the newest first."""
    return await run_in_threadpool(store.list, owner, limit, after)


@router.delete("")
async def delete_all(owner: Owner, store: Kept) -> Deleted:
    """Delete everything that the browser has saved."""
    return Deleted(count=await run_in_threadpool(store.delete, owner))


@router.get("/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def export_clips(owner: Owner, store: Kept) -> Response:
    """All that was corrected or confirmed, as clips with a table that `vocaffect data prepare` takes."""

    def write() -> SpooledTemporaryFile[bytes]:
        file = SpooledTemporaryFile(1 << 20)  # noqa: SIM115  # closed by whoever sends it
        sessions = ((saved, store.audio(owner, saved.id)) for saved in _all(store, owner) if saved.has_audio)
        write_clips(sessions, f"voice-{owner[:8]}", cast("Any", file))
        file.seek(0)
        return file

    file = await run_in_threadpool(write)
    return StreamingResponse(_blocks(file), media_type="application/zip", headers=_named("vocaffect.zip"))


@router.get("/{session_id}")
async def get_saved(session_id: Id, owner: Owner, store: Kept) -> Saved:
    """One saved session."""
    return await run_in_threadpool(store.get, owner, session_id)


@router.delete("/{session_id}")
async def delete_saved(session_id: Id, owner: Owner, store: Kept) -> Deleted:
    """Delete a saved session for good."""
    return Deleted(count=await run_in_threadpool(store.delete, owner, session_id))


@router.put("/{session_id}/segments/{index}", openapi_extra=_body_of(Correction))
async def correct(
    request: Request, session_id: Id, index: Annotated[int, Path(ge=0, le=2**31 - 1)], owner: Owner, store: Kept
) -> Saved:
    """Say what a segment really is, or confirm it."""
    correction = await _read(request, Correction)
    return await run_in_threadpool(store.correct, owner, session_id, index, correction.label)


@router.put("/{session_id}/audio", openapi_extra=plain_body())
async def put_audio(
    request: Request,
    session_id: Id,
    owner: Owner,
    store: Kept,
    consent: Annotated[bool, Query(description="That whoever speaks agrees to the sound being kept.")] = False,
) -> Saved:
    """Keep the sound of a saved session, which needs consent."""
    if not consent:
        raise ProtocolError("bad_message", "the sound is kept only with consent=true")
    resources = resources_of(request)
    await run_in_threadpool(store.get, owner, session_id)
    async with uploads(request, resources.settings) as (upload,):

        def work() -> Saved:
            clip = resources.decoding.decode(upload.file, upload.size, upload.name, resources.settings.max_clip_s)
            return store.put_audio(owner, session_id, to_flac(clip.samples))

        return await resources.clips.run(work)


@router.get("/{session_id}/audio", response_class=Response, responses={200: {"content": {"audio/flac": {}}}})
async def get_audio(session_id: Id, owner: Owner, store: Kept) -> Response:
    """The sound of a saved session."""
    flac = await run_in_threadpool(store.audio, owner, session_id)
    return Response(flac, media_type="audio/flac", headers=_named(f"{session_id}.flac"))


@router.get("/{session_id}/export", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def export_saved(
    session_id: Id, owner: Owner, store: Kept, wanted: Annotated[Format, Query(alias="format")] = "json"
) -> Response:
    """One saved session as JSON, CSV or Audacity labels."""
    saved = await run_in_threadpool(store.get, owner, session_id)
    media, ending = MEDIA[wanted]
    return Response(export(saved, wanted), media_type=media, headers=_named(f"{session_id}.{ending}"))


def _all(store: Store, owner: str) -> Iterator[Saved]:
    after: str | None = None
    while True:
        page = store.list(owner, PAGE, after)
        yield from page.sessions
        after = page.next
        if after is None:
            return


async def _read(request: Request, message: type[M]) -> M:
    text = await read_text(request, resources_of(request).settings)
    try:
        return message.model_validate_json(text)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
        raise ProtocolError("bad_message", f"not a '{message.__name__.lower()}' ({faults[:500]})") from error


def _named(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def _blocks(file: SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(1 << 16):
            yield block
