"""Pitch: how fast a voice vibrates, and how clearly it does; from each frame alone, so that it streams.

McLeod P, Wyvill G (2005), "A smarter way to find pitch", ICMC: a frame is compared with itself, shifted; of the shifts
that fit nearly best, the first is the period. Not implemented: a path over frames, which would have to look ahead.
"""

import math

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature
from vocaffect.units import exact_div

NEARLY = 0.9
"""How much of the clearest shift's clarity the first one needs."""

FLOOR = 1e-12
"""Energy below which a frame is like nothing, itself included."""


@register_feature("pitch")
class Pitch(Feature):
    """Octaves above ``low_hz``, 0 where there is no voice; and clarity, 0 to 1, whether there is or not.

    Clarity is ``2 sum x[j] x[j+t] / sum (x[j]^2 + x[j+t]^2)`` of a frame ``x`` at the best shift ``t``: 1 for what
    repeats itself exactly, little for hiss. The frame's level does not matter. Neighbouring samples are averaged in
    pairs first; shifts are refined by a parabola.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
        low_hz: the lowest pitch; frames hold two of its periods.
        high_hz: the highest.
        threshold: the clarity from which on there is a voice.

    Raises:
        ValueError: if frames are too short for the lowest pitch, or there is nothing between lowest and highest.
    """

    num_features = 2
    basis: Tensor
    turns: Tensor
    overlap: Tensor
    shifts: Tensor

    def __init__(
        self, sample_rate: int, win: int, low_hz: float = 80.0, high_hz: float = 600.0, threshold: float = 0.6
    ) -> None:
        super().__init__()
        self.rate, size = sample_rate / 2, exact_div(win, 2)
        self.low_hz, self.threshold = low_hz, threshold
        self.first, last = int(self.rate / high_hz), math.ceil(self.rate / low_hz)
        if 2 * last > size:
            raise ValueError(f"frames of {win / sample_rate:g} s need a low_hz of at least {2 * sample_rate / win:g}")
        if not 2 <= self.first < last:
            raise ValueError(f"high_hz lies between low_hz and {self.rate / 2:g}, not at {high_hz:g}")
        samples, shifts = torch.arange(size), torch.arange(last + 2)
        angles = torch.outer(torch.arange(size), torch.arange(size + 1)) % (2 * size) * (math.pi / size)
        weights = torch.full((size + 1, 1), 2.0, dtype=torch.float64)
        weights[0] = weights[-1] = 1.0
        tables = {
            "basis": torch.cat([angles.double().cos(), angles.double().sin()], dim=1),
            "turns": weights * angles[: last + 2].double().cos().T / (2 * size),
            "overlap": (samples[:, None] < size - shifts).double() + (samples[:, None] >= shifts).double(),
            "shifts": shifts[self.first : last + 1].double(),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.to(torch.get_default_dtype()), persistent=False)

    def forward(self, frames: Frames) -> Tensor:
        """Frames to octaves and clarity, ``(batch, num_frames, 2)``."""
        likeness = self._likeness(frames.samples)
        before, at, after = likeness[..., :-2], likeness[..., 1:-1], likeness[..., 2:]
        is_peak = (at > before) & (at >= after) & ((likeness < 0).cumsum(-1)[..., 1:-1] > 0)
        before, at, after, is_peak = (part[..., self.first - 1 :] for part in (before, at, after, is_peak))
        clarity = (at * is_peak).amax(-1, keepdim=True).clamp(0, 1)
        fits = (is_peak & (at >= NEARLY * clarity) & (clarity > self.threshold)).to(at)
        chosen = fits * (fits.cumsum(-1) == 1)
        bend = (2 * at - before - after).clamp(min=FLOOR)
        period = (chosen * (self.shifts + 0.5 * (after - before) / bend)).sum(-1, keepdim=True)
        is_voiced = chosen.sum(-1, keepdim=True)
        octaves = torch.log2(self.rate / self.low_hz / (period + (1 - is_voiced))) * is_voiced
        return torch.cat([octaves, clarity], dim=-1)

    def _likeness(self, samples: Tensor) -> Tensor:
        """How like itself each frame is at each shift, -1 to 1, ``(batch, num_frames, num_shifts)``."""
        half = samples.reshape(*samples.shape[:-1], samples.shape[-1] // 2, 2).mean(-1)
        half = half - half.mean(-1, keepdim=True)
        real, imaginary = (half @ self.basis).chunk(2, dim=-1)
        product = (real.square() + imaginary.square()) @ self.turns
        likeness: Tensor = 2 * product / (half.square() @ self.overlap).clamp(min=FLOOR)
        return likeness
