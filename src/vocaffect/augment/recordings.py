"""Folders of recordings that augmentation takes excerpts from: noises, and the answers of rooms."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from vocaffect.augment.samples import Samples
from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE

ENDINGS = (".wav", ".flac", ".ogg", ".mp3")


def list_recordings(folder: Path | str) -> tuple[Path, ...]:
    """The recordings in a folder and below, sorted, so that a draw names the same one everywhere.

    Raises:
        VocaffectError: if there is no such folder, or it holds none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in ENDINGS)
    if not found:
        what = "holds no recordings" if Path(folder).is_dir() else "is no folder"
        raise VocaffectError(f"{folder} {what}: name a folder with {', '.join(ENDINGS)} files in it")
    return tuple(found)


def excerpt(path: Path, num_samples: int, place: float) -> Samples:
    """A stretch of a recording at 16 kHz and mono, read without the rest of it; less where it is shorter.

    Raises:
        VocaffectError: if the recording cannot be read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            wanted = -(-num_samples * file.samplerate // SAMPLE_RATE)
            start = int(place * max(file.frames - wanted, 0))
            file.seek(start)
            sound = file.read(wanted, dtype="float32", always_2d=True).mean(axis=1)
            rate = file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise VocaffectError(f"{path} cannot be read for augmentation ({error}): mend or remove it") from error
    if not len(sound) or not np.isfinite(sound).all():
        raise VocaffectError(f"{path} holds nothing that can be heard: remove it from the folder")
    if rate != SAMPLE_RATE:
        sound = soxr.resample(sound, rate, SAMPLE_RATE, quality="MQ")
    return np.asarray(sound[:num_samples], np.float32)
