"""Clips inside tar files: ``shard-000000.tar/anna/1.flac`` is the member ``anna/1.flac``, read where it lies."""

import os
import tarfile
from functools import lru_cache
from pathlib import Path

from vocaffect.errors import VocaffectError


class TarError(VocaffectError):
    """A tar file cannot be read; the message says why and how to mend it."""


def tar_of(path: Path) -> Path | None:
    """The tar file that a path leads into, ``None`` for any other path."""
    if f".tar{os.sep}" not in str(path):
        return None
    return next((folder for folder in path.parents if folder.suffix == ".tar" and folder.is_file()), None)


def is_there(path: Path) -> bool:
    """Whether a clip's file is there, or the tar file that should hold it."""
    return path.is_file() or tar_of(path) is not None


def read_member(tar: Path, name: str) -> bytes:
    """The bytes of one member, without reading the others.

    Raises:
        TarError: if the file is missing, was cut short, is no tar, or has no such member.
    """
    try:
        stat = tar.stat()
        members = _members(tar, stat.st_size, stat.st_mtime_ns)
        if name not in members:
            raise TarError(
                f"{tar} holds no {name}: it was cut short, or is not the file that its manifest was made with"
            )
        start, size = members[name]
        with tar.open("rb") as file:
            file.seek(start)
            data = file.read(size)
    except FileNotFoundError:
        raise TarError(f"there is no file {tar}: put it back, or make the shards again") from None
    except OSError as error:
        raise TarError(f"{tar} cannot be read: {error.strerror or error}") from None
    if len(data) < size:
        raise _cut_short(tar)
    return data


@lru_cache(maxsize=4096)
def _members(tar: Path, num_bytes: int, mtime_ns: int) -> dict[str, tuple[int, int]]:
    """Where each member's bytes begin, and how many there are; size and time tell a changed file from a known one."""
    try:
        with tarfile.open(tar, "r:") as file:
            members = {member.name: (member.offset_data, member.size) for member in file if member.isfile()}
    except tarfile.TarError:
        raise _cut_short(tar) from None
    if any(start + size > num_bytes for start, size in members.values()):
        raise _cut_short(tar)
    return members


def _cut_short(tar: Path) -> TarError:
    return TarError(f"{tar} is no whole tar file, so it was cut short or damaged: copy it again, or make it again")
