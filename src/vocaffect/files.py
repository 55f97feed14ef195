"""Writing files so that a crash at any moment leaves the old file or the new one, never half of one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from vocaffect.errors import VocaffectError


@contextmanager
def atomic_path(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    The temporary file is flushed to the disk, renamed over ``path``, and the folder is flushed too; after
    an error it is removed and ``path`` is as it was. Unless ``durable`` nothing is flushed: should the whole machine
    stop, the file may turn out empty or cut short.

    Raises:
        VocaffectError: if the disk is full, or the system will not write there for another reason.
    """
    with _replacing(str(path), durable) as (descriptor, temporary):
        os.close(descriptor)
        yield Path(temporary)


def write_bytes(path: Path | str, content: bytes, *, durable: bool = True) -> None:
    """Replace a file's content, as `atomic_path` does."""
    with _replacing(str(path), durable) as (descriptor, _), os.fdopen(descriptor, "wb") as file:
        file.write(content)


def write_text(path: Path | str, text: str) -> None:
    """Replace a file's content with ``text``, all or nothing."""
    write_bytes(path, text.encode())


@contextmanager
def _replacing(target: str, durable: bool) -> Iterator[tuple[int, str]]:
    """The descriptor and the name of the file that is to take the place of ``target``.

    Paths are text here, and what must be looked at is looked at after it failed: a cache writes thousands of files.
    """
    folder, name = os.path.split(target)
    temporary = os.path.join(folder, f".{secrets.token_hex(8)}-{name}")
    created = False
    try:
        descriptor = _create(temporary, folder)
        created = True
        yield descriptor, temporary
        if durable:
            flush(temporary)
        os.replace(temporary, target)
        created = False
        if durable:
            flush(folder or ".")
    except OSError as error:
        raise VocaffectError(
            f"{target} could not be written ({error.strerror or error}): make room or choose another folder, then go "
            "on; what was there before is untouched"
        ) from error
    finally:
        if created:
            Path(temporary).unlink(missing_ok=True)


def _create(path: str, folder: str) -> int:
    """The descriptor of a new file, in a folder that is made if it is missing."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)


def cache_folder() -> Path:
    """Where things are kept that can be made again: ``$VOCAFFECT_CACHE``, or the platform's folder for such."""
    given = os.environ.get("VOCAFFECT_CACHE")
    return Path(given).expanduser() if given else platformdirs.user_cache_path("vocaffect", appauthor=False)


def flush(path: Path | str) -> None:
    """Ask the operating system to put a file's bytes, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
