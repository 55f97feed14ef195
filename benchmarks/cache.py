"""MFCC of 1,440 clips from files to files: `vocaffect cache` with two workers against librosa in a loop.

    python benchmarks/cache.py [--data-root D] [--clips 1440] [--workers 2]

The clips of RAVDESS where they are at hand, generated ones of the same lengths elsewhere. Both read a file, bring it to
16 kHz, compute 13 coefficients from 40 mel bands (25 ms windows, 10 ms apart) of the whole clip, and write them to a
file of their own; ours also hashes the sound, marks silence and seals each file. The libraries are imported beforehand
on both sides; starting the workers counts. Both write into memory where the system has such a folder: what creating a
file costs a disk says nothing of either. Rounds alternate, and the ratio is the median over them.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile

from vocaffect.corpora import find_clips
from vocaffect.precompute import Extraction, fill

ROUNDS, MEMORY = 3, Path("/dev/shm")
EXTRACTION = Extraction({"features": {"mfcc": {"num_coefficients": 13, "num_mels": 40}}}, trim_db=None)


def files(data_root: str | None, num_clips: int, folder: Path) -> list[Path]:
    found = list(find_clips(Path(data_root, "ravdess")))[:num_clips] if data_root else []
    if len(found) == num_clips:
        return found
    rng = np.random.default_rng(0)
    paths = [folder / f"{number}.flac" for number in range(num_clips)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.05, int(rng.uniform(3.0, 4.5) * 16_000)), 16_000)
    return paths


def ours(clips: list[Path], folder: Path, workers: int) -> None:
    told = Counter(outcome for outcome, _ in fill(EXTRACTION, folder, clips, workers))
    assert told["computed"] + told["found"] == len(clips), told


def theirs(clips: list[Path], folder: Path) -> None:
    for number, path in enumerate(clips):
        samples, _ = librosa.load(path, sr=16_000)
        np.save(
            folder / f"{number}.npy",
            librosa.feature.mfcc(y=samples, sr=16_000, n_mfcc=13, n_mels=40, n_fft=400, hop_length=160),
        )


def seconds(work: Callable[[Path], None]) -> tuple[float, float]:
    """By the clock, and of the processor, this process and its workers together."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        start, before = time.perf_counter(), _cpu_seconds()
        work(Path(folder))
        return time.perf_counter() - start, _cpu_seconds() - before


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("VOCAFFECT_DATA"))
    parser.add_argument("--clips", type=int, default=1_440)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clips = files(given.data_root, given.clips, Path(name))
        first = clips[:8]
        seconds(lambda folder: ours(first, folder, 1)), seconds(lambda folder: theirs(first, folder))
        rounds = [
            (seconds(lambda folder: ours(clips, folder, given.workers)), seconds(lambda folder: theirs(clips, folder)))
            for _ in range(ROUNDS)
        ]
    (our, our_cpu), (their, their_cpu) = np.median(rounds, axis=0)
    ratio, cpu_ratio = (float(np.median([slow[i] / fast[i] for fast, slow in rounds])) for i in range(2))
    print(f"{len(clips)} clips, files to files, median of {ROUNDS} rounds that take turns")
    print(f"vocaffect, {given.workers} workers  {our:6.2f} s  ({our_cpu:6.2f} s of the processor)")
    print(f"librosa in a loop     {their:6.2f} s  ({their_cpu:6.2f} s of the processor)")
    print(f"ratio                 {ratio:6.2f}    ({cpu_ratio:.2f} by processor)     (target 4)")


if __name__ == "__main__":
    main()
