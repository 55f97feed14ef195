"""Unpacking a zip that may be hostile: nothing leaves the folder, no links, and real bytes are counted."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from vocaffect.corpora.base import CorpusError

MAX_FILES = 100_000
_CHUNK = 1 << 20
_DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


class UnpackError(CorpusError):
    """An archive is damaged or not one that may be unpacked."""


@contextmanager
def unpacked(archive: Path, beside: Path, max_bytes: int) -> Iterator[Path]:
    """A temporary folder in ``beside`` with what the zip holds; the caller renames it, or it is removed.

    Raises:
        UnpackError: if the zip is damaged, holds a link, a path that leads elsewhere, the same path twice or
            an encrypted file, or unpacks to more than ``max_bytes``.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{archive.stem}-", dir=beside))
    try:
        try:
            with zipfile.ZipFile(archive) as content:
                _unpack(content, folder, max_bytes)
        except _DAMAGES as error:
            raise UnpackError(f"{archive} is damaged ({error}): remove it and download it again") from None
        except OSError as error:
            raise UnpackError(f"{archive} cannot be unpacked in {beside}: {error.strerror or error}") from None
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(content: zipfile.ZipFile, folder: Path, max_bytes: int) -> None:
    members = content.infolist()
    if len(members) > MAX_FILES:
        raise UnpackError(f"{content.filename} holds {len(members)} files, too many for a corpus: do not use it")
    seen: set[str] = set()
    room = max_bytes
    for member in members:
        place = PurePosixPath(member.filename)
        _check_member(content, member, place, seen)
        if member.is_dir():
            (folder / place).mkdir(parents=True, exist_ok=True)
        else:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            room -= _copy(content, member, folder / place, room)


def _check_member(content: zipfile.ZipFile, member: zipfile.ZipInfo, place: PurePosixPath, seen: set[str]) -> None:
    name, mode = member.filename, member.external_attr >> 16
    outside = place.is_absolute() or ".." in place.parts or "\\" in name or PureWindowsPath(name).drive
    key = str(place).casefold()
    if outside or not place.parts:
        problem = f"holds the path '{name}', which leads out of the folder"
    elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = f"holds '{name}', which is a link or a device"
    elif member.flag_bits & 1:
        problem = f"holds '{name}', which is encrypted"
    elif key in seen:
        problem = f"holds '{name}' twice"
    else:
        seen.add(key)
        return
    raise UnpackError(f"{content.filename} {problem}: this is not the official archive, do not use it")


def _copy(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, room: int) -> int:
    """Unpack one file into a new one, counting the bytes that really come out."""
    written = 0
    with content.open(member) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > room:
                raise UnpackError(
                    f"{content.filename} unpacks to more than the corpus does: it is not the official "
                    "archive, do not use it"
                )
            sink.write(chunk)
    return written
