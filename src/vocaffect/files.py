"""Writing files so that a crash at any moment leaves the old file or the new one, never half of one."""

import os
import tempfile
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
    target, temporary = Path(path), None
    try:
        temporary = _created_beside(target)
        yield temporary
        if durable:
            flush(temporary)
        temporary.replace(target)
        if durable:
            flush(target.parent)
    except OSError as error:
        raise VocaffectError(
            f"{target} could not be written ({error.strerror or error}): make room or choose another folder, then go "
            "on; what was there before is untouched"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _created_beside(target: Path) -> Path:
    """A new empty file in the folder of ``target``, which is made if it is missing; the costly looks come last."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.fchmod(handle, 0o644)
    os.close(handle)
    return Path(name)


def cache_folder() -> Path:
    """Where things are kept that can be made again: ``$VOCAFFECT_CACHE``, or the platform's folder for such."""
    given = os.environ.get("VOCAFFECT_CACHE")
    return Path(given).expanduser() if given else platformdirs.user_cache_path("vocaffect", appauthor=False)


def flush(path: Path) -> None:
    """Ask the operating system to put a file's bytes, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Replace a file's content with ``text``, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
