"""What happens to clips outside the studio: noise, a telephone, another gain, a codec.

Each condition is a function of samples and a generator, so that a test side sounds the same whenever it is opened.
"""

import io
from collections.abc import Callable, Mapping
from functools import partial

import av
import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import decode
from vocaffect.augment import add_noise, pink_noise
from vocaffect.units import SAMPLE_RATE

Samples = NDArray[np.float32]
Condition = Callable[[Samples, np.random.Generator], Samples]

TELEPHONE_HZ = (300.0, 3400.0)
"""The band of the analogue telephone (ITU-T G.120)."""
OPUS_BITS_PER_SECOND = 64_000
OPUS_RATE = 48_000


def noisy(samples: Samples, rng: np.random.Generator, snr_db: float) -> Samples:
    """The clip with pink noise this far below its mean power, never beyond full scale."""
    return np.asarray(np.clip(add_noise(samples, snr_db, pink_noise(len(samples), rng)), -1, 1), np.float32)


def telephone(samples: Samples, rng: np.random.Generator) -> Samples:
    """The clip with nothing left below 300 and above 3,400 Hz."""
    spectrum = np.fft.rfft(samples.astype(np.float64))
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(hz < TELEPHONE_HZ[0]) | (hz > TELEPHONE_HZ[1])] = 0
    return np.asarray(np.fft.irfft(spectrum, len(samples)), np.float32)


def gained(samples: Samples, rng: np.random.Generator, gain_db: float) -> Samples:
    """The clip louder or softer; what passes full scale is cut off, as a converter does."""
    return np.asarray(np.clip(samples * 10 ** (gain_db / 20), -1, 1), np.float32)


def opus(samples: Samples, rng: np.random.Generator) -> Samples:
    """The clip after Opus at 64 kbit/s, as a browser's recording or a call brings it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=OPUS_RATE)
        stream.bit_rate = OPUS_BITS_PER_SECOND
        stream.layout = "mono"
        pcm = np.rint(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        resampler = av.AudioResampler("s16", "mono", OPUS_RATE)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return decode(buffer.getvalue(), name="opus").samples


CONDITIONS: Mapping[str, Condition] = {
    "noise 20 dB": partial(noisy, snr_db=20.0),
    "noise 10 dB": partial(noisy, snr_db=10.0),
    "noise 5 dB": partial(noisy, snr_db=5.0),
    "telephone band": telephone,
    "gain +12 dB": partial(gained, gain_db=12.0),
    "gain -12 dB": partial(gained, gain_db=-12.0),
    "Opus 64 kbit/s": opus,
}
"""The conditions that every result reports."""
