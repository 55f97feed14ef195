"""The front end: samples in, normalised features and a silence mask out, with an explicit state."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.features.base import Frames
from vocaffect.features.deltas import Deltas
from vocaffect.features.framing import Framing
from vocaffect.features.level import Level, Loudness
from vocaffect.features.plain import PlainFeature
from vocaffect.features.registry import build_feature
from vocaffect.features.spectrum import PowerSpectrum
from vocaffect.features.waveform import Waveform
from vocaffect.pcm import FULL_SCALE
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

LOT = 24
"""Frames are computed in whole lots, as a matrix product rounds by how many rows are left over: so what sounds later
changes no bit of what was heard before. A multiple of the rows that any processor's kernels take at once."""

MAX_FRAMES = 33 * LOT
"""A processor computes no more frames than this at once, unless a feature must see a whole signal: memory beyond a few
MB goes back to the system after every operation, and taking it anew costs as much as the arithmetic."""


class FrontEndState(NamedTuple):
    """Samples not yet framed, the level heard so far, and the frames that deltas look back on."""

    remainder: Tensor
    level: Tensor
    past: Tensor


class FrontEndOutput(NamedTuple):
    """``features (batch, num_frames, num_features)``, and ``active (batch, num_frames, 1)``: 0 where silent."""

    features: Tensor
    active: Tensor


class OwnStatistics(NamedTuple):
    """What training knows of its clips: each one's group, and mean and deviation ``(num_groups, width)`` of those."""

    group: Tensor
    mean: Tensor
    deviation: Tensor


class FrontEnd(nn.Module):
    """Everything between samples and the model, for training, testing and serving alike.

    Samples are framed causally, silent frames marked, levels brought to a reference; the named features are
    computed and concatenated, standardised by the corpus' mean and deviation (buffers, see `fit`), silenced where
    silent, and given deltas.

    Args:
        features: names with their parameters, such as ``{"mfcc": {"num_coefficients": 13}}``.
        win_s: a frame's length in seconds.
        hop_s: the time between frames in seconds.
        deltas: 0 for none, 1 for deltas, 2 for deltas of deltas too.
        silence_db: level in dBFS below which a frame is silent.
        level_prior_s: weight in seconds of the reference level; ``None`` leaves levels alone.
        reference_db: level in dBFS that the voice is brought to.
        standardise: by the corpus' mean and deviation; else features stay as they are, but for silence.

    Raises:
        VocaffectError: for an unknown feature or parameter.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        features: Mapping[str, Mapping[str, Any]],
        win_s: float = 0.025,
        hop_s: float = 0.010,
        deltas: int = 0,
        silence_db: float = -60.0,
        level_prior_s: float | None = 1.0,
        reference_db: float = -35.0,
        standardise: bool = True,
    ) -> None:
        super().__init__()
        win, self.hop = seconds_to_samples(win_s), seconds_to_samples(hop_s)
        self.framing = Framing(win, self.hop)
        self.level = Level(silence_db, reference_db, level_prior_s, SAMPLE_RATE / self.hop)
        self.spectrum = PowerSpectrum(win)
        shape = {"sample_rate": SAMPLE_RATE, "win": win, "hop": self.hop}
        parts = [build_feature(name, **shape, **given) for name, given in features.items()]
        self.parts = nn.ModuleList(parts)
        self.streaming: Literal["frame", "window"] = "frame"
        if any(part.streaming == "window" for part in parts):
            self.streaming = "window"
        self.plain_names = [part.name for part in parts if isinstance(part, PlainFeature)]
        width = sum(part.num_features for part in parts)
        self.standardise = standardise
        self._as_is = [not (standardise and part.standardised) for part in parts for _ in range(part.num_features)]
        self.deltas = Deltas(width, deltas)
        self.num_features = self.deltas.num_features
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.own: OwnStatistics | None = None

    @property
    def is_waveform(self) -> bool:
        """Whether the features of a frame are the samples of its hop and nothing else."""
        return [type(part) for part in self.parts] == [Waveform] and self.num_features == self.hop

    def initial_state(self, batch: int) -> FrontEndState:
        """All zeros."""
        return FrontEndState(
            self.framing.initial_state(batch),
            self.level.initial_state(batch),
            self.deltas.initial_state(batch),
        )

    def forward(
        self, samples: Tensor, state: FrontEndState | None = None, clips: Tensor | None = None
    ) -> tuple[FrontEndOutput, FrontEndState]:
        """Samples ``(batch, num_samples)`` in [-1, 1] at 16 kHz to features; ``num_frames = num_samples // hop``.

        In place of a clip's samples, what `raw` says of it will do, ``(batch, num_frames, num_raw)``. ``clips
        (batch,)`` tells, in training, which of the clips of `fit` these are.
        """
        if samples.dim() == 3:
            return self._from_raw(samples, clips)
        remainder, level_state, past = state if state is not None else (None, None, None)
        raw, active, remainder, level_state = self._raw(samples, remainder, level_state)
        mean, deviation = self._statistics(clips)
        standardised = (raw - mean).div_(deviation).mul_(active)
        values, past = self.deltas(standardised, past)
        return FrontEndOutput(values, active), FrontEndState(remainder, level_state, past)

    def raw(self, samples: Tensor) -> Tensor:
        """What does not depend on the corpus' statistics, ``(batch, num_frames, num_raw)``: it can be kept.

        Features before they are standardised and given deltas, and in the last column whether the frame is active; what
        stands there for silent frames is never heard. Samples may have 16 bits, as clips are kept.
        """
        raw, active, *_ = self._raw(samples, None, None)
        return torch.cat([raw, active], dim=-1)

    def _from_raw(self, raw: Tensor, clips: Tensor | None) -> tuple[FrontEndOutput, FrontEndState]:
        (features, active), (mean, deviation) = (raw[..., :-1], raw[..., -1:]), self._statistics(clips)
        values, past = self.deltas((features - mean) / deviation * active)
        return FrontEndOutput(values, active), self.initial_state(len(raw))._replace(past=past)

    def _raw(
        self, samples: Tensor, remainder: Tensor | None, level_state: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        buffer = self.framing.joined(samples, remainder)
        if not buffer.is_floating_point():
            buffer = buffer.float().mul_(1 / FULL_SCALE)
        frames = self.framing.frames(buffer)
        loudness, level_state = self.level(self.framing.mean_square(buffer, frames), level_state)
        if torch.compiler.is_exporting():
            raw = self._features(Frames(frames, self.spectrum.of_signal(buffer, self.hop), loudness.level))
        else:
            raw = self._of_sounding(frames, loudness)
        return raw, loudness.active, self.framing.rest(buffer), level_state

    def _of_sounding(self, frames: Tensor, loudness: Loudness) -> Tensor:
        """Features from the first frame that sounds to the last; the others are zeros, since they are masked anyway."""
        num_frames, level = frames.shape[1], loudness.level
        if not frames.is_cpu or self.streaming == "window" or num_frames < LOT:
            return self._in_pieces(frames, level)
        sounding = loudness.active.amax(dim=(0, 2)).nonzero()
        if len(sounding) == 0:
            return frames.new_zeros(*frames.shape[:2], len(self.mean))
        first, last = int(sounding[0]), int(sounding[-1])
        end = first + -(-(last + 1 - first) // LOT) * LOT
        frames, level = frames[:, first:end], level[:, first:end]
        if end > num_frames:
            frames, level = (nn.functional.pad(each, (0, 0, 0, end - num_frames)) for each in (frames, level))
        return nn.functional.pad(self._in_pieces(frames, level), (0, 0, first, num_frames - end))

    def _in_pieces(self, frames: Tensor, level: Tensor) -> Tensor:
        size = max(MAX_FRAMES // len(frames), 1)
        if frames.shape[1] <= size or not frames.is_cpu or self.streaming == "window":
            return self._features(Frames(frames, self.spectrum(frames), level))
        pieces = zip(torch.split(frames, size, dim=1), torch.split(level, size, dim=1), strict=True)
        return torch.cat([self._features(Frames(some, self.spectrum(some), loud)) for some, loud in pieces], dim=1)

    def _features(self, frames: Frames) -> Tensor:
        parts = [part(frames) for part in self.parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    @torch.no_grad()
    def fit(self, clips: Iterable[Tensor], groups: Sequence[int] = (), pooled: Collection[int] = ()) -> None:
        """Set mean and deviation from the active frames of the training side's clips.

        Args:
            clips: each ``(num_samples,)``, or what `raw` says of it, ``(num_frames, num_raw)``.
            groups: which group each clip is of; `forward` then standardises clips that it knows by their own group's
                mean and deviation, and all else by those of the pooled groups.
            pooled: the groups whose clips count for whoever is of none; all, if none is named.
        """
        sums = torch.zeros(max(groups, default=0) + 1, 1 + 2 * len(self.mean), dtype=torch.double).to(self.mean.device)
        for clip, group in zip(clips, groups or repeat(0), strict=bool(groups)):
            raw = self.raw(clip[None].to(self.mean))[0] if clip.dim() == 1 else clip.to(self.mean)
            kept = raw[raw[:, -1] > 0, :-1].double()
            sums[group] += torch.cat([kept.new_tensor([len(kept)]), kept.sum(0), kept.square().sum(0)])
        everybody = (sums[sorted(pooled)] if pooled else sums).sum(0)
        if everybody[0]:
            for buffer, value in zip((self.mean, self.deviation), self._moments(everybody), strict=True):
                buffer.copy_(value)
        if groups:
            means, deviations = zip(*map(self._moments, sums), strict=True)
            own = torch.stack(means).to(self.mean), torch.stack(deviations).to(self.mean)
            self.own = OwnStatistics(torch.tensor(groups), *own)

    def _statistics(self, clips: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and deviation for everybody ``(width,)``, or for clips whose group is known ``(batch, 1, width)``."""
        if clips is None or self.own is None:
            return self.mean, self.deviation
        group = self.own.group[clips.cpu()]
        mean, deviation = (values[group][:, None].to(self.mean) for values in self.own[1:])
        return mean, deviation

    def _moments(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation from (count, sums, sums of squares); 0 and 1 of what is not standardised."""
        total, squares = sums[1:].chunk(2)
        mean = total / sums[0].clamp(min=1)
        deviation = (squares / sums[0].clamp(min=1) - mean.square()).clamp(min=1e-8).sqrt()
        mean[self._as_is], deviation[self._as_is] = 0.0, 1.0
        return mean, deviation
