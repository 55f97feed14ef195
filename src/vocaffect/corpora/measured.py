"""What was measured of clips before, so that preparing a corpus again decodes only what has changed since."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from vocaffect.audio import measure
from vocaffect.errors import VocaffectError
from vocaffect.files import write_text


class Known(NamedTuple):
    """What a manifest tells of a clip's sound: the hash of its samples, and its length."""

    sha256: str
    duration_s: float


class Measured:
    """The clips under one folder that were measured; a file of another size or time is measured again.

    Args:
        root: the folder of the clips, which is only read.
        file: where the records are kept; ``None`` keeps them for as long as the object lives.
    """

    def __init__(self, root: Path, file: Path | None = None) -> None:
        self.root, self.file = root, file
        self.records = {} if file is None else _read(file)
        self.changed = False

    def of(self, path: Path) -> Known:
        """What is known of a clip, after measuring it where nothing is.

        Raises:
            AudioError: as `vocaffect.audio.measure` does.
        """
        name, stat = path.relative_to(self.root).as_posix(), path.stat() if path.is_file() else None
        stamp = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] if stat else []
        record = self.records.get(name)
        if record is None or record[:3] != stamp:
            heard = measure(path)
            record = self.records[name] = [*stamp, heard.sha256, round(heard.duration_s, 6)]
            self.changed = True
        return Known(record[3], record[4])

    def write(self) -> None:
        """Keep the records, all or nothing; where that cannot be done, the next time measures again."""
        if self.file is not None and self.changed:
            text = json.dumps(self.records)
            with suppress(VocaffectError):
                write_text(self.file, f"{_digest(text)}\n{text}")


@contextmanager
def measured(root: Path, cache: Path | None) -> Iterator[Measured]:
    """The records of a folder's clips, kept below ``cache`` when the block ends, also by an error or Ctrl-C."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    known = Measured(root, cache / "clips" / f"{name}.json" if cache else None)
    try:
        yield known
    finally:
        known.write()


def _read(file: Path) -> dict[str, list[Any]]:
    """The records in a file; none, if it is missing or not what was written."""
    try:
        digest, _, text = file.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(json.loads(text)) if digest == _digest(text) else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
