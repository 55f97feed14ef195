"""What every feature is: a module from frames to numbers."""

from typing import Literal, NamedTuple

from torch import Tensor, nn


class Frames(NamedTuple):
    """What a feature may look at: one frame at a time, nothing of the clip.

    ``samples``: ``(batch, num_frames, win)`` as they came.
    ``power``: ``(batch, num_frames, num_bins)``, the power spectrum at the reference level.
    ``power_gain``: ``(batch, num_frames, 1)``, what brought the power to the reference level.
    """

    samples: Tensor
    power: Tensor
    power_gain: Tensor


class Feature(nn.Module):
    """One registered feature: ``forward(frames: Frames) -> (batch, num_frames, num_features)``.

    Built with ``sample_rate`` and ``win`` (samples in a frame) and its own parameters from the recipe.
    ``streaming`` is ``frame`` where a frame's values depend on that frame alone; a feature that must see a whole
    signal says ``window``, and recognisers with it run on windows. What is not ``standardised`` goes on as it is,
    without the corpus' mean and deviation.
    """

    num_features: int
    standardised = True
    streaming: Literal["frame", "window"] = "frame"
