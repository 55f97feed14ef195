"""Chroma: how much of each of the twelve pitch classes sounds, whatever the octave.

Ellis D P W (2007), "Chroma feature analysis and synthesis", with the filters of librosa's `chroma_stft`. Of librosa's
conventions one differs: the tuning is fixed, not estimated, because an estimate would need the whole clip. Not
implemented: constant-Q chroma. A window of 25 ms tells frequencies 40 Hz apart, more than a semitone below 670 Hz:
for chroma alone choose longer windows.
"""

import math

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature

LOWEST_A_HZ = 27.5
"""Octaves are counted from the lowest A of a piano."""

FLOOR = 1e-10
"""Energy of the strongest class below which a frame is no longer scaled up."""


def chroma_filters(
    sample_rate: int, win: int, num_classes: int = 12, tuning: float = 0.0, centre_octave: float = 5.0
) -> Tensor:
    """What each bin gives to each pitch class from C on, ``(num_bins, num_classes)``, in float64.

    A bin's weights fall off around its pitch as a Gaussian as wide as the bin, have unit length, and fade with a
    deviation of two octaves from ``centre_octave``.
    """
    hz = torch.arange(1, win, dtype=torch.float64) * sample_rate / win
    octaves = torch.log2(hz / LOWEST_A_HZ) - tuning / num_classes
    octaves = torch.cat([octaves[:1] - 1.5, octaves])
    pitch = num_classes * octaves
    width = torch.cat([pitch.diff().clamp(min=1.0), torch.ones(1, dtype=torch.float64)])
    half = round(num_classes / 2)
    distance = (pitch[:, None] - torch.arange(num_classes) + half).remainder(num_classes) - half
    weights = torch.exp(-0.5 * (2 * distance / width[:, None]).square())
    weights = weights / weights.square().sum(dim=1, keepdim=True).sqrt()
    weights = weights * torch.exp(-0.5 * ((octaves - centre_octave) / 2.0).square())[:, None]
    return weights.roll(-3 * (num_classes // 12), dims=1)[: win // 2 + 1]


@register_feature("chroma")
class Chroma(Feature):
    """Energy of each pitch class, of the strongest in the frame: in 0 to 1, so without the frame's level.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
        num_classes: classes of an octave; a multiple of 12.
        tuning: how far the voice is tuned from A = 440 Hz, in classes.

    Raises:
        ValueError: if the classes are no multiple of twelve.
    """

    filters: Tensor

    def __init__(self, sample_rate: int, win: int, num_classes: int = 12, tuning: float = 0.0) -> None:
        super().__init__()
        if num_classes < 12 or math.remainder(num_classes, 12):
            raise ValueError(f"num_classes is 12 or a multiple of it, not {num_classes}")
        self.num_features = num_classes
        filters = chroma_filters(sample_rate, win, num_classes, tuning)
        self.register_buffer("filters", filters.to(torch.get_default_dtype()), persistent=False)

    def forward(self, frames: Frames) -> Tensor:
        """Frames to classes, ``(batch, num_frames, num_classes)``."""
        energy = frames.power @ self.filters
        return energy / energy.amax(dim=-1, keepdim=True).clamp(min=FLOOR)
