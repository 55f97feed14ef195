"""Clips packed into tar files that are read without unpacking: for corpora larger than memory, and for moving them.

A clip is two members with one key, as in webdataset's layout: ``KEY.flac``, what training hears (16 kHz, mono, 16
bits), and ``KEY.json``, its row of the manifest. Beside the shards lie shards.json, which says how long each must be,
and manifest.csv, whose paths lead into them; so splits, audits, training and testing take shards as they take files.
"""

import hashlib
import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from vocaffect.audio import read_clip
from vocaffect.errors import VocaffectError
from vocaffect.files import atomic_path, write_text
from vocaffect.manifest import Manifest, Utterance
from vocaffect.pcm import to_pcm
from vocaffect.units import SAMPLE_RATE

INDEX, MANIFEST = "shards.json", "manifest.csv"


class ShardError(VocaffectError):
    """Shards cannot be made or read; the message says why and how to mend it."""


class Shard(NamedTuple):
    """One tar file: its name, how long it must be, and how many clips it holds."""

    name: str
    num_bytes: int
    num_clips: int


@dataclass(frozen=True)
class Index:
    """What shards.json says: of which clips the shards are made, how, and how far that went."""

    made_of: str
    shard_mb: float
    num_clips: int
    shards: tuple[Shard, ...] = ()

    @property
    def num_packed(self) -> int:
        """The clips that are in a finished shard."""
        return sum(shard.num_clips for shard in self.shards)

    def write(self, folder: Path) -> None:
        """Write shards.json, all or nothing."""
        write_text(folder / INDEX, json.dumps(asdict(self), indent=1) + "\n")


def write_shards(
    manifest: Manifest,
    folder: Path,
    shard_mb: float = 256.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Pack the clips of a manifest into tar files of about ``shard_mb`` million bytes, and return their new manifest.

    Clips are packed in an order that mixes corpora, speakers and labels, so that reading shard by shard hears all of
    them. What an interrupted call has finished is kept, when it is called again with the same clips.

    Raises:
        VocaffectError: if a clip cannot be read, or the folder holds other shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = sorted(manifest, key=lambda clip: hashlib.sha256(f"{clip.sha256} {clip.path}".encode()).digest())
    index = _begun(folder, Index(manifest.hash, shard_mb, len(order)))
    packed = [clip for shard in index.shards for clip in _packed(folder / shard.name)]
    clips, keys = iter(order[len(packed) :]), _keys(order)
    progress(len(packed), len(order))
    while len(packed) < len(order):
        name = f"shard-{len(index.shards):06}.tar"
        with atomic_path(folder / name) as path:
            new = []
            for clip in _fill(path, manifest, clips, keys, shard_mb * 1e6):
                new.append(replace(clip, path=f"{name}/{clip.path}"))
                progress(len(packed) + len(new), len(order))
            shard = Shard(name, path.stat().st_size, len(new))
        packed += new
        index = replace(index, shards=(*index.shards, shard))
        index.write(folder)
    shards = replace(manifest, root=folder, utterances=tuple(packed))
    shards.write(folder / MANIFEST)
    return shards


def read_shards(index: Path) -> Manifest:
    """The clips of finished shards, by the path of their shards.json; each file must be as long as that says.

    Raises:
        ShardError: if the shards were not finished, or some are gone or were cut short.
    """
    found, folder = _read_index(index), index.parent
    if found.num_packed < found.num_clips:
        raise ShardError(
            f"the shards in {folder} hold {found.num_packed:,} of {found.num_clips:,} clips, as making them was "
            "interrupted: run 'vocaffect data shard' again as before, and it goes on"
        )
    broken = [shard for shard in found.shards if _length(folder / shard.name) != shard.num_bytes]
    if broken:
        length = _length(folder / broken[0].name)
        how = "is gone" if length < 0 else f"has {length:,} bytes and not {broken[0].num_bytes:,}"
        raise ShardError(
            f"{len(broken)} of the {len(found.shards)} shards in {folder} cannot be used; {broken[0].name} {how}: copy "
            "it again, or run 'vocaffect data shard' again as before, which makes it anew"
        )
    return Manifest.read(folder / MANIFEST)


def _fill(
    path: Path, manifest: Manifest, clips: Iterator[Utterance], keys: dict[str, str], num_bytes: float
) -> Iterator[Utterance]:
    """Write clips to a tar until it is long enough; yields each with its path in the tar."""
    import soundfile

    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for clip in clips:
            samples = to_pcm(read_clip(manifest.audio_path(clip)).samples)
            sound, key = io.BytesIO(), keys[clip.path]
            soundfile.write(sound, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
            seconds, digest = round(len(samples) / SAMPLE_RATE, 6), hashlib.sha256(samples.tobytes()).hexdigest()
            stored = replace(clip, path=f"{key}.flac", sha256=digest, duration_s=seconds)
            _add(tar, stored.path, sound.getvalue())
            _add(tar, f"{key}.json", json.dumps(asdict(stored)).encode())
            yield stored
            if tar.offset >= num_bytes:
                break


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member whose bytes depend on nothing but its name and content."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _keys(clips: Iterable[Utterance]) -> dict[str, str]:
    """A key for each path: the path without its extension, without dots, each once."""
    keys: dict[str, str] = {}
    for path in sorted(clip.path for clip in clips):
        keys[path] = PurePosixPath(path).with_suffix("").as_posix().replace(".", "_")
    often = Counter(keys.values())
    return {path: f"{key}_{number}" if often[key] > 1 else key for number, (path, key) in enumerate(keys.items())}


def _begun(folder: Path, wanted: Index) -> Index:
    """What is in the folder already: the first shards that are whole; an error if they are made of something else."""
    if not (folder / INDEX).is_file():
        return wanted
    found = _read_index(folder / INDEX)
    if replace(found, shards=()) != wanted:
        raise ShardError(f"{folder} holds shards of other clips or of another size: choose another folder with -o")
    whole = [shard for shard in found.shards if _length(folder / shard.name) == shard.num_bytes]
    return replace(found, shards=tuple(shard for shard, one in zip(found.shards, whole, strict=False) if shard == one))


def _packed(shard: Path) -> list[Utterance]:
    """The clips of a finished shard, by their rows in it."""
    with tarfile.open(shard, "r:") as tar:
        rows = [json.load(tar.extractfile(member) or io.BytesIO()) for member in tar if member.name.endswith(".json")]
    return [Utterance(**{**row, "path": f"{shard.name}/{row['path']}"}) for row in rows]


def _read_index(path: Path) -> Index:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Index(**{**content, "shards": tuple(Shard(*shard) for shard in content["shards"])})
    except FileNotFoundError:
        raise ShardError(f"there is no {path}: make shards with 'vocaffect data shard'") from None
    except (ValueError, TypeError, KeyError):
        raise ShardError(f"{path} is no index of shards: make it again with 'vocaffect data shard'") from None


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
