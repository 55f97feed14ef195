"""Waveform augmentation: draw the parameters once, then apply them to samples as often as you like.

The generator is the caller's, derived from (seed, epoch, clip), so a resumed run hears what an unbroken
one would have heard. Applying is a pure function of samples and parameters; noise carries its own seed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import soxr

from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

Samples = npt.NDArray[np.float32]
Range = tuple[float, float]
NoiseColour = Literal["white", "pink"]

NOISE_COLOURS: tuple[NoiseColour, ...] = ("white", "pink")
PINK_FROM_HZ = 20.0
"""Pink noise has as much power in every octave; below this it would be unheard and only spend the SNR."""
STRETCH_HOP = seconds_to_samples(0.020)
STRETCH_SEARCH = seconds_to_samples(0.008)
"""How far the stretch looks to either side for a matching waveform: together one period of 62 Hz."""


@dataclass(frozen=True)
class AugmentOptions:
    """What may happen to a clip: each change on its own with one probability, uniformly within its range.

    A range of ``None`` switches a change off; a probability of 0 switches all of them off.

    Raises:
        VocaffectError: if the probability or a range makes no sense.
    """

    probability: float = 0.3
    """Of each of the five changes, independently of the others."""
    noise_snr_db: Range | None = (10.0, 30.0)
    """White or pink noise, evenly often, this far below the clip's mean power."""
    gain_db: Range | None = (-12.0, 12.0)
    """A louder or softer recording; never so loud that it passes full scale."""
    tempo: Range | None = (0.85, 1.15)
    """Faster (above 1) or slower speech at the same pitch."""
    pitch_semitones: Range | None = (-2.0, 2.0)
    """A higher or lower voice at the same tempo; formants move with it."""
    shift_s: Range | None = (-0.25, 0.25)
    """Seconds of silence put in front or, below zero, cut from the front (at most half of a clip)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        if not 0 <= self.probability <= 1:
            raise VocaffectError(f"augmentation probability is {self.probability}; give a number between 0 and 1")
        for name in ("noise_snr_db", "gain_db", "tempo", "pitch_semitones", "shift_s"):
            bounds: Range | None = getattr(self, name)
            if bounds is not None and not (np.isfinite(bounds).all() and bounds[0] <= bounds[1]):
                raise VocaffectError(f"augmentation range {name} is {bounds}; give two numbers, the lower first")
        if self.tempo is not None and (self.tempo[0] < 0.25 or self.tempo[1] > 4):
            raise VocaffectError(f"augmentation range tempo is {self.tempo}; keep it between 0.25 and 4")
        if self.pitch_semitones is not None and max(map(abs, self.pitch_semitones)) > 24:
            raise VocaffectError(
                f"augmentation range pitch_semitones is {self.pitch_semitones}; keep it within -24 and 24"
            )


@dataclass(frozen=True)
class Parameters:
    """What happens to one clip; the defaults leave it as it is."""

    tempo: float = 1.0
    pitch_semitones: float = 0.0
    shift_s: float = 0.0
    noise_snr_db: float | None = None
    noise_colour: NoiseColour = "white"
    noise_seed: int = 0
    gain_db: float = 0.0


def draw(rng: np.random.Generator, options: AugmentOptions | None = None) -> Parameters:
    """Draw what happens to one clip, always with the same number of draws, whatever the options.

    >>> draw(np.random.default_rng(0), AugmentOptions(probability=0))
    Parameters(tempo=1.0, pitch_semitones=0.0, shift_s=0.0, noise_snr_db=None, noise_colour='white', \
noise_seed=0, gain_db=0.0)
    """
    options = options or AugmentOptions()
    happens = rng.random(5) < options.probability
    where = rng.random(5)
    colour = NOISE_COLOURS[int(rng.integers(len(NOISE_COLOURS)))]
    seed = int(rng.integers(2**63))
    ranges = (options.noise_snr_db, options.gain_db, options.tempo, options.pitch_semitones, options.shift_s)
    noise, gain, tempo, pitch, shift = (
        float(bounds[0] + at * (bounds[1] - bounds[0])) if bounds is not None and hit else None
        for bounds, hit, at in zip(ranges, happens, where, strict=True)
    )
    return Parameters(
        tempo=1.0 if tempo is None else tempo,
        pitch_semitones=pitch or 0.0,
        shift_s=shift or 0.0,
        noise_snr_db=noise,
        noise_colour="white" if noise is None else colour,
        noise_seed=0 if noise is None else seed,
        gain_db=gain or 0.0,
    )


def apply(samples: Samples, parameters: Parameters) -> Samples:
    """The clip after tempo and pitch, time shift, noise and gain, in this order; the input is left alone.

    Samples are ``(num_samples,)`` float32 at 16 kHz in [-1, 1], and so is the result: what would pass full
    scale is turned down as a whole, never clipped.
    """
    if parameters == Parameters() or not len(samples):
        return samples.copy()
    result = stretch(resample_pitch(samples, parameters.pitch_semitones), round(len(samples) / parameters.tempo))
    result = shift(result, parameters.shift_s)
    if parameters.noise_snr_db is not None:
        rng = np.random.default_rng(parameters.noise_seed)
        result = add_noise(result, parameters.noise_snr_db, parameters.noise_colour, rng)
    result = result * np.float32(10 ** (parameters.gain_db / 20))
    peak = max(1.0, float(np.abs(result).max()))
    return result / np.float32(peak)


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


def add_noise(samples: Samples, snr_db: float, colour: NoiseColour, rng: np.random.Generator) -> Samples:
    """The clip with noise ``snr_db`` below the clip's mean power; digital silence stays silent."""
    noise = white_noise(len(samples), rng) if colour == "white" else pink_noise(len(samples), rng)
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
