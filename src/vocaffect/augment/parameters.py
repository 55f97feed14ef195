"""What happens to one clip, drawn once; applying it is another matter."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vocaffect.augment.channel import EQ_HZ
from vocaffect.augment.options import NEW_CHANGES, OLD_CHANGES, AugmentOptions, CodecName, NoiseKind, Range

LONGEST_ORDER = 8


@dataclass(frozen=True)
class Parameters:
    """What happens to one clip; the defaults leave it as it is."""

    speed: float = 1.0
    tempo: float = 1.0
    pitch_semitones: float = 0.0
    shift_s: float = 0.0
    room: Literal["synthetic", "recorded"] | None = None
    reverb_s: float = 0.0
    noise_snr_db: float | None = None
    noise_kind: NoiseKind = "white"
    noise_seed: int = 0
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None
    filter_order: int = 0
    tilt_db: float = 0.0
    eq_db: tuple[float, ...] = ()
    telephone: bool = False
    gain_db: float = 0.0
    clip_db: float = 0.0
    codec: CodecName | None = None
    part: float = 1.0
    seed: int = 0
    """Of what is chosen only where something happens: the room, and the codec's bit rate."""


def draw(rng: np.random.Generator, options: AugmentOptions | None = None) -> Parameters:
    """Draw what happens to one clip, always with the same number of draws, whatever the options.

    What was added later is drawn from a generator of its own, so the first five are what they were before it.

    >>> draw(np.random.default_rng(0), AugmentOptions(probability=0)) == Parameters()
    True
    """
    options = options or AugmentOptions()
    happens, where = rng.random(len(OLD_CHANGES)), rng.random(len(OLD_CHANGES))
    half, noise_seed = int(rng.integers(2)), int(rng.integers(2**63))
    later = rng.spawn(1)[0]
    seed, order = int(later.integers(2**63)), int(later.integers(1, LONGEST_ORDER + 1))
    (kind, codec, room), levels = later.random(3), later.random(len(EQ_HZ))
    table = later.random((len(NEW_CHANGES), 2))
    drawn = {
        name: (float(place) if hit < options.probability_of(name) else None)
        for name, hit, place in (
            *zip(OLD_CHANGES, happens, where, strict=True),
            *((name, *row) for name, row in zip(NEW_CHANGES, table, strict=True)),
        )
    }

    def within(name: str, otherwise: float = 0.0) -> float:
        place, bounds = drawn[name], getattr(options, name)
        return otherwise if place is None or bounds is None else _between(bounds, place)

    def octaves(name: str) -> float | None:
        place, bounds = drawn[name], getattr(options, name)
        return None if place is None else float(2 ** _between(tuple(np.log2(bounds)), place))

    kinds, at = options.noise_kinds, (half + kind) / 2
    filters = (octaves("high_pass_hz"), octaves("low_pass_hz"))
    noise = None if drawn["noise_snr_db"] is None else within("noise_snr_db")
    recorded = options.reverb_folder is not None and (options.reverb_s is None or room < 0.5)
    return Parameters(
        speed=within("speed", 1.0),
        tempo=within("tempo", 1.0),
        pitch_semitones=within("pitch_semitones"),
        shift_s=within("shift_s"),
        room=None if drawn["reverb_s"] is None else "recorded" if recorded else "synthetic",
        reverb_s=within("reverb_s"),
        noise_snr_db=noise,
        noise_kind="white" if noise is None else kinds[int(at * len(kinds))],
        noise_seed=0 if noise is None else noise_seed,
        high_pass_hz=filters[0],
        low_pass_hz=filters[1],
        filter_order=order if any(filters) else 0,
        tilt_db=within("tilt_db"),
        eq_db=() if drawn["eq_db"] is None else tuple(_between(options.eq_db or (0, 0), float(x)) for x in levels),
        telephone=drawn["telephone"] is not None,
        gain_db=within("gain_db"),
        clip_db=within("clip_db"),
        codec=None if drawn["codecs"] is None else options.codecs[int(codec * len(options.codecs))],
        part=within("part", 1.0),
        seed=0 if drawn["reverb_s"] is None and drawn["codecs"] is None else seed,
    )


def _between(bounds: Range, place: float) -> float:
    return float(bounds[0] + place * (bounds[1] - bounds[0]))
