"""A student that hears as speech comes: two causal layers learn to say what four layers say that hear the whole clip.

The teacher is the fourth layer of Moonshine base, which attends to all of a clip; the student has the same
convolutions, two layers that look back for a second, and a linear layer that guesses the teacher's vector of 96 ms
ago. It hears clips clean or spoiled (noise, rooms, lines, microphones) while the teacher hears them clean. It learns
from the vectors themselves and from their mean and deviation over the clip, which is what an emotion is told by; a
guess varies less than what is guessed, so these are compared on a scale that is learned too. No labels are used, and
no clip of RAVDESS: one student serves every fold of its protocols.

    python configs/students/live.py --data-root ~/corpora --output live.safetensors

Once: vocaffect encoders fetch moonshine-base.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rich
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn

from vocaffect.audio import read_pcm
from vocaffect.augment import AugmentOptions, apply, draw
from vocaffect.corpora import prepare
from vocaffect.datasets import trim_silence
from vocaffect.encoders import Encoder, build_encoder, load_pretrained
from vocaffect.encoders.causal import HOP, CausalMoonshine, load_causal
from vocaffect.pcm import from_pcm

ENCODER, TEACHER_LAYER, STUDENT_LAYERS = "moonshine-base", 4, 2
SECONDS = {"tess": 1500, "emodb": 1200, "nemo": 3200, "ased": 2800}
"""Of each corpus; what TESS has more is of the same two voices."""
SILENCE_DB, SHORTEST_S, LONGEST_S = -60.0, 0.5, 8.0
DELAY = 4
"""Frames that the student has heard beyond the one that it is to speak of."""
SPOILED_SHARE, LONGEST_FRAMES = 0.6, 130
BATCH, STEPS, RATE, WARMUP, REPORT = 16, 600, 3e-4, 50, 60
SPOILING = AugmentOptions(
    probability=0.35,
    probabilities={"noise_snr_db": 0.6, "telephone": 0.2, "codecs": 0.2},
    noise_snr_db=(3.0, 25.0),
    noises=("white", "pink"),
    tempo=None,
    pitch_semitones=None,
    shift_s=None,
    reverb_s=(0.1, 0.5),
    high_pass_hz=(50.0, 400.0),
    low_pass_hz=(2500.0, 7500.0),
    eq_db=(-6.0, 6.0),
    tilt_db=(-3.0, 3.0),
    telephone=True,
    codecs=("mu-law", "opus"),
)
"""Nothing that changes when things are said."""

Samples = NDArray[np.float32]


class Heard(NamedTuple):
    """A clip: the teacher's vectors, and of it clean and spoiled what goes into the first layer, and what sounds."""

    teacher: Tensor
    stems: tuple[Tensor, Tensor]
    active: tuple[Tensor, Tensor]


class Batch(NamedTuple):
    """What the student hears, what it is to say, and which frames count, ``(batch, num_frames, ...)`` each."""

    hidden: Tensor
    active: Tensor
    wanted: Tensor
    counts: Tensor


def draw_clips(data_root: Path) -> list[Samples]:
    """Some minutes of each corpus, drawn evenly, silence at their ends cut off."""
    rng, chosen = np.random.default_rng(0), []
    for corpus, seconds in SECONDS.items():
        manifest, total = prepare(corpus, data_root, partial=True), 0.0
        for index in rng.permutation(len(manifest)):
            if total > seconds:
                break
            samples = from_pcm(trim_silence(read_pcm(manifest.audio_path(manifest.utterances[index])), SILENCE_DB, 0))
            if SHORTEST_S <= (length := len(samples) / 16_000) <= LONGEST_S:
                chosen.append(samples[: len(samples) // HOP * HOP])
                total += length
    return chosen


def hear(clips: Sequence[Samples]) -> list[Heard]:
    """What the teacher says of clips, and what the student's layers begin with."""
    teacher = build_encoder(ENCODER, TEACHER_LAYER)
    load_pretrained(teacher, ENCODER)
    student = CausalMoonshine(num_layers=0)
    load_causal(student, ENCODER)
    found = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for number, samples in enumerate(track(clips, "hearing clips")):
            spoiled = apply(samples, draw(np.random.default_rng([1, number]), SPOILING))
            spoiled = np.pad(spoiled, (0, max(0, len(samples) - len(spoiled))))[: len(samples)]
            (clean, active), (other, loud) = _stem(student, samples), _stem(student, spoiled)
            found.append(Heard(_vectors(teacher, samples), (clean, other), (active, loud)))
    return found


def _frames(samples: Samples) -> tuple[Tensor, Tensor]:
    frames = torch.from_numpy(samples).reshape(1, -1, HOP)
    active = (frames.square().mean(-1, keepdim=True) > 10 ** (SILENCE_DB / 10)).float()
    return frames * active, active


def _stem(student: CausalMoonshine, samples: Samples) -> tuple[Tensor, Tensor]:
    frames, active = _frames(samples)
    return student.stem(frames, active, student.initial_state(1).stem)[0][0].bfloat16(), active[0]


def _vectors(teacher: Encoder, samples: Samples) -> Tensor:
    frames, active = _frames(samples)
    vectors: Tensor = teacher(frames.flatten(1), active[..., 0]).layers[TEACHER_LAYER]
    return vectors[0, : frames.shape[1]].bfloat16()


def statistics(vectors: Tensor, counts: Tensor) -> Tensor:
    """Mean and deviation over the frames that count, ``(batch, 2 * size)``."""
    total = counts.sum(1).clamp(min=1)
    mean = (vectors * counts).sum(1) / total
    variance = ((vectors - mean[:, None]) * counts).square().sum(1) / total
    return torch.cat([mean, (variance + 1e-4).sqrt()], -1)


class Targets:
    """How the teacher's vectors, and their statistics over clips, are standardised."""

    def __init__(self, clips: Sequence[Heard]) -> None:
        vectors = torch.cat([clip.teacher for clip in clips[::7]]).float()
        self.mean, self.deviation = vectors.mean(0), vectors.std(0)
        own = [statistics(self(clip.teacher)[None], clip.active[0][None]) for clip in clips[::3]]
        self.spread = torch.cat(own).std(0)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Standardised, in float32."""
        return (vectors.float() - self.mean) / self.deviation


class Student(nn.Module):
    """The layers that learn; the convolutions stay as they are."""

    def __init__(self, clips: Sequence[Heard], targets: Targets) -> None:
        super().__init__()
        self.encoder = CausalMoonshine(num_layers=STUDENT_LAYERS)
        load_causal(self.encoder, ENCODER)
        self.above = self._by_least_squares(clips, targets)
        self.scale, self.shift = map(nn.Parameter, self._of_statistics(clips, targets))
        self.encoder.requires_grad_(False)
        self.encoder.layers.requires_grad_(True)

    def forward(self, hidden: Tensor, active: Tensor) -> Tensor:
        """Guesses of the teacher's standardised vectors."""
        vectors, _ = self.encoder.attend(hidden, active, self.encoder.initial_state(len(hidden)))
        guessed: Tensor = self.above(vectors[-1])
        return guessed.float()

    @torch.no_grad()
    def _by_least_squares(self, clips: Sequence[Heard], targets: Targets) -> nn.Linear:
        rows, wanted = [], []
        for clip in clips[:: max(1, len(clips) // 150)]:
            hidden, active = clip.stems[0].float()[None], clip.active[0][None]
            vectors, _ = self.encoder.attend(hidden, active, self.encoder.initial_state(1))
            kept = active[0, DELAY:, 0] > 0
            rows.append(vectors[-1][0, DELAY:][kept])
            wanted.append(targets(clip.teacher[:-DELAY])[kept])
        inputs, outputs = torch.cat(rows), torch.cat(wanted)
        mean, centre = inputs.mean(0), outputs.mean(0)
        inputs = inputs - mean
        penalty = 1000 * torch.eye(inputs.shape[1])
        layer = nn.Linear(inputs.shape[1], outputs.shape[1])
        layer.weight.copy_(torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ (outputs - centre)).T)
        layer.bias.copy_(centre - layer.weight @ mean)
        return layer

    @torch.no_grad()
    def _of_statistics(self, clips: Sequence[Heard], targets: Targets) -> tuple[Tensor, Tensor]:
        """The line, for each statistic, from what is guessed to what the teacher has."""
        pairs = []
        for clip in clips[:: max(1, len(clips) // 150)]:
            hidden, active = clip.stems[0].float()[None], clip.active[0][None]
            guessed, counts = self(hidden, active)[:, DELAY:], active[:, DELAY:]
            pairs.append([statistics(one, counts)[0] for one in (guessed, targets(clip.teacher[None, :-DELAY]))])
        guesses, wanted = (torch.stack(rows) for rows in zip(*pairs, strict=True))
        apart, other = guesses - guesses.mean(0), wanted - wanted.mean(0)
        scale = (apart * other).mean(0) / (apart.square().mean(0) + 1e-3)
        return scale, wanted.mean(0) - scale * guesses.mean(0)


def batches(clips: Sequence[Heard], targets: Targets, rng: np.random.Generator) -> Iterator[Batch]:
    """Batches of clips of like length without end, longer clips cut at random."""
    lengths = np.minimum([len(clip.teacher) for clip in clips], LONGEST_FRAMES)
    while True:
        order = np.argsort(lengths + rng.uniform(-8, 8, len(clips)))
        groups = [order[start : start + BATCH] for start in range(0, len(order) - BATCH + 1, BATCH)]
        for group in rng.permutation(len(groups)):
            yield _batch([clips[index] for index in groups[group]], targets, rng)


def _batch(clips: Sequence[Heard], targets: Targets, rng: np.random.Generator) -> Batch:
    longest = min(LONGEST_FRAMES, max(len(clip.teacher) for clip in clips))
    size = clips[0].teacher.shape[1]
    made = Batch(*(torch.zeros(len(clips), longest, width) for width in (size, 1, size, 1)))
    for row, clip in enumerate(clips):
        take, start = int(rng.random() < SPOILED_SHARE), int(rng.integers(max(0, len(clip.teacher) - longest) + 1))
        stretch = slice(start, start + longest)
        hidden, active, clean = clip.stems[take][stretch], clip.active[take][stretch], clip.active[0][stretch]
        end = len(hidden)
        made.hidden[row, :end], made.active[row, :end] = hidden.float(), active
        made.wanted[row, DELAY:end] = targets(clip.teacher[stretch])[:-DELAY]
        made.counts[row, DELAY:end] = active[DELAY:] * clean[:-DELAY]
    return made


def learn(clips: Sequence[Heard], steps: int = STEPS) -> dict[str, Tensor]:
    """The student's weights, under the names of `CausalMoonshine`."""
    torch.manual_seed(0)
    targets = Targets(clips)
    student, losses = Student(clips, targets), list[tuple[float, float]]()
    learning = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learning, RATE, weight_decay=0.01)
    for step, batch in enumerate(islice(batches(clips, targets, np.random.default_rng(0)), steps), 1):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, step / WARMUP) * (1 + np.cos(np.pi * step / steps)) / 2
        with torch.autocast("cpu", torch.bfloat16):
            guessed = student(batch.hidden, batch.active)
        losses.append(descend(student, optimiser, guessed, batch.wanted, batch.counts, targets.spread))
        if step % REPORT == 0:
            frames, pooled = np.mean(losses[-REPORT:], axis=0)
            rich.print(
                f"{step} of {steps}: vectors {frames:.3f}, statistics {pooled:.3f} of their variance unexplained"
            )
    weights = {f"layers.{name}": tensor for name, tensor in student.encoder.layers.state_dict().items()}
    return weights | {f"above.{name}": tensor for name, tensor in student.above.state_dict().items()}


def descend(
    student: Any, optimiser: torch.optim.Optimizer, guessed: Tensor, wanted: Tensor, counts: Tensor, spread: Tensor
) -> tuple[float, float]:
    """One step towards the teacher's vectors ``(batch, num_frames, size)`` and their statistics; both losses."""
    frames = ((guessed - wanted).square() * counts).sum() / (counts.sum() * guessed.shape[-1])
    told = student.scale * statistics(guessed, counts) + student.shift
    pooled = ((told - statistics(wanted, counts)) / spread).square().mean()
    optimiser.zero_grad()
    (frames + pooled).backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    optimiser.step()
    return float(frames.detach()), float(pooled.detach())


def write(weights: Mapping[str, Tensor], path: Path, corpora: Iterable[str]) -> None:
    """Write a student in half precision, with the names of the corpora that it has learned from."""
    halves = {name: tensor.half().contiguous() for name, tensor in weights.items()}
    save_file(halves, path, {"corpora": " ".join(sorted(corpora))})


def main() -> None:
    """Hear the clips, learn, and write the student."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("live.safetensors"))
    given = parser.parse_args()
    write(learn(hear(draw_clips(given.data_root))), given.output, SECONDS)


if __name__ == "__main__":
    main()
