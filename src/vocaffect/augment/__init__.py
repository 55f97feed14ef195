"""Waveform augmentation: draw the parameters once, then apply them to samples as often as you like.

The generator is the caller's, derived from (seed, epoch, clip), so a resumed run hears what an unbroken
one would have heard. Applying is a pure function of samples and parameters; noise carries its own seed.
"""

from vocaffect.augment.chain import Sounds, apply
from vocaffect.augment.mixing import mixed
from vocaffect.augment.noise import add_noise, pink_noise, white_noise
from vocaffect.augment.options import CODECS, SYNTHETIC_NOISES, AugmentOptions, CodecName, NoiseKind, Range
from vocaffect.augment.parameters import Parameters, draw
from vocaffect.augment.samples import Samples
from vocaffect.augment.stretch import shift_pitch, stretch

__all__ = [
    "CODECS",
    "SYNTHETIC_NOISES",
    "AugmentOptions",
    "CodecName",
    "NoiseKind",
    "Parameters",
    "Range",
    "Samples",
    "Sounds",
    "add_noise",
    "apply",
    "draw",
    "mixed",
    "pink_noise",
    "shift_pitch",
    "stretch",
    "white_noise",
]
