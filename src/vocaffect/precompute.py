"""Features that are computed once: of clips that are the same in every epoch, kept in a cache or in memory."""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocaffect import __version__, audio, datasets, decoders, features, pcm
from vocaffect.audio import AudioError, read_pcm, read_source
from vocaffect.cache import Cache
from vocaffect.datasets import trim_silence
from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd, registered
from vocaffect.pcm import Pcm
from vocaffect.processes import in_lots, shared

Samples = NDArray[np.float32]
Raw = NDArray[np.float32]

AT_ONCE = 8
"""Clips are read, computed and written in turn, so many of each: one step's code and tables then stay in the
processor's caches, which makes a fifth of the time."""


class Told(NamedTuple):
    """What became of a clip, ``mended`` where it was computed anew because of damage; and why it cannot be read."""

    outcome: Literal["found", "computed", "mended", "unreadable"]
    why: str = ""


@dataclass(frozen=True)
class Extraction:
    """What is computed of a clip: it is trimmed as training hears it, and goes through the front end.

    Args:
        frontend: the arguments of `vocaffect.features.FrontEnd`.
        trim_db: as in `vocaffect.datasets.EmotionDataset`.
        margin_s: likewise.
    """

    frontend: Mapping[str, Any]
    trim_db: float | None
    margin_s: float = 0.1

    @cached_property
    def module(self) -> FrontEnd:
        """The front end itself."""
        return FrontEnd(**self.frontend)

    def __call__(self, samples: Pcm) -> Raw:
        """A clip ``(num_samples,)`` to what `FrontEnd.raw` says of it, ``(num_frames, num_raw)``; at least a frame."""
        heard: NDArray[Any] = self.heard(trim_silence(samples, self.trim_db, self.margin_s))
        if (missing := self.module.hop - len(heard)) > 0:
            heard = np.pad(heard, (0, missing))
        with torch.inference_mode():
            return np.asarray(self.computed(torch.from_numpy(heard)[None])[0].numpy())

    def heard(self, samples: Pcm) -> Pcm | Samples:
        """What becomes of a trimmed clip before anything is computed: nothing."""
        return samples

    def computed(self, samples: Tensor) -> Tensor:
        """Samples ``(1, num_samples)`` to the values, with the batch in front."""
        return self.module.raw(samples)

    def code(self) -> list[Path]:
        """Files that decide what comes out, beside those of the features."""
        return []

    def settings(self) -> dict[str, Any]:
        """All that the values depend on beside the clip, code included; deltas are taken later and not among it.

        Raises:
            VocaffectError: if a feature is unknown, or its code lies in no file.
        """
        given = self.frontend["features"]
        things = {name: registered(name) for name in given}
        return {
            "features": {name: _parameters(thing, given[name]) for name, thing in things.items()},
            "frontend": {name: self.frontend[name] for name in self.frontend if name not in ("features", "deltas")},
            "trim": None if self.trim_db is None else {"below_db": self.trim_db, "margin_s": self.margin_s},
            "code": _code(things, self.code()),
            "versions": {"vocaffect": __version__, "torch": torch.__version__},
        }

    def kept_in(self, folder: Path | None) -> Callable[[str, Path], Raw]:
        """A function from a clip's SHA-256 and file to its values, which are looked up in a cache, if there is one.

        It raises a `VocaffectError` where a file has another SHA-256 by now.
        """
        if folder is None:
            return lambda sound, path: self(read_pcm(path))
        cache = Cache(folder, self.settings())

        def compute(sound: str, path: Path) -> Raw:
            source = read_source(path)
            if source.sha256 != sound:
                raise VocaffectError(f"{path} has changed since its manifest was made: prepare the manifest again")
            return self(source.pcm())

        return lambda sound, path: cache.get(sound, lambda: compute(sound, path))


def fill(extraction: Extraction, folder: Path, clips: Iterable[Path], workers: int = 1) -> Iterator[Told]:
    """Compute what a cache lacks of some clips, and tell of each, in their order, once it is done.

    Args:
        extraction: what to compute.
        folder: the cache's folder.
        clips: audio files.
        workers: processes; one means this process.

    Yields:
        what became of each clip.

    Raises:
        VocaffectError: if the cache cannot be written, or a process was killed.
    """
    job = _Job(extraction, Cache(folder, extraction.settings()))
    yield from chain.from_iterable(shared(job, in_lots(clips, AT_ONCE), workers))


@dataclass(frozen=True)
class _Job:
    """What one process does with some clips after others."""

    extraction: Extraction
    cache: Cache

    def __call__(self, clips: Sequence[Path]) -> list[Told]:
        told: list[Told] = []
        missing: dict[str, Pcm] = {}
        for clip in clips:
            try:
                source = read_source(clip)
                told.append(self._look_up(sound := source.sha256))
                if told[-1].outcome != "found":
                    missing[sound] = source.pcm()
            except AudioError as error:
                told.append(Told("unreadable", str(error)))
        for sound, values in [(sound, self.extraction(samples)) for sound, samples in missing.items()]:
            self.cache.write(sound, values)
        return told

    def _look_up(self, sound: str) -> Told:
        damaged = self.cache.counts["corrupted"]
        if self.cache.read(sound) is not None:
            return Told("found")
        return Told("computed" if self.cache.counts["corrupted"] == damaged else "mended")


def _parameters(thing: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """A feature's parameters, those it has by default among them, so that to leave them out changes nothing."""
    known = inspect.signature(thing).parameters.values() if isinstance(thing, type) else ()
    return {each.name: each.default for each in known if each.default is not each.empty} | dict(given)


def _code(things: Mapping[str, Any], more: Iterable[Path] = ()) -> str:
    """A SHA-256 over every file that decides what comes out."""
    files = {
        Path(audio.__file__),
        Path(datasets.__file__),
        Path(decoders.__file__),
        Path(pcm.__file__),
        *Path(features.__file__).parent.glob("*.py"),
        *more,
    }
    for name, thing in things.items():
        try:
            files.add(Path(inspect.getfile(thing)).resolve(strict=True))
        except (OSError, TypeError):
            raise VocaffectError(
                f"feature '{name}' is in no file, so its changes would go unseen: put it in one"
            ) from None
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
