"""What people are shown of a sound that a model hears as it is: there are no features between the two to show."""

import torch
from torch import Tensor, nn

from vocaffect.features.base import Frames
from vocaffect.features.mel import Mel
from vocaffect.features.spectrum import PowerSpectrum
from vocaffect.units import SAMPLE_RATE, exact_div

STRETCH, BINS_PER_BAND = 384, 4
"""Samples in a stretch unless another number is asked for, and frequency bins that a mel band needs."""


class MelPicture(nn.Module):
    """Mel band energies in dB of one stretch of samples after the other; nothing in them overlaps or has a state.

    The power is the mean over the halves of a stretch (Welch PD (1967), IEEE Trans. Audio Electroacoustics 15(2)):
    half as many frequencies are enough for people, and a file is a quarter as much larger for it.

    Args:
        win: samples in a stretch; even.
    """

    def __init__(self, win: int = STRETCH) -> None:
        super().__init__()
        self.win, self.part = win, exact_div(win, 2)
        self.spectrum = PowerSpectrum(self.part)
        self.mel = Mel(SAMPLE_RATE, self.part, self.spectrum.num_bins // BINS_PER_BAND)

    def forward(self, samples: Tensor) -> Tensor:
        """Samples ``(batch, num_samples)`` to ``(batch, num_samples // win, num_bands)``."""
        num_stretches = samples.shape[1] // self.win
        halves = samples[:, : num_stretches * self.win].reshape(samples.shape[0], num_stretches, 2, self.part)
        power = self.spectrum(halves).mean(2)
        picture: Tensor = self.mel(Frames(halves, power, torch.zeros_like(power[..., :1])))
        return picture
