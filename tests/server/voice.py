"""A voice from a formula: the voice-activity detector takes it for one, and it needs no recording of anybody."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000


def speech(before_s: float = 0.5, voice_s: float = 2.0, after_s: float = 1.0) -> NDArray[np.float32]:
    """Silence, a voice, silence: harmonics of a gliding pitch through four formants, cut into syllables."""
    t = np.arange(round(voice_s * RATE_HZ)) / RATE_HZ
    pitch = 130 + 25 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    glide = 0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * t)
    formants = [(400 + 400 * glide, 80), (2_100 - 1_100 * glide, 100), (2_600, 150), (3_500, 200)]
    voice = np.zeros_like(t)
    for k in range(1, 40):
        gain = sum(1 / (1 + ((k * pitch - centre) / width) ** 2) for centre, width in formants)
        voice += gain / k**0.5 * np.sin(k * phase)
    voice *= np.minimum(1.5 * np.sin(np.pi * 3.7 * t) ** 2, 1)
    voice *= 0.25 / np.abs(voice).max()
    silences = [np.zeros(round(seconds * RATE_HZ)) for seconds in (before_s, after_s)]
    return np.concatenate([silences[0], voice, silences[1]]).astype(np.float32)
