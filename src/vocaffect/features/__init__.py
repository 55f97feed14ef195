"""Features on the one signal path: torch modules that take samples and an explicit state."""

from vocaffect.features.deltas import Deltas
from vocaffect.features.framing import Framing
from vocaffect.features.frontend import FrontEnd, FrontEndOutput, FrontEndState
from vocaffect.features.level import Level
from vocaffect.features.mel import Mel
from vocaffect.features.mfcc import Mfcc
from vocaffect.features.registry import Feature, Frames, build_feature, feature_names, register_feature
from vocaffect.features.spectrum import PowerSpectrum

__all__ = [
    "Deltas",
    "Feature",
    "Frames",
    "Framing",
    "FrontEnd",
    "FrontEndOutput",
    "FrontEndState",
    "Level",
    "Mel",
    "Mfcc",
    "PowerSpectrum",
    "build_feature",
    "feature_names",
    "register_feature",
]
