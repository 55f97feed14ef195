"""The chain a clip goes through: voice, room, noise, microphone, level, line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vocaffect.augment.channel import filtered, overloaded
from vocaffect.augment.codec import coded
from vocaffect.augment.noise import add_noise, babble, looped, pink_noise, white_noise
from vocaffect.augment.options import AugmentOptions
from vocaffect.augment.parameters import Parameters
from vocaffect.augment.recordings import excerpt, list_recordings
from vocaffect.augment.room import LONGEST_S, direct_first, in_room, synthetic_room
from vocaffect.augment.samples import Samples, in_scale
from vocaffect.augment.stretch import resample_pitch, shift, stretch
from vocaffect.errors import VocaffectError
from vocaffect.units import seconds_to_samples


@dataclass(frozen=True)
class Sounds:
    """What augmentation may take from outside the clip: other clips (16 bits a sample), noises, and rooms."""

    voices: Sequence[npt.NDArray[np.int16]] = ()
    noises: Sequence[Path] = ()
    rooms: Sequence[Path] = ()

    @classmethod
    def of(cls, options: AugmentOptions, voices: Sequence[npt.NDArray[np.int16]] = ()) -> "Sounds":
        """What a recipe's options name.

        Raises:
            VocaffectError: if a folder is missing or holds no recordings.
        """
        noises, rooms = options.noise_folder, options.reverb_folder
        return cls(voices, list_recordings(noises) if noises else (), list_recordings(rooms) if rooms else ())


NO_SOUNDS = Sounds()


def apply(samples: Samples, parameters: Parameters, sounds: Sounds = NO_SOUNDS, own: int | None = None) -> Samples:
    """The clip after all that was drawn for it, in the order of the real thing; the input is left alone.

    The part that is heard; speed, pitch and tempo, time shift; the room; noise; the microphone's filters; gain and
    overload; the codec. Samples are ``(num_samples,)`` float32 at 16 kHz in [-1, 1], and so is the result: what would
    pass full scale is turned down as a whole, never clipped.

    Args:
        samples: the clip.
        parameters: what `draw` gave.
        sounds: what babble, recorded noises and recorded rooms are taken from.
        own: which of ``sounds.voices`` the clip is, so that its babble is of others.
    """
    if parameters == Parameters() or not len(samples):
        return samples.copy()
    heard = samples[: max(round(len(samples) * parameters.part), 1)]
    result = _voiced(heard, parameters)
    result = _in_room(result, parameters, sounds)
    if parameters.noise_snr_db is not None:
        result = add_noise(result, parameters.noise_snr_db, _noise(len(result), parameters, sounds, own))
    result = _through_microphone(result, parameters)
    result = in_scale(result * np.float32(10 ** (parameters.gain_db / 20)))
    if parameters.clip_db:
        result = overloaded(result, parameters.clip_db)
    if parameters.codec is None:
        return result
    return in_scale(coded(result, parameters.codec, np.random.default_rng([parameters.seed, 1])))


def _voiced(samples: Samples, parameters: Parameters) -> Samples:
    semitones = parameters.pitch_semitones + 12 * float(np.log2(parameters.speed))
    length = round(len(samples) / (parameters.tempo * parameters.speed))
    return shift(stretch(resample_pitch(samples, semitones), length), parameters.shift_s)


def _in_room(samples: Samples, parameters: Parameters, sounds: Sounds) -> Samples:
    if parameters.room is None:
        return samples
    rng = np.random.default_rng(parameters.seed)
    if parameters.room == "synthetic":
        return in_room(samples, synthetic_room(parameters.reverb_s, rng))
    path = _one_of(sounds.rooms, rng, "rooms")
    return in_room(samples, direct_first(excerpt(path, 2 * seconds_to_samples(LONGEST_S), 0.0)))


def _noise(num_samples: int, parameters: Parameters, sounds: Sounds, own: int | None) -> Samples:
    rng = np.random.default_rng(parameters.noise_seed)
    match parameters.noise_kind:
        case "white":
            return white_noise(num_samples, rng)
        case "pink":
            return pink_noise(num_samples, rng)
        case "babble":
            return babble(num_samples, rng, sounds.voices, own)
        case "recorded":
            recorded = excerpt(_one_of(sounds.noises, rng, "noises"), num_samples, float(rng.random()))
            return looped(recorded, num_samples, 0.0)


def _through_microphone(samples: Samples, parameters: Parameters) -> Samples:
    return filtered(
        samples,
        high_pass_hz=parameters.high_pass_hz,
        low_pass_hz=parameters.low_pass_hz,
        order=parameters.filter_order,
        telephone=parameters.telephone,
        tilt_db=parameters.tilt_db,
        eq_db=parameters.eq_db,
    )


def _one_of(paths: Sequence[Path], rng: np.random.Generator, what: str) -> Path:
    if not paths:
        raise VocaffectError(f"recorded {what} were drawn, but there are none: pass Sounds.of(options)")
    return paths[int(rng.integers(len(paths)))]
