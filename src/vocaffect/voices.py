"""What a recogniser knows of a voice, as a value: shown, saved where the user asks for it, and forgotten.

A profile is the state that lasts from utterance to utterance (scope "stream"), a few dozen numbers: sums of what the
recogniser thought of what was said. No sound can be made from it. It fits the recogniser it was made with and no other.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_path

from vocaffect.card import Card
from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.files import write_text
from vocaffect.utterance import State

FORMAT = "vocaffect-voice-1"
_NAME = re.compile(r"[\w][\w .-]{0,63}")
STATE = "voice"
"""The state that a profile is of."""
PRIOR = "voice_prior"
"""What a card's normalisation calls the weight of the training voices, in utterances."""


def learns_voices(card: Card) -> bool:
    """Whether a recogniser allows for the voice it hears, and knows it better with every utterance."""
    return PRIOR in card.normalisation and any(spec.name == STATE for spec in card.state)


@dataclass(frozen=True)
class VoiceProfile:
    """What is known of one voice: ``state (1, size)`` of the recogniser with this digest."""

    recognizer: str
    digest: str
    prior: float
    state: State

    @classmethod
    def of(cls, card: Card, state: State) -> Self | None:
        """The profile in what lasts of a stream; None where the recogniser learns no voices, or nobody has spoken."""
        if not learns_voices(card) or STATE not in state or not state[STATE].any():
            return None
        return cls(card.name, card.digest, float(card.normalisation[PRIOR]), {STATE: state[STATE]})

    @property
    def num_utterances(self) -> float:
        """How many utterances it is of; a few dozen at most, since old ones fade."""
        half = self.state[STATE].shape[1] // 2
        return float(self.state[STATE][0, 0] + self.state[STATE][0, half])

    @property
    def known(self) -> float:
        """How far the voice is known: 0 not at all, near 1 after dozens of utterances."""
        return self.num_utterances / (self.num_utterances + self.prior)

    @property
    def newest_logits(self) -> NDArray[np.float32]:
        """Of the newest utterance, before any voice was allowed for and less the training voices' mean."""
        half = self.state[STATE].shape[1] // 2
        return self.state[STATE][0, half + 1 : half + 1 + (half - 1) // 2]

    def for_card(self, card: Card) -> State:
        """The state to begin with.

        Raises:
            VocaffectError: if the profile is another recogniser's.
        """
        shape = [spec.shape for spec in card.state if spec.name == STATE]
        if self.digest != card.digest or shape != [list(self.state[STATE].shape[1:])]:
            raise VocaffectError(
                f"this voice profile was made with {self.recognizer}, and fits no other recogniser or version: make "
                f"one for {card.name}, or choose the recogniser it was made with"
            )
        return {STATE: self.state[STATE].copy()}

    def shown_as(self, label: int) -> Self:
        """The same, where the newest utterance is known to express a label: enrolment with a neutral sentence."""
        state = self.state[STATE].copy()
        num_labels = (state.shape[1] // 2 - 1) // 2
        state[0, -num_labels:] = np.eye(num_labels, dtype=np.float32)[label]
        return type(self)(self.recognizer, self.digest, self.prior, {STATE: state})

    def to_json(self) -> str:
        """The profile as text, of a few kB at most."""
        fields = {
            "format": FORMAT,
            "recognizer": self.recognizer,
            "digest": self.digest,
            "prior": self.prior,
            "voice": [round(float(value), 7) for value in self.state[STATE][0]],
        }
        return json.dumps(fields)

    @classmethod
    def from_json(cls, text: str, source: str = "the voice profile") -> Self:
        """Read what `to_json` wrote.

        Raises:
            VocaffectError: if it is no profile.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields["format"] != FORMAT:
                raise ValueError(f"its format is {fields['format']!r}")
            values = np.array([fields["voice"]], np.float32)
            numbers = [*values[0].tolist(), float(fields["prior"])]
            if values.ndim != 2 or values.shape[1] < 6 or not all(map(math.isfinite, numbers)):
                raise ValueError("its numbers are no voice")
            return cls(str(fields["recognizer"]), str(fields["digest"]), float(fields["prior"]), {STATE: values})
        except (KeyError, TypeError, ValueError) as error:
            raise VocaffectError(f"{source} is no voice profile ({error}): delete it and make it again") from error


def voices_folder() -> Path:
    """Where profiles are kept on this machine."""
    return user_data_path("vocaffect") / "voices"


def profile_names(folder: Path | None = None) -> list[str]:
    """The names of the profiles that are kept, sorted."""
    return sorted(path.stem for path in (folder or voices_folder()).glob("*.json"))


def profile_path(name: str, folder: Path | None = None) -> Path:
    """The file of a profile.

    Raises:
        VocaffectError: if the name is none for a file.
    """
    if not _NAME.fullmatch(name):
        raise VocaffectError(f"a voice profile cannot be called {name!r}: use letters, digits, spaces and '.-_'")
    return (folder or voices_folder()) / f"{name}.json"


def load_profile(name: str, folder: Path | None = None) -> VoiceProfile:
    """Read a profile that was kept.

    Raises:
        VocaffectError: if there is none of that name, or it is damaged.
    """
    path = profile_path(name, folder)
    if not path.is_file():
        raise VocaffectError(unknown_name("voice profile", name, profile_names(folder)))
    return VoiceProfile.from_json(path.read_text(encoding="utf-8"), str(path))


def save_profile(name: str, profile: VoiceProfile, folder: Path | None = None) -> Path:
    """Keep a profile, all or nothing.

    Raises:
        VocaffectError: if the name is none for a file.
    """
    path = profile_path(name, folder)
    write_text(path, profile.to_json() + "\n")
    return path


def delete_profile(name: str, folder: Path | None = None) -> None:
    """Forget a profile that was kept.

    Raises:
        VocaffectError: if there is none of that name.
    """
    path = profile_path(name, folder)
    if not path.is_file():
        raise VocaffectError(unknown_name("voice profile", name, profile_names(folder)))
    path.unlink()
