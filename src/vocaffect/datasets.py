"""Labelled clips as training reads them: decoded once, trimmed, augmented as a function of (seed, epoch, clip)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vocaffect.audio import read_pcm
from vocaffect.augment import AugmentOptions, Sounds, apply, draw, mixed
from vocaffect.manifest import Manifest
from vocaffect.pcm import FULL_SCALE, Pcm, from_pcm
from vocaffect.sampling import Place
from vocaffect.tar import tar_of
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

MIXING = 2
"""Keeps the draws of mixup apart from the others for the same clip."""


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
    label has, zeros for a clip without one; ``places (batch, 3)``: epoch, clip, and how often it came before.
    """

    samples: Tensor
    num_frames: Tensor
    targets: Tensor
    soft: Tensor
    shares: Tensor
    places: Tensor


class StoredClips(Sequence[NDArray[Any]]):
    """The clips of a manifest, each read when it is asked for: 16 bits a sample, or raw features.

    The arguments are those of `EmotionDataset`.
    """

    def __init__(
        self,
        manifest: Manifest,
        trim_db: float | None = None,
        margin_s: float = 0.1,
        raw: Callable[[str, Path], NDArray[np.float32]] | None = None,
    ) -> None:
        self.clips = [(utterance.sha256, manifest.audio_path(utterance)) for utterance in manifest.utterances]
        self.trim_db, self.margin_s, self.raw = trim_db, margin_s, raw

    def __len__(self) -> int:
        return len(self.clips)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        """One clip, ``(num_samples,)`` or ``(num_frames, num_raw)``."""
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        sound, path = self.clips[index]
        if self.raw is not None:
            return self.raw(sound, path)
        return trim_silence(read_pcm(path), self.trim_db, self.margin_s)


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
        others: the same of clips that are heard otherwise; each epoch takes the next, the first being ``raw``.
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
        others: Sequence[Callable[[str, Path], NDArray[np.float32]]] = (),
    ) -> None:
        self.augment, self.seed, self.crop_s, self.mixup_alpha = augment, seed, crop_s, mixup_alpha
        self.names = [utterance.path for utterance in manifest.utterances]
        self.corpora = [utterance.corpus for utterance in manifest.utterances]
        numbers = {label: number for number, label in enumerate(labels)}
        self.targets = [numbers.get(utterance.emotion, -1) for utterance in manifest.utterances]
        none = np.zeros((len(manifest), len(labels)), np.float32)
        self.soft = none if soft is None else soft
        self.teacher = teacher
        self.shares = none + (np.array(self.targets)[:, None] == np.arange(len(labels)))
        self.takes = [self.held(StoredClips(manifest, trim_db, margin_s, each)) for each in (raw, *others)]
        self.clips = self.takes[0]
        self.lengths = self.lengths_of(manifest)
        self.sounds = Sounds.of(augment, self.clips) if augment is not None else Sounds()

    def held(self, clips: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """The clips as the dataset holds them: all in memory."""
        return list(clips)

    def lengths_of(self, manifest: Manifest) -> list[int]:
        """The length of each clip in samples, by which clips of like length come together."""
        return [len(clip) for clip in self.clips]

    def __len__(self) -> int:
        return len(self.clips)

    def samples(self, index: int, epoch: int = 0) -> NDArray[np.float32]:
        """One clip as it is, ``(num_samples,)`` in [-1, 1]; its raw features, where those are kept."""
        clip = self.takes[epoch % len(self.takes)][index]
        return from_pcm(clip) if clip.ndim == 1 else clip.astype(np.float32, copy=False)

    def __getitem__(self, place: Place) -> Item:
        """One clip as an epoch hears it, its target, and what its teacher says."""
        samples = self._heard(place, np.random.default_rng([self.seed, *place]))
        soft, shares = self.soft[place.clip], self.shares[place.clip]
        if self.mixup_alpha:
            samples, soft, shares = self._mixed(samples, place)
        if self.teacher is not None:
            soft = self.teacher(samples)
        return Item(samples, self.targets[place.clip], soft, shares, place)

    def _heard(self, place: Place, rng: np.random.Generator) -> NDArray[np.float32]:
        samples = self.samples(place.clip, place.epoch)
        if self.augment is not None:
            samples = apply(samples, draw(rng, self.augment), self.sounds, place.clip)
        return samples if self.crop_s is None else crop(samples, seconds_to_samples(self.crop_s), rng)

    def _mixed(
        self, samples: NDArray[np.float32], place: Place
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The clip with another under it that has the smaller part of it, what their teacher says, and the shares."""
        rng = np.random.default_rng([self.seed, *place, MIXING])
        share, partner, at = rng.beta(self.mixup_alpha, self.mixup_alpha), int(rng.integers(len(self))), rng.random()
        samples, kept = mixed(samples, self._heard(place._replace(clip=partner), rng), max(share, 1 - share), at)
        soft, shares = (_blend(rows[place.clip], rows[partner], kept) for rows in (self.soft, self.shares))
        return samples, soft, shares


class StreamingEmotionDataset(EmotionDataset):
    """The clips of a manifest, read from shards or files when a batch needs them: memory holds a few batches.

    Clips sound exactly as those of `EmotionDataset` do. With `vocaffect.sampling.StreamSampler` they are read shard by
    shard. Where a run stands is a value, (epoch, batch), from which reading goes on at once; which worker or
    process reads a clip makes no difference to what is heard.
    """

    def held(self, clips: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        """The clips as the dataset holds them: on the disk."""
        return clips

    def lengths_of(self, manifest: Manifest) -> list[int]:
        """The length of each clip in samples, as the manifest tells it, silence at its ends included."""
        return [round(utterance.duration_s * SAMPLE_RATE) for utterance in manifest.utterances]

    @property
    def shards(self) -> list[str]:
        """The shard that each clip lies in, or the folder of its file."""
        return [name.partition(".tar/")[0] if ".tar/" in name else str(Path(name).parent) for name in self.names]


def dataset_class(manifest: Manifest) -> type[EmotionDataset]:
    """How the clips of a manifest are held: on the disk, where they lie in shards, and in memory otherwise."""
    packed = any(tar_of(manifest.audio_path(utterance)) for utterance in manifest.utterances[:1])
    return StreamingEmotionDataset if packed else EmotionDataset


def _blend(own: NDArray[np.float32], other: NDArray[np.float32], kept: float) -> NDArray[np.float32]:
    """What two clips are together; nothing, where one of them is of nothing known."""
    if kept == 1:
        return own
    blended: NDArray[np.float32] = np.float32(kept) * own + np.float32(1 - kept) * other
    return blended * np.float32(own.any() and other.any())


def collate(items: Sequence[Item], hop: int = 160) -> Batch:
    """Clips of several lengths as one `Batch`; what a frame decides about a clip does not change by what follows.

    ``hop`` is the samples from frame to frame; raw features have a row for each frame.
    """
    hop = hop if items[0].samples.ndim == 1 else 1
    longest = max(len(item.samples) for item in items)
    padded = torch.zeros(len(items), -(-longest // hop) * hop, *items[0].samples.shape[1:])
    for row, item in zip(padded, items, strict=True):
        row[: len(item.samples)] = torch.from_numpy(item.samples)
    num_frames = torch.tensor([max(len(item.samples) // hop, 1) for item in items])
    targets, places = (torch.tensor([getattr(item, name) for item in items]) for name in ("target", "place"))
    soft, shares = (torch.from_numpy(np.stack([getattr(item, name) for item in items])) for name in ("soft", "shares"))
    return Batch(padded, num_frames, targets, soft, shares, places)


def trim_silence(samples: Pcm, below_db: float | None, margin_s: float) -> Pcm:
    """The clip from shortly before its first frame above a level to shortly after its last.

    All of it if no frame is above the level, or there is none to be above.
    """
    if below_db is None:
        return samples
    size = seconds_to_samples(0.010)
    frames = samples[: len(samples) // size * size].reshape(-1, size) / FULL_SCALE
    loud = np.flatnonzero(10 * np.log10(np.square(frames).mean(axis=1) + 1e-12) > below_db)
    if not len(loud):
        return samples
    margin = round(margin_s * SAMPLE_RATE)
    return samples[max(0, int(loud[0]) * size - margin) : (int(loud[-1]) + 1) * size + margin]


def crop(samples: NDArray[np.float32], num_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random stretch of ``num_samples``; a shorter clip stays whole."""
    start = int(rng.integers(max(len(samples) - num_samples, 0) + 1))
    return samples[start : start + num_samples]
