"""Mel-frequency cepstral coefficients.

Davis S, Mermelstein P (1980), IEEE Trans. ASSP 28(4): the discrete cosine transform of log mel energies. Not
implemented: liftering, pre-emphasis, and replacing the first coefficient by the frame's energy.
"""

import math

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.level import DB_PER_NEPER
from vocaffect.features.mel import Mel
from vocaffect.features.registry import register_feature


def cosine_basis(num_mels: int, num_coefficients: int) -> Tensor:
    """The first columns of the orthonormal DCT-II, ``(num_mels, num_coefficients)``, in float64."""
    angles = math.pi / num_mels * (torch.arange(num_mels, dtype=torch.float64) + 0.5)
    basis = torch.cos(torch.outer(angles, torch.arange(num_coefficients, dtype=torch.float64)))
    basis[:, 0] *= math.sqrt(0.5)
    return basis * math.sqrt(2.0 / num_mels)


@register_feature("mfcc")
class Mfcc(Feature):
    """Orthonormal DCT-II of mel energies in dB; the first coefficient carries the level.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
        num_coefficients: how many coefficients to keep.
        num_mels: mel bands beneath them.
        low_hz: lower edge of the first band.
        high_hz: upper edge of the last band; half the sample rate where not given.

    Raises:
        ValueError: if more coefficients than bands are asked for.
    """

    basis: Tensor

    def __init__(
        self,
        sample_rate: int,
        win: int,
        num_coefficients: int = 13,
        num_mels: int = 40,
        low_hz: float = 0.0,
        high_hz: float | None = None,
    ) -> None:
        super().__init__()
        if num_coefficients > num_mels:
            raise ValueError(f"{num_mels} mel bands cannot give {num_coefficients} coefficients")
        self.num_features = num_coefficients
        self.mel = Mel(sample_rate, win, num_mels, low_hz, high_hz)
        basis = cosine_basis(num_mels, num_coefficients) * DB_PER_NEPER
        self.register_buffer("basis", basis.to(torch.get_default_dtype()), persistent=False)

    def forward(self, frames: Frames) -> Tensor:
        """Frames to coefficients, ``(batch, num_frames, num_coefficients)``."""
        return self.mel.log_energy(frames) @ self.basis
