"""Zero crossings: how often the waveform changes sign, low in voiced sounds and high in hiss.

Kedem B (1986), Proc. IEEE 74(11). As librosa's `zero_crossing_rate`, except that values within 1e-10 of zero keep
their sign.
"""

from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature


@register_feature("zero_crossings")
class ZeroCrossings(Feature):
    """Changes of sign from sample to sample within a frame, as a share of its samples; the gain does not matter.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
    """

    num_features = 1

    def __init__(self, sample_rate: int, win: int) -> None:
        super().__init__()
        self.win = win

    def forward(self, frames: Frames) -> Tensor:
        """Frames to shares, ``(batch, num_frames, 1)``."""
        positive = (frames.samples >= 0).to(frames.samples)
        return positive.diff(dim=-1).abs().sum(-1, keepdim=True) / self.win
