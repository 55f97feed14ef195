"""RMS: how loud a frame is, in decibels relative to full scale."""

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature

FLOOR = 1e-12
"""Mean square below which a frame counts as -120 dB."""


@register_feature("rms")
class Rms(Feature):
    """Energy, ``10 log10(mean of squares)``, after the gain that brings the voice to the reference level.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
    """

    num_features = 1

    def __init__(self, sample_rate: int, win: int) -> None:
        super().__init__()

    def forward(self, frames: Frames) -> Tensor:
        """Frames to levels in dB, ``(batch, num_frames, 1)``."""
        energy = frames.samples.square().mean(-1, keepdim=True) * frames.power_gain
        return 10 * torch.log10(energy.clamp(min=FLOOR))
