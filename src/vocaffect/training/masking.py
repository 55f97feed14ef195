"""SpecAugment: stretches of time and bands of features that a network does without while it learns.

Park D S et al. (2019), SpecAugment, Interspeech, arXiv:1904.08779; time and frequency masks, no time warping.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE

STREAM = 1
"""Keeps these draws apart from what the dataset draws for the same clip."""


@dataclass(frozen=True)
class MaskOptions:
    """How many masks a clip gets and how wide they are at most; 0 masks change nothing.

    Raises:
        VocaffectError: if a share is none.
    """

    time_masks: int = 0
    time_mask_s: float = 0.4
    """The longest stretch."""
    time_mask_share: float = 0.2
    """Nor is a stretch longer than this share of its clip."""
    feature_masks: int = 0
    feature_mask_share: float = 0.2
    """The widest band as a share of the features of a frame."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        for name in ("time_mask_share", "feature_mask_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise VocaffectError(f"masking {name} is {getattr(self, name)}; give a number between 0 and 1")

    @property
    def masks(self) -> bool:
        """Whether anything is masked."""
        return self.time_masks + self.feature_masks > 0


def mask(
    features: Tensor, num_frames: Tensor, places: Tensor, options: MaskOptions, *, seed: int, planes: int = 1, hop: int
) -> Tensor:
    """Features with masked frames and bands at 0, which is their mean over the corpus.

    What is masked is a function of (seed, epoch, clip), whatever else is in the batch. A band is masked in all
    planes; which frames count as silent does not change.

    Args:
        features: standardised, ``(batch, num_frames, planes * width)``.
        num_frames: how many frames are a clip's own, ``(batch,)``; masks of time lie within these.
        places: epoch, clip, and how often it came before, ``(batch, 3)``.
        options: how many and how wide.
        seed: of the run.
        planes: how often the features repeat: 1 and one for each order of deltas.
        hop: samples between frames.
    """
    if not options.masks:
        return features
    width = features.shape[2] // planes
    kept = np.ones((len(features), features.shape[1], 1), np.float32)
    bands = np.ones((len(features), 1, width), np.float32)
    longest = options.time_mask_s * SAMPLE_RATE / hop
    for row, (own, place) in enumerate(zip(num_frames.tolist(), places.tolist(), strict=True)):
        rng = np.random.default_rng([seed, *place, STREAM])
        for masks, kind, size, most in (
            (options.time_masks, kept[row, :, 0], own, min(longest, options.time_mask_share * own)),
            (options.feature_masks, bands[row, 0], width, options.feature_mask_share * width),
        ):
            for wide, where in rng.random((masks, 2)):
                length = int(wide * (int(most) + 1))
                start = int(where * (size - length + 1))
                kind[start : start + length] = 0
    return features * torch.from_numpy(kept * np.tile(bands, planes)).to(features)
