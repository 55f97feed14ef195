"""MFCC of 500 clips: vocaffect's front end against librosa, one thread each, as a ratio of CPU time.

    python benchmarks/features.py [--data-root D]

Clips of RAVDESS where they are at hand, generated noise of the same lengths elsewhere. Both compute 13 coefficients
from 40 mel bands, 25 ms windows, 10 ms apart, and neither is charged for reading files.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from vocaffect.audio import read_clip
from vocaffect.features import FrontEnd

NUM_CLIPS, ROUNDS = 500, 3


def clips(data_root: str | None) -> list[NDArray[np.float32]]:
    paths = sorted(Path(data_root, "ravdess").rglob("*.*")) if data_root else []
    found = [path for path in paths if path.suffix in (".flac", ".wav")][:NUM_CLIPS]
    if len(found) == NUM_CLIPS:
        return [read_clip(path).samples for path in found]
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.05, int(rng.uniform(3.0, 4.5) * 16_000)).astype(np.float32) for _ in range(NUM_CLIPS)]


def cpu_seconds(work: Callable[[NDArray[np.float32]], object], samples: list[NDArray[np.float32]]) -> float:
    work(samples[0])
    start = time.process_time()
    for clip in samples:
        work(clip)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("VOCAFFECT_DATA"))
    samples = clips(parser.parse_args().data_root)
    torch.set_num_threads(1)
    frontend = FrontEnd({"mfcc": {"num_coefficients": 13, "num_mels": 40}})

    def ours(clip: NDArray[np.float32]) -> object:
        with torch.inference_mode():
            return frontend(torch.from_numpy(clip)[None])[0].features

    def theirs(clip: NDArray[np.float32]) -> object:
        return librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=13, n_mels=40, n_fft=400, hop_length=160)

    seconds = sum(map(len, samples)) / 16_000
    rounds = [(cpu_seconds(ours, samples), cpu_seconds(theirs, samples)) for _ in range(ROUNDS)]
    ratio = float(np.median([their / our for our, their in rounds]))
    our, their = (float(np.median(column)) for column in zip(*rounds, strict=True))
    print(f"{NUM_CLIPS} clips, {seconds:.0f} s of audio, {ROUNDS} rounds, CPU seconds, one thread")
    print(f"vocaffect {our:6.2f} s   {seconds / our:7.0f} x real time (silence mask and level included)")
    print(f"librosa   {their:6.2f} s   {seconds / their:7.0f} x real time")
    print(f"ratio     {ratio:6.2f}     (target 3)")


if __name__ == "__main__":
    main()
