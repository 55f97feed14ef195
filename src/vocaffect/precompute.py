"""Features that are computed once: of clips that are the same in every epoch, kept in a cache or in memory."""

import hashlib
import inspect
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocaffect import __version__, audio, datasets, features, pcm
from vocaffect.audio import AudioError, read_clip, read_source
from vocaffect.cache import Cache
from vocaffect.datasets import to_int16
from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd, registered
from vocaffect.pcm import from_pcm

Samples = NDArray[np.float32]
Raw = NDArray[np.float32]
Told = tuple[Counter[str], AudioError | None]


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

    def __call__(self, samples: Samples) -> Raw:
        """A clip ``(num_samples,)`` to what `FrontEnd.raw` says of it, ``(num_frames, num_raw)``; at least a frame."""
        heard = self.heard(from_pcm(to_int16(samples, self.trim_db, self.margin_s)))
        filled = np.pad(heard, (0, max(0, self.module.hop - len(heard))))
        with torch.inference_mode():
            return np.asarray(self.computed(torch.from_numpy(filled)[None])[0].numpy())

    def heard(self, samples: Samples) -> Samples:
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
            return lambda sound, path: self(read_clip(path).samples)
        cache = Cache(folder, self.settings())

        def compute(sound: str, path: Path) -> Raw:
            source = read_source(path)
            if source.sha256 != sound:
                raise VocaffectError(f"{path} has changed since its manifest was made: prepare the manifest again")
            return self(source.clip().samples)

        return lambda sound, path: cache.get(sound, lambda: compute(sound, path))


def fill(extraction: Extraction, folder: Path, clips: Iterable[Path], workers: int = 1) -> Iterator[Told]:
    """Compute what a cache lacks of some clips, and tell of each, in their order, once it is done.

    Args:
        extraction: what to compute.
        folder: the cache's folder.
        clips: audio files.
        workers: processes; one means this process.

    Yields:
        what `vocaffect.cache.Cache` counts of the clip, or why it could not be read.

    Raises:
        VocaffectError: if the cache cannot be written, or a process was killed.
    """
    job = _Job(extraction, Cache(folder, extraction.settings()))
    if workers <= 1:
        yield from map(job, clips)
        return
    method = "fork" if "fork" in get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(workers, get_context(method), _begin, (job,))
    try:
        yield from pool.map(_work, clips, chunksize=8)
    except BrokenProcessPool as error:
        raise VocaffectError(
            "a process was killed, perhaps for want of memory: the same command goes on where it stopped; add "
            "--workers 1 if it happens again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Job:
    """What one process does with one clip after the other."""

    extraction: Extraction
    cache: Cache

    def __call__(self, clip: Path) -> Told:
        before = Counter(self.cache.counts)
        try:
            source = read_source(clip)
            self.cache.get(source.sha256, lambda: self.extraction(source.clip().samples))
        except AudioError as error:
            return Counter(), error
        return self.cache.counts - before, None


_JOB: list[_Job] = []
"""In a process that works for `fill`: its job."""


def _begin(job: _Job) -> None:
    """Each process computes on one thread; Ctrl-C is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _JOB[:] = [job]


def _work(clip: Path) -> Told:
    return _JOB[0](clip)


def _parameters(thing: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """A feature's parameters, those it has by default among them, so that to leave them out changes nothing."""
    known = inspect.signature(thing).parameters.values() if isinstance(thing, type) else ()
    return {each.name: each.default for each in known if each.default is not each.empty} | dict(given)


def _code(things: Mapping[str, Any], more: Iterable[Path] = ()) -> str:
    """A SHA-256 over every file that decides what comes out."""
    files = {
        Path(audio.__file__),
        Path(datasets.__file__),
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
