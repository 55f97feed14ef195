"""What each change of a 2 s clip costs, and all of them at a probability of 0.3; milliseconds of processor time.

    python benchmarks/augment.py

The clip and the voices of the babble are generated. Codecs beside the two laws of the telephone run FFmpeg's encoders,
which costs what it costs; a recipe draws them rarely.
"""

import time
from collections.abc import Callable

import numpy as np

from vocaffect.augment import AugmentOptions, Parameters, Sounds, apply, draw
from vocaffect.bundle import golden_signal

ROUNDS, CLIPS = 21, 300
CLIP = golden_signal(2.0)
SOUNDS = Sounds([(20_000 * golden_signal(1.0 + k / 20)).astype(np.int16) for k in range(40)])
CHANGES = {
    "speed 1.07": Parameters(speed=1.07),
    "tempo 1.1": Parameters(tempo=1.1),
    "pitch +2 semitones": Parameters(pitch_semitones=2),
    "shift 0.1 s": Parameters(shift_s=0.1),
    "room, 0.5 s": Parameters(room="synthetic", reverb_s=0.5, seed=1),
    "white noise": Parameters(noise_snr_db=10, noise_seed=1),
    "pink noise": Parameters(noise_snr_db=10, noise_kind="pink", noise_seed=1),
    "babble": Parameters(noise_snr_db=10, noise_kind="babble", noise_seed=1),
    "high and low pass": Parameters(high_pass_hz=200, low_pass_hz=4_000, filter_order=4),
    "tilt and equaliser": Parameters(tilt_db=2, eq_db=(3.0, -2.0) * 4),
    "telephone": Parameters(telephone=True),
    "gain": Parameters(gain_db=6),
    "overload": Parameters(clip_db=10),
    "mu-law": Parameters(codec="mu-law"),
    "a-law": Parameters(codec="a-law"),
    "opus": Parameters(codec="opus"),
    "amr": Parameters(codec="amr"),
    "mp3": Parameters(codec="mp3"),
}
DEFAULTS = AugmentOptions()
EVERYTHING = AugmentOptions(
    noises=("white", "pink", "babble"),
    speed=(0.9, 1.1),
    reverb_s=(0.1, 0.8),
    high_pass_hz=(50, 400),
    low_pass_hz=(2_500, 7_500),
    tilt_db=(-3, 3),
    eq_db=(-6, 6),
    telephone=True,
    clip_db=(0, 15),
    codecs=("mu-law", "a-law"),
)


def milliseconds(work: Callable[[], object], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return 1e3 * (time.process_time() - start) / times


def epoch(options: AugmentOptions) -> Callable[[], object]:
    return lambda: [apply(CLIP, draw(np.random.default_rng([1, k]), options), SOUNDS, k % 40) for k in range(CLIPS)]


def main() -> None:
    for name, parameters in CHANGES.items():
        cost = np.median([milliseconds(lambda p=parameters: apply(CLIP, p, SOUNDS, 0)) for _ in range(ROUNDS)])
        print(f"{name:20s} {cost:6.2f} ms")
    for name, options in {"the defaults, p 0.3": DEFAULTS, "all but ffmpeg's": EVERYTHING}.items():
        print(f"{name:20s} {milliseconds(epoch(options)) / CLIPS:6.2f} ms a clip on the mean")


if __name__ == "__main__":
    main()
