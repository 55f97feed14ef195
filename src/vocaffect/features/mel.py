"""Mel band energies in decibels.

Slaney's mel scale and area-normalised triangles, as in librosa's defaults: Slaney M (1998), Auditory Toolbox,
Technical Report 1998-010. Not implemented: the HTK scale, and any floor that depends on the clip's maximum.
"""

import math

import torch
from torch import Tensor

from vocaffect.features.base import Feature, Frames
from vocaffect.features.level import DB_PER_NEPER
from vocaffect.features.registry import register_feature

LOG_FLOOR = math.log(1e-10)
"""The logarithm of a band's energy is never below this, which is -100 dB."""

_BREAK_HZ, _HZ_PER_MEL, _MELS_PER_E_FOLD = 1000.0, 200.0 / 3.0, 27.0 / math.log(6.4)


def hz_to_mel(hz: float) -> float:
    """Slaney's mel scale: linear to 1 kHz, logarithmic above.

    >>> round(hz_to_mel(1000.0), 6), round(hz_to_mel(6400.0), 6)
    (15.0, 42.0)
    """
    if hz < _BREAK_HZ:
        return hz / _HZ_PER_MEL
    return _BREAK_HZ / _HZ_PER_MEL + math.log(hz / _BREAK_HZ) * _MELS_PER_E_FOLD


def mel_to_hz(mel: Tensor) -> Tensor:
    """The inverse of `hz_to_mel`, for a tensor of mels."""
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * torch.exp((mel - break_mel).clamp(min=0) / _MELS_PER_E_FOLD)
    return torch.where(mel < break_mel, mel * _HZ_PER_MEL, above)


def mel_filters(sample_rate: int, win: int, num_mels: int, low_hz: float, high_hz: float) -> Tensor:
    """Triangular filters of unit area, ``(num_bins, num_mels)``, in float64.

    Raises:
        ValueError: if a filter is so narrow that no bin falls into it.
    """
    edges = mel_to_hz(torch.linspace(hz_to_mel(low_hz), hz_to_mel(high_hz), num_mels + 2, dtype=torch.float64))
    bins = torch.linspace(0, sample_rate / 2, win // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0) * (2.0 / (edges[2:] - edges[:-2]))
    if bool((filters.sum(dim=0) == 0).any()):
        raise ValueError(f"{num_mels} mel bands are too many for a window of {win} samples; take fewer")
    return filters


def split_filters(filters: Tensor) -> tuple[int, slice]:
    """Where to cut filters ``(num_bins, num_mels)`` in two, so that the least of what is multiplied is zeros.

    The number of bands below the cut, a multiple of eight, for which matrix products are fastest; and the bins that
    the bands above it hear. Bands below hear the bins from the first on.
    """
    heard = filters > 0

    def cost(cut: int) -> int:
        low, high = _bins(heard[:, :cut]), _bins(heard[:, cut:])
        products: int = low.stop * cut + (high.stop - high.start) * (heard.shape[1] - cut)
        return products

    cut = min(range(0, heard.shape[1], 8), key=cost)
    return cut, _bins(heard[:, cut:])


def _bins(heard: Tensor) -> slice:
    """From the first bin that any band hears to the last."""
    found = heard.any(dim=1).nonzero()
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


@register_feature("mel")
class Mel(Feature):
    """Mel band energies in dB, ``10 log10(max(filters . power, 1e-10))``.

    Args:
        sample_rate: samples a second.
        win: samples in a frame.
        num_mels: how many bands.
        low_hz: lower edge of the first band.
        high_hz: upper edge of the last band; half the sample rate where not given.
    """

    filters: Tensor
    low: Tensor
    high: Tensor

    def __init__(
        self,
        sample_rate: int,
        win: int,
        num_mels: int = 40,
        low_hz: float = 0.0,
        high_hz: float | None = None,
    ) -> None:
        super().__init__()
        self.num_features = num_mels
        filters = mel_filters(sample_rate, win, num_mels, low_hz, high_hz or sample_rate / 2)
        filters = filters.to(torch.get_default_dtype())
        cut, self._high_bins = split_filters(filters)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("low", filters[: _bins(filters[:, :cut] > 0).stop, :cut].contiguous(), persistent=False)
        self.register_buffer("high", filters[self._high_bins, cut:].contiguous(), persistent=False)

    def forward(self, frames: Frames) -> Tensor:
        """Frames to band energies in dB, ``(batch, num_frames, num_mels)``."""
        return DB_PER_NEPER * self.log_energy(frames)

    def log_energy(self, frames: Frames) -> Tensor:
        """The same in nepers of power; what brings it to the reference level is a mere difference here."""
        return self._energy(frames.raw_power).log_().sub_(frames.level).clamp_(min=LOG_FLOOR)

    def _energy(self, power: Tensor) -> Tensor:
        """Filters times power; in two parts, but for a graph, which has little else to do than call operators."""
        if torch.compiler.is_exporting():
            return power @ self.filters
        return torch.cat([power[..., : len(self.low)] @ self.low, power[..., self._high_bins] @ self.high], dim=-1)
