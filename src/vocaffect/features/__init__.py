"""Features on the one signal path: torch modules that take samples and an explicit state."""

from vocaffect.features.base import Feature, Frames
from vocaffect.features.chroma import Chroma
from vocaffect.features.deltas import Deltas
from vocaffect.features.framing import Framing
from vocaffect.features.frontend import FrontEnd, FrontEndOutput, FrontEndState
from vocaffect.features.level import Level
from vocaffect.features.mel import Mel
from vocaffect.features.mfcc import Mfcc
from vocaffect.features.pitch import Pitch
from vocaffect.features.plain import PlainFeature
from vocaffect.features.registry import build_feature, feature_names, register_feature, registered
from vocaffect.features.rms import Rms
from vocaffect.features.spectral import Centroid, Flatness, Rolloff
from vocaffect.features.spectrum import PowerSpectrum
from vocaffect.features.waveform import Waveform
from vocaffect.features.zero_crossings import ZeroCrossings

__all__ = [
    "Centroid",
    "Chroma",
    "Deltas",
    "Feature",
    "Flatness",
    "Frames",
    "Framing",
    "FrontEnd",
    "FrontEndOutput",
    "FrontEndState",
    "Level",
    "Mel",
    "Mfcc",
    "Pitch",
    "PlainFeature",
    "PowerSpectrum",
    "Rms",
    "Rolloff",
    "Waveform",
    "ZeroCrossings",
    "build_feature",
    "feature_names",
    "register_feature",
    "registered",
]
