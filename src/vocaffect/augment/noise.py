"""Noise under a clip: white, pink, the babble of other voices, or a recording."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vocaffect.augment.samples import Samples, mean_power
from vocaffect.units import SAMPLE_RATE

PINK_FROM_HZ = 20.0
"""Pink noise has as much power in every octave; below this it would be unheard and only spend the SNR."""
VOICES = (3, 8)
"""How many voices babble is made of, at least and at most."""
SILENT = 1e-12
"""Mean power below which a voice adds nothing to babble."""

S = TypeVar("S", bound=np.generic)


def add_noise(samples: Samples, snr_db: float, noise: Samples) -> Samples:
    """The clip with noise of its length ``snr_db`` below the clip's mean power; digital silence stays silent."""
    ratio = np.square(samples).mean(dtype=np.float64) / max(np.square(noise).mean(dtype=np.float64), 1e-30)
    return samples + noise * np.float32(np.sqrt(ratio) * 10 ** (-snr_db / 20))


def white_noise(num_samples: int, rng: np.random.Generator) -> Samples:
    """Gaussian noise of unit power."""
    return rng.standard_normal(num_samples, dtype=np.float32)


def pink_noise(num_samples: int, rng: np.random.Generator) -> Samples:
    """Gaussian noise whose power falls by 3 dB an octave above 20 Hz; its power is unspecified."""
    num_fft = 1 << max(num_samples - 1, 1).bit_length()
    frequencies = np.fft.rfftfreq(num_fft, 1 / SAMPLE_RATE)
    audible = frequencies >= PINK_FROM_HZ
    spectrum = rng.standard_normal((len(frequencies), 2), dtype=np.float32).view(np.complex64)[:, 0]
    spectrum *= np.where(audible, frequencies.clip(PINK_FROM_HZ) ** -0.5, 0).astype(np.float32)
    noise: Samples = np.fft.irfft(spectrum, num_fft)[:num_samples].astype(np.float32, copy=False)
    return noise


def babble(
    num_samples: int, rng: np.random.Generator, voices: Sequence[npt.NDArray[np.int16]], own: int | None = None
) -> Samples:
    """Three to eight other clips at once, each as loud as the next, from random places and begun again at their end.

    Args:
        num_samples: how much is wanted.
        rng: what chooses.
        voices: clips with 16 bits a sample.
        own: which of them is the clip that babble goes under, and takes no part.
    """
    count = int(rng.integers(VOICES[0], VOICES[1] + 1))
    chosen, places = rng.random(count), rng.random(count)
    total = np.zeros(num_samples, np.float32)
    others = len(voices) - (own is not None)
    for share, place in zip(chosen, places, strict=True):
        index = int(share * others)
        voice = voices[index + (own is not None and index >= own)] if others else np.zeros(1, np.int16)
        piece = looped(voice, num_samples, place).astype(np.float32) / np.float32(32767)
        power = mean_power(piece)
        if power > SILENT:
            total += piece / np.float32(np.sqrt(power))
    return total


def looped(sound: npt.NDArray[S], num_samples: int, place: float) -> npt.NDArray[S]:
    """A stretch of a sound that begins at a share of it, and begins it again as often as it ends."""
    start = int(place * len(sound))
    repeats = -(-(start + num_samples) // max(len(sound), 1))
    return np.tile(sound, repeats)[start : start + num_samples] if repeats > 1 else sound[start : start + num_samples]
