"""A cache of what is computed of clips: a file for each, named after what it sounds like and what was computed.

Below the cache's folder lies one folder for each way to compute, named after a hash of its settings::

    cache/3f1c.../settings.json     what was computed: features, framing, trimming, and the code that does it
    cache/3f1c.../9b/9b41....feat   one clip's values, in front of them a SHA-256 over clip, settings and values

Files appear whole or not at all, so any number of processes may read and write at once. A file that is not what its
SHA-256 says counts as corrupted, is never read, and is computed again.
"""

import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.files import write_bytes

SETTINGS, SUFFIX = "settings.json", ".feat"

Values = NDArray[np.float32]


class Cache:
    """What one way of computing gave of clips.

    ``counts`` tells of what this object did: ``found``, ``computed`` and, among those computed, ``corrupted``.

    Args:
        folder: the cache's folder, which several ways of computing may share.
        settings: everything that the values depend on beside the clip; JSON can hold it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.text = json.dumps(settings, indent=1, sort_keys=True)
        self.name = hashlib.sha256(self.text.encode()).hexdigest()[:16]
        self.folder, self.counts = folder / self.name, Counter[str]()
        self._settings = self.folder / SETTINGS

    def get(self, sound: str, compute: Callable[[], Values]) -> Values:
        """The values of the clip with this SHA-256; computed and kept if they are not there.

        Raises:
            VocaffectError: if they cannot be written.
        """
        values = self.read(sound)
        self.counts["computed" if values is None else "found"] += 1
        if values is None:
            values = compute()
            self.write(sound, values)
        return values

    def read(self, sound: str) -> Values | None:
        """The values of the clip with this SHA-256, if they are there and whole."""
        try:
            with io.FileIO(self._path(sound)) as file:
                data = file.readall()
        except FileNotFoundError:
            return None
        except OSError:
            data = b""
        if data[:32] != self._seal(sound, data[32:]):
            self.counts["corrupted"] += 1
            return None
        values: Values = np.load(io.BytesIO(data[32:]), allow_pickle=False)
        return values

    def write(self, sound: str, values: Values) -> None:
        """Keep the values of a clip.

        Raises:
            VocaffectError: if they cannot be written.
        """
        content = _header(values.shape) + values.astype("<f4", copy=False).tobytes()
        if not self._settings.is_file():
            self._put(self._settings, self.text.encode())
        self._put(self._path(sound), self._seal(sound, content) + content)

    def _path(self, sound: str) -> str:
        name = hashlib.sha256(sound.encode()).hexdigest()
        return f"{self.folder}/{name[:2]}/{name}{SUFFIX}"

    def _seal(self, sound: str, content: bytes) -> bytes:
        return hashlib.sha256(f"{self.name} {sound} ".encode() + content).digest()

    def _put(self, path: Path | str, content: bytes) -> None:
        """Write a file whole; should the power fail, its SHA-256 tells, so nothing waits for the disk."""
        write_bytes(path, content, durable=False)


@lru_cache(maxsize=1024)
def _header(shape: tuple[int, ...]) -> bytes:
    """What stands before values of this shape in a file of numpy's."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@dataclass(frozen=True)
class Stored:
    """One way of computing that a cache's folder holds: its settings, how many clips, and how many bytes."""

    name: str
    settings: dict[str, Any]
    num_clips: int
    num_bytes: int


def stored(folder: Path) -> list[Stored]:
    """What a cache's folder holds.

    Raises:
        VocaffectError: if there is no such folder.
    """
    if not folder.is_dir():
        raise VocaffectError(f"there is no cache {folder}: name the folder that was given as --cache-dir")
    found = []
    for settings in sorted(folder.glob(f"*/{SETTINGS}")):
        sizes = [path.stat().st_size for path in settings.parent.glob(f"??/*{SUFFIX}")]
        content = json.loads(settings.read_text(encoding="utf-8"))
        found.append(Stored(settings.parent.name, content, len(sizes), sum(sizes)))
    return found


def clear(folder: Path) -> int:
    """Remove everything that a cache's folder holds, and nothing else in it; returns the number of clips.

    Raises:
        VocaffectError: if there is no such folder.
    """
    found = stored(folder)
    for each in found:
        shutil.rmtree(folder / each.name)
    return sum(each.num_clips for each in found)
