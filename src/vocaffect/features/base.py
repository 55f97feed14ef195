"""What every feature is: a module from frames to numbers."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn


class Frames(NamedTuple):
    """What a feature may look at: one frame at a time, nothing of the clip.

    ``samples``: ``(batch, num_frames, win)`` as they came.
    ``raw_power``: ``(batch, num_frames, num_bins)``, the power spectrum as it came.
    ``level``: ``(batch, num_frames, 1)``, the voice's running level in nepers of power above the reference.
    """

    samples: Tensor
    raw_power: Tensor
    level: Tensor

    @property
    def power_gain(self) -> Tensor:
        """What brings power to the reference level, ``(batch, num_frames, 1)``."""
        return torch.exp(-self.level)

    @property
    def power(self) -> Tensor:
        """The power spectrum at the reference level, ``(batch, num_frames, num_bins)``."""
        return self.raw_power * self.power_gain


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
