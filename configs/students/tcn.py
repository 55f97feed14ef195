"""Temporal convolutions learn from a speech encoder what it hears: a network without any pretrained weight of its own.

The teacher is the fourth layer of Moonshine base, which attends to all of a clip. The student begins with random
weights, hears mel bands as they come, and guesses the teacher's standardised vector of 96 ms ago; it learns from the
vectors themselves and from their mean and deviation over the clip, which is what an emotion is told by. Each clip
comes in several takes: as it is, and at other speeds, which makes other voices of it for both, spoiled by noise, rooms,
lines, levels and microphones for the student alone. No labels are used, and no clip of RAVDESS: one student serves
every fold of its protocols.

    python configs/students/tcn.py --data-root ~/corpora --output tcn.safetensors

Once: vocaffect encoders fetch moonshine-base.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import live
import numpy as np
import rich
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from vocaffect.audio import read_pcm
from vocaffect.augment import AugmentOptions, apply, draw
from vocaffect.corpora import prepare
from vocaffect.datasets import trim_silence
from vocaffect.encoders import Encoder, build_encoder, load_pretrained
from vocaffect.features import FrontEnd
from vocaffect.models.tcn import Blocks
from vocaffect.pcm import from_pcm

ENCODER, LAYER, SIZE, STRIDE = "moonshine-base", 4, 416, 384
SHARES = {"tess": 0.5, "emodb": 1.0, "nemo": 1.0, "ased": 1.0}
"""Of each corpus' clips, what an epoch hears; what TESS has more is of the same two voices."""
FRONT_END = {"win_s": 0.024, "hop_s": 0.012, "silence_db": -72.0, "level_prior_s": 0.5, "reference_db": -45.0}
NUM_MELS, PER_FRAME = 80, 2
"""Mel bands, and how many frames of them come to one of the teacher's."""
CHANNELS, NUM_BLOCKS, CYCLE = 256, 12, 6
SILENCE_DB, MARGIN_S, LONGEST_S = -60.0, 0.1, 8.0
DELAY = 4
"""Frames of the teacher that the student has heard beyond the one that it is to speak of."""
TAKES, EPOCHS, BATCH, LONGEST, RATE, WARMUP, REPORT = 4, 8, 32, 130, 1e-3, 200, 100
NOTHING = AugmentOptions(probability=0.0)
OTHER_VOICES = AugmentOptions(
    probability=0.8,
    noise_snr_db=None,
    gain_db=None,
    tempo=None,
    pitch_semitones=None,
    shift_s=None,
    speed=(0.82, 1.22),
)
SPOILING = replace(
    live.SPOILING,
    probabilities={"noise_snr_db": 0.4, "gain_db": 0.8, "telephone": 0.15},
    noise_snr_db=(3.0, 30.0),
    gain_db=(-15.0, 15.0),
    codecs=(),
)
"""Nothing that changes when things are said."""

Samples = NDArray[np.float32]


class Clip(NamedTuple):
    """A corpus, and a clip of it in 16 bits, silence at its ends cut off."""

    corpus: str
    stored: NDArray[np.int16]


class Heard(NamedTuple):
    """A take: the student's raw features, and the teacher's vectors with what sounds to it behind them, float16."""

    features: NDArray[np.float16]
    vectors: NDArray[np.float16]


class Batch(NamedTuple):
    """What the student hears, what it is to say, and which of the teacher's frames count."""

    features: Tensor
    wanted: Tensor
    counts: Tensor


def read_clips(data_root: Path) -> list[Clip]:
    """The clips of all corpora."""
    found = []
    for corpus in SHARES:
        manifest = prepare(corpus, data_root, partial=True)
        for utterance in track(manifest.utterances, f"reading {corpus}"):
            stored = trim_silence(read_pcm(manifest.audio_path(utterance)), SILENCE_DB, MARGIN_S)
            found.append(Clip(corpus, stored[: int(LONGEST_S * 16_000)]))
    return found


@cache
def _teacher() -> Encoder:
    torch.set_num_threads(1)
    teacher = build_encoder(ENCODER, LAYER)
    load_pretrained(teacher, ENCODER)
    return teacher.eval()


@cache
def _front_end() -> FrontEnd:
    return FrontEnd({"mel": {"num_mels": NUM_MELS}}, **FRONT_END)


def _filled(samples: Samples, size: int) -> Samples:
    return np.pad(samples, (0, max(0, size - len(samples))))[:size].astype(np.float32)


@torch.inference_mode()
def hear(take: int, numbered: tuple[int, Clip]) -> Heard:
    """One take of a clip; the first is the clip as it is."""
    number, clip = numbered
    samples = apply(
        from_pcm(clip.stored), draw(np.random.default_rng([7, take, number]), OTHER_VOICES if take else NOTHING)
    )
    size = max(1, len(samples) // STRIDE) * STRIDE
    samples = _filled(samples, size)
    spoiled = apply(samples, draw(np.random.default_rng([8, take, number]), SPOILING if take else NOTHING))
    frames = torch.from_numpy(samples).reshape(1, -1, STRIDE)
    active = (frames.square().mean(-1) > 10 ** ((SILENCE_DB - 10) / 10)).float()
    with torch.autocast("cpu", torch.bfloat16):
        vectors = _teacher()((frames * active[..., None]).flatten(1), active).layers[LAYER][0, : frames.shape[1]]
    features = _front_end().raw(torch.from_numpy(_filled(spoiled, size))[None])[0]
    return Heard(features.half().numpy(), torch.cat([vectors.float(), active[0, :, None]], 1).half().numpy())


def hear_all(clips: Sequence[Clip], workers: int) -> list[list[Heard]]:
    """Every take of every clip, take by take."""
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        return [
            list(
                track(
                    pool.map(partial(hear, take), enumerate(clips), chunksize=16),
                    f"hearing take {take + 1} of {TAKES}",
                    len(clips),
                )
            )
            for take in range(TAKES)
        ]


class Standard(NamedTuple):
    """Mean and deviation of what sounds."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, parts: Sequence[NDArray[np.float16]]) -> "Standard":
        """Of vectors with what sounds behind them."""
        rows = torch.from_numpy(np.concatenate(parts)).float()
        kept = rows[rows[:, -1] > 0, :-1]
        return cls(kept.mean(0), kept.std(0) + 1e-3)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Standardised."""
        return (vectors - self.mean) / self.deviation


class Student(nn.Module):
    """The blocks, and what is there for learning alone: a guess of the teacher's vectors, and of their statistics."""

    def __init__(self, features: Standard) -> None:
        super().__init__()
        self.encoder = Blocks(NUM_MELS, CHANNELS, NUM_BLOCKS, CYCLE, kernel_size=3, dropout=0.0)
        self.encoder.mean.copy_(features.mean)
        self.encoder.deviation.copy_(features.deviation)
        self.above = nn.Linear(CHANNELS, SIZE)
        self.scale, self.shift = nn.Parameter(torch.ones(2 * SIZE)), nn.Parameter(torch.zeros(2 * SIZE))

    def forward(self, raw: Tensor) -> Tensor:
        """Raw features ``(batch, num_frames, NUM_MELS + 1)`` to guesses, one for each of the teacher's frames."""
        features, active = raw[..., :-1] * raw[..., -1:], raw[..., -1:]
        given, _ = self.encoder(features, active, self.encoder.initial_state(len(raw)))
        guessed: Tensor = self.above(given[-1][:, PER_FRAME - 1 :: PER_FRAME])
        return guessed.float()


def batches(
    clips: Sequence[Clip], takes: Sequence[Sequence[Heard]], standard: Standard, rng: np.random.Generator
) -> Iterator[Batch]:
    """An epoch: a take of each clip that it hears, batches of clips of like length, longer clips cut at random."""
    chosen = [number for number, clip in enumerate(clips) if rng.random() < SHARES[clip.corpus]]
    heard = [
        takes[take][number] for number, take in zip(chosen, rng.integers(len(takes), size=len(chosen)), strict=True)
    ]
    lengths = np.minimum([len(one.vectors) for one in heard], LONGEST)
    order = np.argsort(lengths + rng.uniform(-8, 8, len(lengths)))
    groups = [order[start : start + BATCH] for start in range(0, len(order) - BATCH + 1, BATCH)]
    for group in rng.permutation(len(groups)):
        yield _batch([heard[index] for index in groups[group]], standard, rng)


def _batch(heard: Sequence[Heard], standard: Standard, rng: np.random.Generator) -> Batch:
    longest = min(LONGEST, max(len(one.vectors) for one in heard))
    features = torch.zeros(len(heard), PER_FRAME * longest, NUM_MELS + 1)
    vectors = torch.zeros(len(heard), longest, SIZE + 1)
    for row, one in enumerate(heard):
        start = int(rng.integers(max(0, len(one.vectors) - longest) + 1))
        stretch = one.vectors[start : start + longest]
        vectors[row, : len(stretch)] = torch.from_numpy(stretch).float()
        begin, end = PER_FRAME * start, PER_FRAME * (start + len(stretch))
        features[row, : end - begin] = torch.from_numpy(one.features[begin:end]).float()
    return Batch(features, standard(vectors[..., :-1])[:, :-DELAY], vectors[:, :-DELAY, -1:])


def learn(clips: Sequence[Clip], takes: Sequence[Sequence[Heard]], epochs: int = EPOCHS) -> dict[str, Tensor]:
    """The student's weights, under the names of `vocaffect.models.tcn.Blocks`."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    teacher = Standard.of([one.vectors for one in takes[0][::5]])
    student = Student(Standard.of([one.features for one in takes[0][::5]]))
    own = [torch.from_numpy(one.vectors).float()[None] for one in takes[0][::7]]
    spread = torch.cat([live.statistics(teacher(each[..., :-1]), each[..., -1:]) for each in own]).std(0)
    groups = [[each for each in student.parameters() if (each.dim() > 1) == wide] for wide in (True, False)]
    options = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (0.02, 0.0), strict=True)]
    optimiser = torch.optim.AdamW(options, RATE)
    steps = epochs * int(sum(SHARES[clip.corpus] for clip in clips) // BATCH)
    losses: list[tuple[float, float]] = []
    for _ in range(epochs):
        for batch in batches(clips, takes, teacher, rng):
            for group in optimiser.param_groups:
                done = min(len(losses) / steps, 1.0)
                group["lr"] = RATE * min(1, len(losses) / WARMUP) * (1 + np.cos(np.pi * done)) / 2
            with torch.autocast("cpu", torch.bfloat16):
                guessed = student(batch.features)[:, DELAY:]
            losses.append(live.descend(student, optimiser, guessed, batch.wanted, batch.counts, spread))
            if len(losses) % REPORT == 0:
                frames, pooled = np.mean(losses[-REPORT:], axis=0)
                rich.print(f"{len(losses)} of {steps}: of vectors {frames:.3f}, of statistics {pooled:.3f} unexplained")
    return student.encoder.state_dict()


def main() -> None:
    """Read the clips, hear them, learn, and write the student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("tcn.safetensors"))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    clips = read_clips(given.data_root)
    live.write(learn(clips, hear_all(clips, given.workers)), given.output, SHARES)


if __name__ == "__main__":
    main()
