"""Samples in 16 bits: how training and shards keep clips, exactly as most corpora were recorded."""

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

FULL_SCALE = 32768.0
"""What a sample of 1 would be."""


def to_pcm(samples: NDArray[np.float32]) -> Pcm:
    """Samples in [-1, 1] to 16 bits; a clip that had 16 bits at 16 kHz gets back what it had.

    >>> to_pcm(np.array([-1.0, 0.25, 1.0], np.float32))
    array([-32768,   8192,  32767], dtype=int16)
    """
    kept: Pcm = np.rint(samples * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return kept


def from_pcm(kept: Pcm) -> NDArray[np.float32]:
    """16 bits to samples in [-1, 1)."""
    return kept * np.float32(1 / FULL_SCALE)
