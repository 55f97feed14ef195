"""Labelled clips as training reads them: decoded once, trimmed, augmented as a function of (seed, epoch, clip)."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from vocaffect.audio import read_clip
from vocaffect.augment import AugmentOptions, Sounds, apply, draw, mixed
from vocaffect.errors import VocaffectError
from vocaffect.manifest import Manifest
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

FULL_SCALE = 32767.0
MIXING = 2
"""Keeps the draws of mixup apart from the others for the same clip."""


class Place(NamedTuple):
    """Which clip, and in which epoch; what augmentation draws depends on nothing else but the seed."""

    epoch: int
    clip: int


class Item(NamedTuple):
    """One clip of a `Batch`: ``(num_samples,)``, its target, a teacher's posterior, the target's shares, its place."""

    samples: NDArray[np.float32]
    target: int
    soft: NDArray[np.float32]
    shares: NDArray[np.float32]
    place: Place


class Batch(NamedTuple):
    """Clips side by side.

    ``samples (batch, num_samples)``: whole hops, zeros after a clip's end, or raw features ``(batch, num_frames,
    num_raw)`` in their place, as `vocaffect.features.FrontEnd` takes either; ``num_frames (batch,)``: the clip's own;
    ``targets (batch,)``, -1 for a clip without a label; ``soft (batch, num_labels)``: the posterior that a teacher
    gives the clip, zeros where no teacher has heard it; ``shares (batch, num_labels)``: what part of the target each
    label has, zeros for a clip without one; ``places (batch, 2)``: epoch and clip.
    """

    samples: Tensor
    num_frames: Tensor
    targets: Tensor
    soft: Tensor
    shares: Tensor
    places: Tensor


class EmotionDataset(Dataset[Item]):
    """The clips of a manifest in memory (16 bits a sample), indexed by `Place`.

    Args:
        manifest: the clips; those whose emotion is not in ``labels`` have the target -1.
        labels: the classes in order.
        augment: what may happen to a clip; ``None`` for nothing.
        seed: of augmentation and cropping.
        trim_db: clips lose what lies before and after the frames above this level in dBFS; ``None`` keeps it.
        margin_s: seconds left before and after.
        crop_s: give a random stretch of at most this length.
        soft: a teacher's posteriors, ``(num_clips, num_labels)``, rows of zeros for clips that none has heard.
        mixup_alpha: mix each clip with another, in parts drawn from a beta distribution of this; 0 for none.
        teacher: who is asked about every clip as an epoch hears it, ``(num_samples,)`` to ``(num_labels,)``.
        raw: gives, for a clip's SHA-256 and file, what `vocaffect.features.FrontEnd.raw` says of it. It is kept in
            place of the samples, and can be neither augmented nor cropped.
    """

    def __init__(
        self,
        manifest: Manifest,
        labels: Sequence[str],
        augment: AugmentOptions | None = None,
        seed: int = 0,
        trim_db: float | None = None,
        margin_s: float = 0.1,
        crop_s: float | None = None,
        soft: NDArray[np.float32] | None = None,
        mixup_alpha: float = 0.0,
        teacher: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
        raw: Callable[[str, Path], NDArray[np.float32]] | None = None,
    ) -> None:
        self.augment, self.seed, self.crop_s, self.mixup_alpha = augment, seed, crop_s, mixup_alpha
        self.names = [utterance.path for utterance in manifest.utterances]
        numbers = {label: number for number, label in enumerate(labels)}
        self.targets = [numbers.get(utterance.emotion, -1) for utterance in manifest.utterances]
        none = np.zeros((len(manifest), len(labels)), np.float32)
        self.soft = none if soft is None else soft
        self.teacher = teacher
        self.shares = none + (np.array(self.targets)[:, None] == np.arange(len(labels)))
        self.clips: list[NDArray[Any]] = []
        for utterance in manifest.utterances:
            path = manifest.audio_path(utterance)
            kept = to_int16(read_clip(path).samples, trim_db, margin_s) if raw is None else raw(utterance.sha256, path)
            self.clips.append(kept)
        self.sounds = Sounds.of(augment, self.clips) if augment is not None else Sounds()

    def __len__(self) -> int:
        return len(self.clips)

    def samples(self, index: int) -> NDArray[np.float32]:
        """One clip as it is, ``(num_samples,)`` in [-1, 1]; its raw features, where those are kept."""
        clip = self.clips[index]
        return to_float32(clip) if clip.ndim == 1 else clip.astype(np.float32, copy=False)

    def __getitem__(self, place: Place) -> Item:
        """One clip as an epoch hears it, its target, and what its teacher says."""
        samples = self._heard(place.clip, np.random.default_rng([self.seed, *place]))
        soft, shares = self.soft[place.clip], self.shares[place.clip]
        if self.mixup_alpha:
            samples, soft, shares = self._mixed(samples, place)
        if self.teacher is not None:
            soft = self.teacher(samples)
        return Item(samples, self.targets[place.clip], soft, shares, place)

    def _heard(self, clip: int, rng: np.random.Generator) -> NDArray[np.float32]:
        samples = self.samples(clip)
        if self.augment is not None:
            samples = apply(samples, draw(rng, self.augment), self.sounds, clip)
        return samples if self.crop_s is None else crop(samples, seconds_to_samples(self.crop_s), rng)

    def _mixed(
        self, samples: NDArray[np.float32], place: Place
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The clip with another under it that has the smaller part of it, what their teacher says, and the shares."""
        rng = np.random.default_rng([self.seed, *place, MIXING])
        share, partner, at = rng.beta(self.mixup_alpha, self.mixup_alpha), int(rng.integers(len(self))), rng.random()
        samples, kept = mixed(samples, self._heard(partner, rng), max(share, 1 - share), at)
        soft, shares = (_blend(rows[place.clip], rows[partner], kept) for rows in (self.soft, self.shares))
        return samples, soft, shares


def _blend(own: NDArray[np.float32], other: NDArray[np.float32], kept: float) -> NDArray[np.float32]:
    """What two clips are together; nothing, where one of them is of nothing known."""
    if kept == 1:
        return own
    blended: NDArray[np.float32] = np.float32(kept) * own + np.float32(1 - kept) * other
    return blended * np.float32(own.any() and other.any())


class BucketSampler(Sampler[list[Place]]):
    """Batches of clips of similar length, in an order that is a function of (seed, epoch).

    Clips are shuffled, sorted by length within pools of about ``pool`` batches, cut into batches, and the batches
    shuffled: little padding, and much of the randomness. Without ``shuffle``, clips come sorted by length. Pools and
    batches are cut evenly, so no batch is a small rest.

    Attributes:
        epoch: whose batches come next.
        start: how many of them are left out, as they were learned from before.

    Args:
        lengths: of the clips, in samples.
        batch_size: the most clips of a batch, over all processes.
        seed: of the order.
        shuffle: whether the order is random.
        pool: batches that are sorted together.
        share: this process' number and how many there are: each gets a part of every batch.

    Raises:
        VocaffectError: if batches have fewer clips than there are processes.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        pool: int = 10,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.lengths, self.batch_size, self.seed, self.shuffle = np.asarray(lengths), batch_size, seed, shuffle
        self.pool_size = batch_size * pool if shuffle else max(len(lengths), 1)
        self.share, self.epoch, self.start = share, 0, 0
        smallest = min(map(len, self._batches(np.arange(len(lengths)))), default=0)
        if 0 < smallest < share[1]:
            raise VocaffectError(
                f"a batch of {smallest} clips cannot be shared by {share[1]} processes: "
                f"set training.batch_size to {2 * share[1]} at least, or start fewer processes"
            )

    def __len__(self) -> int:
        return len(self._batches(np.arange(len(self.lengths))))

    def __iter__(self) -> Iterator[list[Place]]:
        rng = np.random.default_rng([self.seed, self.epoch, len(self.lengths)])
        count, (rank, world) = len(self.lengths), self.share
        batches = self._batches(rng.permutation(count) if self.shuffle else np.arange(count))
        turns = rng.permutation(len(batches)) if self.shuffle else np.arange(len(batches))
        for turn in turns[self.start :]:
            yield [Place(self.epoch, int(index)) for index in batches[turn][rank::world]]

    def _batches(self, order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        sorted_ = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in evenly(order, self.pool_size)]
        return [batch for pool in sorted_ for batch in evenly(pool, self.batch_size)]


def evenly(order: NDArray[np.intp], most: int) -> list[NDArray[np.intp]]:
    """Cut into as few parts of at most ``most`` as will do, whose sizes differ by one at most."""
    return np.array_split(order, -(-len(order) // most)) if len(order) else []


def collate(items: Sequence[Item], hop: int = 160) -> Batch:
    """Clips of several lengths as one `Batch`; what a frame decides about a clip does not change by what follows."""
    hop = hop if items[0].samples.ndim == 1 else 1
    longest = max(len(item.samples) for item in items)
    padded = torch.zeros(len(items), -(-longest // hop) * hop, *items[0].samples.shape[1:])
    for row, item in zip(padded, items, strict=True):
        row[: len(item.samples)] = torch.from_numpy(item.samples)
    num_frames = torch.tensor([max(len(item.samples) // hop, 1) for item in items])
    targets, places = (torch.tensor([getattr(item, name) for item in items]) for name in ("target", "place"))
    soft, shares = (torch.from_numpy(np.stack([getattr(item, name) for item in items])) for name in ("soft", "shares"))
    return Batch(padded, num_frames, targets, soft, shares, places)


def to_int16(samples: NDArray[np.float32], trim_db: float | None, margin_s: float) -> NDArray[np.int16]:
    """A clip as training keeps it: trimmed, if ``trim_db`` says so, and in 16 bits."""
    if trim_db is not None:
        samples = trim_silence(samples, trim_db, margin_s)
    return np.rint(samples.clip(-1, 1) * FULL_SCALE).astype(np.int16)


def to_float32(kept: NDArray[np.int16]) -> NDArray[np.float32]:
    """A clip that is kept in 16 bits as training hears it."""
    return kept.astype(np.float32) / np.float32(FULL_SCALE)


def trim_silence(samples: NDArray[np.float32], below_db: float, margin_s: float) -> NDArray[np.float32]:
    """The clip from shortly before its first frame above a level to shortly after its last; all of it if none is."""
    size = seconds_to_samples(0.010)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64)
    loud = np.flatnonzero(10 * np.log10(np.square(frames).mean(axis=1) + 1e-12) > below_db)
    if not len(loud):
        return samples
    margin = round(margin_s * SAMPLE_RATE)
    return samples[max(0, int(loud[0]) * size - margin) : (int(loud[-1]) + 1) * size + margin]


def crop(samples: NDArray[np.float32], num_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random stretch of ``num_samples``; a shorter clip stays whole."""
    start = int(rng.integers(max(len(samples) - num_samples, 0) + 1))
    return samples[start : start + num_samples]
