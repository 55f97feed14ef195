"""MFCC of 500 clips: vocaffect's front end against librosa, one thread each, as a ratio of CPU time.

    python benchmarks/features.py [--data-root D]

Clips of RAVDESS where they are at hand, generated noise of the same lengths elsewhere. Both compute 13 coefficients
from 40 mel bands, 25 ms windows, 10 ms apart, and neither is charged for reading files. The ratio is that of clips one
after the other; both are also shown batches of clips of like length, and filling these up is charged. vocaffect leaves
out what is silent before and after speech, as it masks silence anyway; how much of the clips sounds is printed. Of the
rounds the fastest counts, since whatever else the machine does can only slow one down.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from vocaffect.audio import read_clip
from vocaffect.features import FrontEnd, FrontEndOutput

NUM_CLIPS, ROUNDS, BATCH = 500, 5, 16


def clips(data_root: str | None) -> list[NDArray[np.float32]]:
    paths = sorted(Path(data_root, "ravdess").rglob("*.*")) if data_root else []
    found = [path for path in paths if path.suffix in (".flac", ".wav")][:NUM_CLIPS]
    if len(found) == NUM_CLIPS:
        return [read_clip(path).samples for path in found]
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.05, int(rng.uniform(3.0, 4.5) * 16_000)).astype(np.float32) for _ in range(NUM_CLIPS)]


def batches(samples: list[NDArray[np.float32]], size: int) -> list[list[NDArray[np.float32]]]:
    """Groups of clips of like length, the longest first, so that memory is taken from the system once."""
    ordered = sorted(samples, key=len, reverse=True)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def rows(batch: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Clips as rows, the longest first and the others filled up with zeros; of one clip there is nothing to fill up."""
    if len(batch) == 1:
        return batch[0][None]
    filled = np.zeros((len(batch), len(batch[0])), np.float32)
    for row, clip in zip(filled, batch, strict=True):
        row[: len(clip)] = clip
    return filled


def cpu_seconds(work: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    work(inputs[0])
    start = time.process_time()
    for each in inputs:
        work(each)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default=os.environ.get("VOCAFFECT_DATA"))
    samples = clips(parser.parse_args().data_root)
    torch.set_num_threads(1)
    frontend = FrontEnd({"mfcc": {"num_coefficients": 13, "num_mels": 40}})

    def ours(batch: list[NDArray[np.float32]]) -> FrontEndOutput:
        with torch.inference_mode():
            return frontend(torch.from_numpy(rows(batch)))[0]

    def theirs(batch: list[NDArray[np.float32]]) -> object:
        return librosa.feature.mfcc(y=rows(batch), sr=16_000, n_mfcc=13, n_mels=40, n_fft=400, hop_length=160)

    seconds = sum(map(len, samples)) / 16_000
    many, single = batches(samples, BATCH), batches(samples, 1)
    contestants = {
        f"vocaffect, {BATCH} clips at a time": (ours, many),
        "vocaffect, clip by clip": (ours, single),
        f"librosa, {BATCH} clips at a time": (theirs, many),
        "librosa, clip by clip": (theirs, single),
    }
    rounds = [[cpu_seconds(work, inputs) for work, inputs in contestants.values()] for _ in range(ROUNDS)]
    fastest = [min(column) for column in zip(*rounds, strict=True)]
    sounding = np.mean([float(ours([clip]).active.mean()) for clip in samples])
    print(f"{NUM_CLIPS} clips, {seconds:.0f} s of audio, CPU seconds, one thread, fastest of {ROUNDS} rounds")
    print(f"{sounding:.0%} of the frames sound")
    for name, each in zip(contestants, fastest, strict=True):
        print(f"{name:30} {each:6.2f} s {seconds / each:7.0f} x real time")
    print(f"ratio     {fastest[3] / fastest[1]:6.2f}     (target 3: both clip by clip)")
    print(f"both in batches {fastest[2] / fastest[0]:.2f}")


if __name__ == "__main__":
    main()
