"""What may happen to a clip, and how often: plain keyword arguments, checked where they are written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from vocaffect.errors import VocaffectError, unknown_name

Range = tuple[float, float]
NoiseKind = Literal["white", "pink", "babble", "recorded"]
CodecName = Literal["mu-law", "a-law", "opus", "amr", "mp3"]

CODECS: tuple[CodecName, ...] = get_args(CodecName)
SYNTHETIC_NOISES: tuple[NoiseKind, ...] = ("white", "pink", "babble")

OLD_CHANGES = ("noise_snr_db", "gain_db", "tempo", "pitch_semitones", "shift_s")
NEW_CHANGES = (
    "telephone",
    "high_pass_hz",
    "low_pass_hz",
    "tilt_db",
    "eq_db",
    "reverb_s",
    "speed",
    "clip_db",
    "codecs",
    "part",
)
"""Changes in the order they are drawn in; one more goes to the end, so that the others stay as they are."""

LIMITS: Mapping[str, Range] = {
    "tempo": (0.25, 4.0),
    "speed": (0.25, 4.0),
    "pitch_semitones": (-24.0, 24.0),
    "high_pass_hz": (10.0, 7900.0),
    "low_pass_hz": (10.0, 7900.0),
    "reverb_s": (0.01, 10.0),
    "clip_db": (0.0, 60.0),
    "part": (0.01, 1.0),
}
"""How far the ranges may go; the others have no bounds."""


@dataclass(frozen=True)
class AugmentOptions:
    """What may happen to a clip: each change on its own with its probability, uniformly within its range.

    A range of ``None`` switches a change off; a probability of 0 switches all of them off.

    Raises:
        VocaffectError: if a probability or a range makes no sense.
    """

    probability: float = 0.3
    """Of each of the changes, independently of the others."""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Other probabilities for some changes, by the names below."""
    noise_snr_db: Range | None = (10.0, 30.0)
    """Noise this far below the clip's mean power."""
    noises: tuple[NoiseKind, ...] = ("white", "pink")
    """Kinds of noise, evenly often: white, pink, and babble of other training clips."""
    noise_folder: str | None = None
    """A folder of recorded noises, one more kind."""
    gain_db: Range | None = (-12.0, 12.0)
    """A louder or softer recording; never so loud that it passes full scale."""
    tempo: Range | None = (0.85, 1.15)
    """Faster (above 1) or slower speech at the same pitch."""
    pitch_semitones: Range | None = (-2.0, 2.0)
    """A higher or lower voice at the same tempo; formants move with it."""
    shift_s: Range | None = (-0.25, 0.25)
    """Seconds of silence put in front or, below zero, cut from the front (at most half of a clip)."""
    speed: Range | None = None
    """Tempo and pitch together, as a tape that runs faster."""
    reverb_s: Range | None = None
    """The reverberation time of a synthetic room."""
    reverb_folder: str | None = None
    """A folder of recorded room responses, instead of synthetic rooms or, with ``reverb_s``, as often as those."""
    high_pass_hz: Range | None = None
    """The corner below which a microphone hears less, evenly over octaves; 6 to 48 dB an octave."""
    low_pass_hz: Range | None = None
    """The corner above which it hears less."""
    tilt_db: Range | None = None
    """The slope of its frequency response, dB an octave."""
    eq_db: Range | None = None
    """Its response in each of eight octaves, drawn one by one."""
    telephone: bool = False
    """Nothing below 300 and above 3,400 Hz."""
    clip_db: Range | None = None
    """How far the peak passes what the recording can hold; what passes it is cut off."""
    codecs: tuple[CodecName, ...] = ()
    """Codecs, evenly often; see `vocaffect.augment.codec`."""
    part: Range | None = None
    """How much of the clip is heard, from its beginning: a listener decides before the sentence ends."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        for name, probability in {"probability": self.probability, **self.probabilities}.items():
            if name not in ("probability", *OLD_CHANGES, *NEW_CHANGES):
                raise VocaffectError(unknown_name("augmentation", name, (*OLD_CHANGES, *NEW_CHANGES)))
            if not 0 <= probability <= 1:
                raise VocaffectError(f"augmentation {name} is {probability}; give a number between 0 and 1")
        for name in (*OLD_CHANGES, *NEW_CHANGES):
            if name not in ("telephone", "codecs"):
                _check_range(name, getattr(self, name))
        _check_names("noise", self.noises, SYNTHETIC_NOISES)
        _check_names("codec", self.codecs, CODECS)
        if self.noise_snr_db is not None and not self.noise_kinds:
            raise VocaffectError("augmentation noises is empty; name one, or give null for noise_snr_db")

    @property
    def noise_kinds(self) -> tuple[NoiseKind, ...]:
        """The kinds that noise is drawn from."""
        return self.noises if self.noise_folder is None else (*self.noises, "recorded")

    def probability_of(self, name: str) -> float:
        """How probable a change is; 0 where it is switched off."""
        on = bool(getattr(self, name)) or (name == "reverb_s" and self.reverb_folder is not None)
        return self.probabilities.get(name, self.probability) if on else 0.0


def _check_range(name: str, bounds: Range | None) -> None:
    if bounds is None:
        return
    if not (np.isfinite(bounds).all() and bounds[0] <= bounds[1]):
        raise VocaffectError(f"augmentation range {name} is {bounds}; give two numbers, the lower first")
    low, high = LIMITS.get(name, (-np.inf, np.inf))
    if bounds[0] < low or bounds[1] > high:
        raise VocaffectError(f"augmentation range {name} is {bounds}; keep it between {low:g} and {high:g}")


def _check_names(kind: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise VocaffectError(unknown_name(kind, name, known))
