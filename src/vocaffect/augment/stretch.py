"""Tempo, pitch and speed: a clip drawn out or together, with its pitch or without, and moved in time."""

import numpy as np
import numpy.typing as npt
import soxr

from vocaffect.augment.samples import Samples
from vocaffect.units import seconds_to_samples

STRETCH_HOP = seconds_to_samples(0.020)
STRETCH_SEARCH = seconds_to_samples(0.008)
"""How far the stretch looks to either side for a matching waveform: together one period of 62 Hz."""


def resample_pitch(samples: Samples, semitones: float) -> Samples:
    """The clip played faster or slower, so that pitch and tempo both change (12 semitones double them)."""
    if semitones == 0:
        return samples
    resampled: Samples = soxr.resample(samples, 2 ** (semitones / 12), 1.0, quality="MQ")
    return resampled


def shift_pitch(samples: Samples, semitones: float) -> Samples:
    """The clip at another pitch and the same length: resampled, then stretched back."""
    return stretch(resample_pitch(samples, semitones), len(samples))


def stretch(samples: Samples, num_samples: int) -> Samples:
    """The clip drawn out or drawn together to ``num_samples`` (at least one) at the same pitch.

    Waveform-similarity overlap-add (Verhelst and Roelands, ICASSP 1993): 20 ms blocks are taken near where
    they belong, each at the place within +-8 ms that best continues the one before, and cross-faded.
    """
    num_samples = max(num_samples, 1)
    if num_samples == len(samples) or not len(samples):
        return samples
    hop, search = STRETCH_HOP, STRETCH_SEARCH
    num_blocks = -(-num_samples // hop)
    belongs = np.rint(np.arange(num_blocks) * hop * len(samples) / num_samples).astype(np.intp)
    padded = np.pad(samples, (hop + search, 4 * hop + 2 * search))
    starts = _matching_starts(padded, belongs + hop + search)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, hop)
    fade_in = (0.5 - 0.5 * np.cos(np.pi * (np.arange(hop) + 0.5) / hop)).astype(np.float32)
    continued = blocks[np.concatenate(([hop + search], starts[:-1] + hop))]
    result: Samples = (continued + fade_in * (blocks[starts] - continued)).reshape(-1)[:num_samples]
    return result


def _matching_starts(padded: Samples, belongs: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Where each block starts: within the search range of where it belongs, most like what came next before.

    Alike is the normalised cross-correlation with the 20 ms that followed the previous block.
    """
    hop, search = STRETCH_HOP, STRETCH_SEARCH
    energy = np.concatenate(([0.0], np.cumsum(np.square(padded, dtype=np.float64))))
    norm = np.sqrt(np.maximum(energy[hop:] - energy[:-hop], 1e-12)).astype(np.float32)
    starts = belongs.copy()
    for k in range(1, len(starts)):
        low = belongs[k] - search
        following = padded[starts[k - 1] + hop : starts[k - 1] + 2 * hop]
        match = np.correlate(padded[low : low + 2 * search + hop], following)
        starts[k] = low + np.argmax(match / norm[low : low + len(match)])
    return starts


def shift(samples: Samples, seconds: float) -> Samples:
    """The clip with silence in front or, for negative seconds, its front (at most half of it) cut off."""
    count = seconds_to_samples(abs(seconds))
    return np.pad(samples, (count, 0)) if seconds > 0 else samples[min(count, len(samples) // 2) :]
