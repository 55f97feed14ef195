"""Codecs: what is left of a clip after it was coded for a line, a call or a file, and decoded again.

The two laws of the telephone are computed here; the others are FFmpeg's, through PyAV, in memory and packet by packet.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import numpy as np
import soxr

from vocaffect.augment.options import CodecName
from vocaffect.augment.samples import Samples
from vocaffect.units import SAMPLE_RATE

LINE_RATE = 8_000
MU, A = np.float32(255.0), np.float32(87.6)
LEVELS = np.float32(127.0)


class Coder(NamedTuple):
    """One of FFmpeg's codecs: how it is called, what it is fed, how late it answers, and what it may spend."""

    encoder: str
    decoder: str
    sample_format: str
    sample_rate: int
    delay: int
    """Samples at the decoder's rate that come before the clip's first."""
    bit_rates: tuple[int, ...]
    options: dict[str, str] = {}  # noqa: RUF012


CODERS = {
    "opus": Coder(
        "libopus",
        "libopus",
        "s16",
        SAMPLE_RATE,
        0,
        (8_000, 12_000, 16_000, 24_000),
        {"frame_duration": "60", "compression_level": "0"},
    ),
    "amr": Coder("libopencore_amrnb", "libopencore_amrnb", "s16", LINE_RATE, 82, (4_750, 5_900, 7_950, 12_200)),
    "mp3": Coder("libmp3lame", "mp3float", "fltp", SAMPLE_RATE, 0, (16_000, 24_000, 32_000, 64_000)),
}
"""Opus (RFC 6716), the adaptive multi-rate codec of mobile telephones (3GPP TS 26.071), and MP3."""


def coded(samples: Samples, codec: CodecName, rng: np.random.Generator) -> Samples:
    """The clip after a codec, as long as before and in step with it; ``rng`` chooses among its bit rates."""
    samples = np.clip(samples, -1, 1)
    if codec in CODERS:
        coder = CODERS[codec]
        bit_rate = coder.bit_rates[int(rng.integers(len(coder.bit_rates)))]
        back = _transcoded(samples, coder, bit_rate)
    else:
        line = np.clip(_resampled(samples, SAMPLE_RATE, LINE_RATE), -1, 1)
        back = _resampled(mu_law(line) if codec == "mu-law" else a_law(line), LINE_RATE, SAMPLE_RATE)
    result: Samples = np.pad(back[: len(samples)], (0, max(len(samples) - len(back), 0)))
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


def _transcoded(samples: Samples, coder: Coder, bit_rate: int) -> Samples:
    encoder: Any = av.CodecContext.create(coder.encoder, "w")
    encoder.sample_rate, encoder.format, encoder.layout = coder.sample_rate, coder.sample_format, "mono"
    encoder.bit_rate, encoder.options, encoder.time_base = bit_rate, dict(coder.options), Fraction(1, coder.sample_rate)
    encoder.open()
    decoder: Any = av.CodecContext.create(coder.decoder, "r")
    decoder.sample_rate, decoder.layout, decoder.thread_count = coder.sample_rate, "mono", 1
    if encoder.extradata:
        decoder.extradata = bytes(encoder.extradata)
    line = _resampled(samples, SAMPLE_RATE, coder.sample_rate)
    frames = [*_frames(line, encoder.frame_size, coder), None]
    decoded = [back for frame in frames for packet in encoder.encode(frame) for back in decoder.decode(packet)]
    pieces = [frame.to_ndarray().reshape(-1) for frame in decoded]
    sound = np.concatenate(pieces)
    if sound.dtype == np.int16:
        sound = sound.astype(np.float32) / np.float32(32768)
    return _resampled(sound[coder.delay :], decoded[0].sample_rate, SAMPLE_RATE)


def _frames(samples: Samples, size: int, coder: Coder) -> Iterator[av.AudioFrame]:
    """The clip and enough silence after it to push it out of the codec, in the codec's portions."""
    num_frames = -(-(len(samples) + coder.delay) // size)
    padded = np.pad(samples, (0, num_frames * size - len(samples)))
    values: Any = np.rint(padded * 32767).astype(np.int16) if coder.sample_format == "s16" else padded
    for start in range(0, len(values), size):
        frame = av.AudioFrame.from_ndarray(values[None, start : start + size], coder.sample_format, "mono")
        frame.sample_rate, frame.pts = coder.sample_rate, start
        yield frame


def _resampled(samples: Samples, source_rate: int, target_rate: int) -> Samples:
    if source_rate == target_rate:
        return samples
    resampled: Samples = soxr.resample(samples, source_rate, target_rate, quality="MQ")
    return resampled
