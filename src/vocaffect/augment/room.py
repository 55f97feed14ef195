"""Rooms: a clip convolved with how a room answers a click."""

import numpy as np

from vocaffect.augment.samples import Samples, mean_power, quick_length
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

DIRECT_DB = (-3.0, 12.0)
"""How far the direct sound of a synthetic room lies above all that it answers, at least and at most."""
FIRST_ECHO_S = (0.002, 0.020)
DECAY = 3 * np.log(10)
"""An amplitude falls by 60 dB in ``reverberation time`` as ``exp(-DECAY t / time)``."""
LONGEST_S = 2.0


def synthetic_room(reverb_s: float, rng: np.random.Generator) -> Samples:
    """The answer of a room: the direct sound first, then Gaussian noise that falls by 60 dB in ``reverb_s``.

    Polack J-D (1993), Applied Acoustics 38: late reverberation is exponentially decaying Gaussian noise. Early
    echoes are not placed one by one, and all frequencies decay alike.
    """
    direct_db, first = rng.uniform(*DIRECT_DB), seconds_to_samples(rng.uniform(*FIRST_ECHO_S))
    time_s = np.arange(max(seconds_to_samples(reverb_s), 1), dtype=np.float32) / np.float32(SAMPLE_RATE)
    tail = rng.standard_normal(len(time_s), dtype=np.float32) * np.exp(time_s * np.float32(-DECAY / reverb_s))
    tail *= np.float32(10 ** (-direct_db / 20) / np.sqrt(np.square(tail).sum(dtype=np.float64)))
    return np.concatenate((np.ones(1, np.float32), np.zeros(first - 1, np.float32), tail))


def direct_first(answer: Samples) -> Samples:
    """A recorded room's answer from its highest peak on, the direct sound, so that a clip is not delayed."""
    start = int(np.abs(answer).argmax()) if len(answer) else 0
    return answer[start : start + seconds_to_samples(LONGEST_S)]


def in_room(samples: Samples, answer: Samples) -> Samples:
    """The clip as it sounds in a room, as long and with as much power as before; what rings on after it is cut."""
    num_fft = quick_length(len(samples) + len(answer) - 1)
    spectrum = np.fft.rfft(samples, num_fft) * np.fft.rfft(answer, num_fft)
    wet: Samples = np.fft.irfft(spectrum, num_fft)[: len(samples)].astype(np.float32, copy=False)
    power = mean_power(wet)
    return wet * np.float32(np.sqrt(mean_power(samples) / power)) if power > 0 else samples
