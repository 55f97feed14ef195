"""Fetching a corpus' official archive: resumed where it was cut, checked, and unpacked all or nothing."""

import hashlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path

from vocaffect import __version__
from vocaffect.corpora.base import Archive, Corpus, CorpusError
from vocaffect.corpora.unpack import unpacked

ATTEMPTS = 5
"""So many tries in a row may bring less than one part in 200 of the archive before we give up."""
TIMEOUT_S = 30.0
_CHUNK = 1 << 16
_RETRIED = frozenset({408, 416, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int], None]


class DownloadError(CorpusError):
    """An archive cannot be fetched; the message says why and what to do."""


class _CutError(Exception):
    """The server stopped before the end; what came is kept, and another try may bring the rest."""


_TRANSIENT = (
    _CutError,
    http.client.HTTPException,
    urllib.error.URLError,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def download(
    corpus: Corpus,
    data_root: Path | str,
    *,
    url: str | None = None,
    keep_archive: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch a corpus and unpack it to ``data_root/name``, which appears whole or not at all.

    ``url`` names a mirror; size and MD5 must be those of the official archive all the same. ``progress``
    hears (bytes here, bytes in all).

    Raises:
        CorpusError: if the corpus has no download, is there in part, or cannot be fetched and verified.
    """
    root = Path(data_root)
    archive, folder = official_archive(corpus), root / corpus.name
    if folder.exists():
        check_complete(corpus, folder)
        return folder
    root.mkdir(parents=True, exist_ok=True)
    file = fetch(archive, root, url=url, progress=progress)
    with unpacked(file, root, archive.max_unpacked_bytes) as fresh:
        check_complete(corpus, fresh)
        fresh.rename(folder)
    if not keep_archive:
        file.unlink()
    return folder


def official_archive(corpus: Corpus) -> Archive:
    """Where the corpus is published.

    Raises:
        CorpusError: if it has no download.
    """
    if corpus.archive is None:
        where = corpus.access or (f"see {corpus.homepage}" if corpus.homepage else "give its folder as --data-root")
        raise CorpusError(f"{corpus.name} has no download that vocaffect knows: {where}")
    return corpus.archive


def check_complete(corpus: Corpus, folder: Path) -> None:
    """Make sure that a folder holds every clip of the corpus.

    Raises:
        CorpusError: if it holds more or fewer.
    """
    found = sum(1 for _ in corpus.collect_files(folder))
    if found != corpus.num_clips:
        raise CorpusError(
            f"{folder} holds {found:,} clips where {corpus.name} has {corpus.num_clips:,}: "
            "move it away and download again"
        )


def fetch(
    archive: Archive,
    folder: Path,
    *,
    url: str | None = None,
    progress: Progress | None = None,
    timeout_s: float = TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """Fetch an archive into a folder, going on from the ``NAME.part`` of an earlier try, and check its MD5.

    Raises:
        DownloadError: if the server keeps failing or offers something else than the archive.
    """
    target = folder / archive.file_name
    if target.exists():
        _check_md5(target, archive)
        return target
    part = target.with_name(f"{target.name}.part")
    best, failures, reason = partial_bytes(archive, folder), 0, ""
    while partial_bytes(archive, folder) < archive.num_bytes:
        if failures == ATTEMPTS:
            raise DownloadError(
                f"{reason} after {best:,} of {archive.num_bytes:,} bytes of {archive.file_name}: run the "
                "same command again to go on from there"
            )
        if failures:
            pause(2.0 ** (failures - 1))
        try:
            _receive(archive, url or archive.url, part, timeout_s, progress)
        except _TRANSIENT as error:
            reason = _reason(error)
        except OSError as error:
            raise DownloadError(
                f"{part} cannot be written: {error.strerror or error}; free some room or mend it"
            ) from None
        gained = partial_bytes(archive, folder) - best
        failures = 0 if gained * 200 >= archive.num_bytes else failures + 1
        best += max(gained, 0)
    _check_md5(part, archive)
    return part.rename(target)


def partial_bytes(archive: Archive, folder: Path) -> int:
    """How much of an archive an earlier try has left in the folder."""
    part = folder / f"{archive.file_name}.part"
    return part.stat().st_size if part.exists() else 0


def _receive(archive: Archive, url: str, part: Path, timeout_s: float, progress: Progress | None) -> None:
    """One request: append what the server sends to the part, or begin anew where it cannot resume."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"vocaffect/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with _open(urllib.request.Request(url, headers=headers), timeout_s, part) as response:
        resumed = response.status == 206
        _check_offer(archive, response.headers, have if resumed else 0, resumed, part)
        chunk = response.read(_CHUNK)
        if not resumed and chunk and not chunk.startswith(b"PK"[: len(chunk)]):
            raise DownloadError(f"{url} answers with something that is no zip: check the address or try later")
        done = have if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            while chunk:
                done += len(chunk)
                if done > archive.num_bytes:
                    raise _other_size(archive, f"more than {archive.num_bytes:,}", part)
                file.write(chunk)
                if progress is not None:
                    progress(done, archive.num_bytes)
                chunk = response.read(_CHUNK)
    if done < archive.num_bytes:
        raise _CutError("the connection was cut")


def _open(request: urllib.request.Request, timeout_s: float, part: Path) -> http.client.HTTPResponse:
    if request.type not in ("http", "https"):
        raise DownloadError(f"{request.full_url} is no web address: give one that begins with https://")
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            part.unlink(missing_ok=True)
        if error.code in _RETRIED:
            raise _CutError(f"the server answered {error.code} ({error.reason})") from None
        raise DownloadError(f"{request.full_url} answers {error.code} ({error.reason}): check the address") from None
    return response


def _check_offer(archive: Archive, headers: Message, start: int, resumed: bool, part: Path) -> None:
    """Refuse what the headers already tell is not the archive from byte ``start`` on."""
    if headers.get_content_type() in ("text/html", "application/xhtml+xml", "application/json"):
        raise DownloadError(
            f"the server answers with a web page in place of {archive.file_name}: check the address, or "
            "whether a login or a proxy stands in between"
        )
    if resumed:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if not match or int(match[1]) != start:
            part.unlink()
            raise _CutError("the server resumed at another place than asked")
        total = match[2]
    else:
        total = headers.get("Content-Length", "*")
    if total.isdecimal() and int(total) != archive.num_bytes:
        raise _other_size(archive, f"{int(total):,}", part)


def _other_size(archive: Archive, offered: str, part: Path) -> DownloadError:
    part.unlink(missing_ok=True)
    return DownloadError(
        f"the server offers {offered} bytes as {archive.file_name}, which has {archive.num_bytes:,}: "
        "it is not the official archive, check the address"
    )


def _check_md5(file: Path, archive: Archive) -> None:
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "md5").hexdigest()
    if found != archive.md5:
        file.unlink()
        raise DownloadError(
            f"{file.name} has the MD5 {found} where {archive.md5} was published, so it was damaged on the "
            "way or is another file; it was removed: run the same command again"
        )


def _reason(error: Exception) -> str:
    """A few words for what stopped a request."""
    if isinstance(error, _CutError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the server fell silent"
    if isinstance(error, urllib.error.URLError):
        return f"the server cannot be reached ({error.reason})"
    return "the connection was cut"
