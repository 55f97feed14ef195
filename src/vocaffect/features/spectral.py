"""The shape of a spectrum in one number each: centroid, flatness, rolloff.

Peeters G (2004), "A large set of audio features for sound description", CUIDADO report, section 6. As in librosa,
centroid and rolloff weigh frequencies by magnitude, flatness by power; frequencies are in kHz here.
"""

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature

MAGNITUDE_FLOOR, POWER_FLOOR = 1e-10, 1e-10
"""Below which a spectrum counts as empty, and a bin's power as this much."""


class _OfSpectrum(Feature):
    """A feature that is one number and knows the frequencies of bins.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
    """

    num_features = 1
    khz: Tensor

    def __init__(self, sample_rate: int, win: int) -> None:
        super().__init__()
        self.khz_per_bin = sample_rate / win / 1000
        bins = torch.arange(win // 2 + 1, dtype=torch.float64) * self.khz_per_bin
        self.register_buffer("khz", bins.to(torch.get_default_dtype()), persistent=False)


@register_feature("centroid")
class Centroid(_OfSpectrum):
    """The spectrum's centre of gravity, ``sum f |X(f)| / sum |X(f)|``, in kHz; 0 where there is none."""

    def forward(self, frames: Frames) -> Tensor:
        """Frames to centroids, ``(batch, num_frames, 1)``."""
        magnitude = frames.power.sqrt()
        return (magnitude * self.khz).sum(-1, keepdim=True) / magnitude.sum(-1, keepdim=True).clamp(min=MAGNITUDE_FLOOR)


@register_feature("flatness")
class Flatness(_OfSpectrum):
    """Geometric over arithmetic mean of power: 1 for white noise, near 0 for tones."""

    def forward(self, frames: Frames) -> Tensor:
        """Frames to flatness, ``(batch, num_frames, 1)``."""
        power = frames.power.clamp(min=POWER_FLOOR)
        return torch.exp(power.log().mean(-1, keepdim=True)) / power.mean(-1, keepdim=True)


@register_feature("rolloff")
class Rolloff(_OfSpectrum):
    """The frequency in kHz below which a share of the magnitude lies.

    librosa gives the bin in which the share is reached. Here a bin's magnitude is spread evenly from half a bin
    below its frequency to half a bin above, and the share is reached somewhere in there: at most half a bin from
    librosa, and without its jumps from bin to bin, which would make rounding visible.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
        share: of the magnitude.

    Raises:
        ValueError: if the share is not between 0 and 1.
    """

    def __init__(self, sample_rate: int, win: int, share: float = 0.85) -> None:
        super().__init__(sample_rate, win)
        if not 0 < share < 1:
            raise ValueError(f"share lies between 0 and 1, not at {share}")
        self.share = share

    def forward(self, frames: Frames) -> Tensor:
        """Frames to rolloff, ``(batch, num_frames, 1)``."""
        magnitude = frames.power.sqrt()
        up_to = magnitude.cumsum(-1)
        missing = self.share * up_to[..., -1:] - (up_to - magnitude)
        bins = (missing / magnitude.clamp(min=MAGNITUDE_FLOOR)).clamp(0, 1).sum(-1, keepdim=True)
        return ((bins - 0.5) * self.khz_per_bin).clamp(min=0)
