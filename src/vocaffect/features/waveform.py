"""The waveform itself, for models that begin with samples: an encoder joins the frames again."""

from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.registry import register_feature


@register_feature("waveform")
class Waveform(Feature):
    """A frame's samples, after the gain that brings the voice to the reference level; never standardised.

    With frames as long as their hop (``win_s`` and ``hop_s`` alike) each sample comes once.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
    """

    standardised = False

    def __init__(self, sample_rate: int, win: int) -> None:
        super().__init__()
        self.num_features = win

    def forward(self, frames: Frames) -> Tensor:
        """Frames to samples, ``(batch, num_frames, win)``."""
        return frames.samples * frames.power_gain.sqrt()
