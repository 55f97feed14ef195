"""What microphones and lines do: band limits, slopes and bumps of the frequency response, overload."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vocaffect.augment.samples import Samples, quick_length
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

TELEPHONE_HZ = (300.0, 3400.0)
"""The band of the analogue telephone (ITU-T G.120)."""
TELEPHONE_ORDER = 8
TILT_ABOUT_HZ = 1000.0
EQ_HZ = tuple(62.5 * 2.0**octave for octave in range(8))
"""The octaves whose levels an equaliser sets; between them it follows straight lines over the octaves."""
BOUNDS = (np.float32(1e-4), np.float32(1e4))
"""Of a warped frequency: 80 dB an order beyond the corner; its eighth power still fits into float32."""
RINGING = seconds_to_samples(0.1)
"""How long a filter may ring on before its end wraps around to the beginning of the clip."""

Spectrum = npt.NDArray[np.complexfloating]


def filtered(
    samples: Samples,
    *,
    high_pass_hz: float | None = None,
    low_pass_hz: float | None = None,
    order: int = 4,
    telephone: bool = False,
    tilt_db: float = 0.0,
    eq_db: tuple[float, ...] = (),
) -> Samples:
    """The clip through a line: all filters as one product of their frequency responses; by default as it is.

    Args:
        samples: the clip.
        high_pass_hz: the corner of a Butterworth high pass.
        low_pass_hz: the corner of a Butterworth low pass.
        order: of the high and the low pass.
        telephone: keep the band of a telephone alone, 300 to 3,400 Hz, with filters of order 8.
        tilt_db: a slope in dB an octave around 1 kHz.
        eq_db: the levels of an equaliser at `EQ_HZ`.
    """
    if not (high_pass_hz or low_pass_hz or telephone or tilt_db or eq_db):
        return samples
    num_fft = quick_length(len(samples) + RINGING)
    response: Spectrum = np.ones(num_fft // 2 + 1, np.complex64)
    if telephone:
        response = response * _telephone(num_fft)
    for corner_hz, high in ((high_pass_hz, True), (low_pass_hz, False)):
        if corner_hz is not None:
            response = response * butterworth(num_fft, corner_hz, order, high)
    if tilt_db or any(eq_db):
        response = response * _levels(num_fft, tilt_db, eq_db)
    spectrum = np.fft.rfft(samples, num_fft) * response
    result: Samples = np.fft.irfft(spectrum, num_fft)[: len(samples)].astype(np.float32, copy=False)
    return result


def butterworth(num_fft: int, corner_hz: float, order: int, high: bool) -> Spectrum:
    """The frequency response of the digital Butterworth filter, ``(num_fft // 2 + 1,)``.

    With ``w = tan(pi f / rate) / tan(pi corner / rate)`` (the bilinear transform), each pair of poles gives
    ``1 / (1 - w^2 + 2 j w cos a)``; a high pass has ``-1 / w`` for ``w``.
    """
    warped = np.clip(_warped(num_fft) / np.float32(np.tan(np.pi * corner_hz / SAMPLE_RATE)), *BOUNDS)
    warped = -1 / warped if high else warped
    square, response = 1 - warped * warped, np.ones(len(warped), np.complex64)
    for pair in range(order // 2):
        angle = np.pi * (2 * pair + 1 + order % 2) / (2 * order)
        response *= square + np.complex64(2j * np.cos(angle)) * warped
    if order % 2:
        response *= 1 + np.complex64(1j) * warped
    return 1 / response


@lru_cache(maxsize=32)
def _telephone(num_fft: int) -> Spectrum:
    low_hz, high_hz = TELEPHONE_HZ
    return butterworth(num_fft, low_hz, TELEPHONE_ORDER, True) * butterworth(num_fft, high_hz, TELEPHONE_ORDER, False)


@lru_cache(maxsize=32)
def _warped(num_fft: int) -> npt.NDArray[np.float32]:
    """``tan(pi f / rate)`` of each bin; half the rate, where it has no bound, stands at a great number."""
    warped = np.tan(np.pi * np.arange(num_fft // 2 + 1) / num_fft)
    return np.minimum(warped, 1e4).astype(np.float32)


@lru_cache(maxsize=32)
def _octaves(num_fft: int) -> npt.NDArray[np.float32]:
    """How many octaves each bin lies above 1 kHz, no less than the lowest of `EQ_HZ` does."""
    hz = np.fft.rfftfreq(num_fft, 1 / SAMPLE_RATE)
    return np.log2(hz.clip(EQ_HZ[0]) / TILT_ABOUT_HZ).astype(np.float32)


def _levels(num_fft: int, tilt_db: float, eq_db: tuple[float, ...]) -> npt.NDArray[np.float32]:
    octaves = _octaves(num_fft)
    level_db = np.float32(tilt_db) * octaves
    if eq_db:
        level_db = level_db + np.interp(octaves, np.log2(np.array(EQ_HZ) / TILT_ABOUT_HZ), eq_db).astype(np.float32)
    levels: npt.NDArray[np.float32] = np.exp(level_db * np.float32(np.log(10) / 20))
    return levels


def overloaded(samples: Samples, over_db: float) -> Samples:
    """The clip through something whose full scale its peak passes by ``over_db``: what passes it is cut off."""
    limit = np.float32(np.abs(samples).max(initial=0.0) * 10 ** (-over_db / 20))
    return np.clip(samples, -limit, limit)
