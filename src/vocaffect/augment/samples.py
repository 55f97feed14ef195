"""What every change of a clip takes and gives, and the transform lengths that are quick."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""``(num_samples,)``, mono, 16 kHz, in [-1, 1]."""


def quick_length(least: int) -> int:
    """The smallest length of 1, 3, 5, 9 or 15 times a power of two that is at least this: quick to transform.

    >>> quick_length(33_600)
    36864
    """
    return min(odd << max(-(-least // odd) - 1, 0).bit_length() for odd in (1, 3, 5, 9, 15))


def mean_power(samples: Samples) -> float:
    """The mean of the squares, 0 where there is nothing."""
    return float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0


def in_scale(samples: Samples) -> Samples:
    """The clip turned down as a whole where it would pass full scale, never clipped."""
    peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
    return samples / np.float32(peak)
