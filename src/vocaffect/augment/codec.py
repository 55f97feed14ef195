"""Codecs: what is left of a clip after it was coded for a line and decoded again."""

import numpy as np
import soxr

from vocaffect.augment.options import CodecName
from vocaffect.augment.samples import Samples
from vocaffect.units import SAMPLE_RATE

LINE_RATE = 8_000
MU, A = np.float32(255.0), np.float32(87.6)
LEVELS = np.float32(127.0)


def coded(samples: Samples, codec: CodecName) -> Samples:
    """The clip after a codec, as long as before and in step with it."""
    resampled = soxr.resample(np.clip(samples, -1, 1), SAMPLE_RATE, LINE_RATE, quality="MQ")
    line = mu_law(np.clip(resampled, -1, 1)) if codec == "mu-law" else a_law(np.clip(resampled, -1, 1))
    back = soxr.resample(line, LINE_RATE, SAMPLE_RATE, quality="MQ")[: len(samples)]
    result: Samples = np.pad(back, (0, len(samples) - len(back)))
    return result


def mu_law(samples: Samples) -> Samples:
    """Samples after 8 bits of mu-law (ITU-T G.711, the law itself instead of its straight segments)."""
    scale = np.log1p(MU)
    code = np.rint(np.log1p(MU * np.abs(samples)) / scale * LEVELS) / LEVELS
    result: Samples = np.copysign(np.expm1(code * scale) / MU, samples)
    return result


def a_law(samples: Samples) -> Samples:
    """Samples after 8 bits of A-law (ITU-T G.711, the law itself instead of its straight segments)."""
    size, scale = A * np.abs(samples), 1 + np.log(A)
    compressed = np.where(size < 1, size, 1 + np.log(np.maximum(size, 1))) / scale
    code = np.rint(compressed * LEVELS) / LEVELS * scale
    result: Samples = np.copysign(np.where(code < 1, code, np.exp(np.maximum(code, 1) - 1)) / A, samples)
    return result
