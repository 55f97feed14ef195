"""Where somebody speaks: the speech probability of a small network, and the state machine that reads it.

The network is Silero VAD 5 (https://github.com/snakers4/silero-vad, MIT) as `vocaffect.silero` builds it. Its state
is a value, so one session serves every stream and answers many of them in one call.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE

CHUNK = 512
"""The network hears this many samples at a time, 32 ms."""

TARGET_DB, MAX_GAIN_DB, FALL_DB = -32.0, 30.0, 0.1
"""Quiet voices are raised before the network hears them: to `TARGET_DB`, by `MAX_GAIN_DB` at most, as measured
by the loudest chunk so far, which fades by `FALL_DB` a chunk. Without it voices 24 dB below RAVDESS' own level,
already low, are missed in 17 clips of 100; with it in less than one."""

CONTEXT = 64
"""And this many before them."""
NETWORK = Path(__file__).parent / "voice_activity.onnx"
"""Silero VAD 5, MIT; `vocaffect.silero` builds it."""
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
class Memory:
    """What is known before a chunk: context (rows, 64) samples, state (2, rows, 128), and loudest_db (rows,)."""

    context: NDArray[np.float32]
    state: NDArray[np.float32]
    loudest_db: NDArray[np.float64]

    @classmethod
    def fresh(cls) -> Self:
        """What is known before the first chunk."""
        context, state = np.zeros((1, CONTEXT), np.float32), np.zeros((2, 1, 128), np.float32)
        return cls(context, state, np.full(1, TARGET_DB - MAX_GAIN_DB))


@dataclass(frozen=True)
class Hearing:
    """A chunk (1, CHUNK) that the network shall hear, and the memory of those before it."""

    samples: NDArray[np.float32]
    memory: Memory


@dataclass(frozen=True)
class Heard:
    """The speech probability of a chunk, and the memory for the next."""

    probability: float
    memory: Memory


def hear(hearings: Sequence[Hearing]) -> list[Heard]:
    """The speech probabilities of one chunk each of many streams, in one call of the network."""
    if not hearings:
        return []
    memories = [hearing.memory for hearing in hearings]
    samples = np.concatenate([hearing.samples for hearing in hearings])
    context = np.concatenate([memory.context for memory in memories])
    state = np.concatenate([memory.state for memory in memories], axis=1)
    power = np.mean(np.square(samples, dtype=np.float64), axis=1)
    loudest = np.concatenate([memory.loudest_db for memory in memories]) - FALL_DB
    loudest = np.maximum(loudest, 10 * np.log10(np.maximum(power, 1e-10)))
    gain = 10 ** (np.clip(TARGET_DB - loudest, 0, MAX_GAIN_DB) / 20)
    raised = (np.concatenate([context, samples], axis=1) * gain[:, None]).astype(np.float32)
    feed = {"input": raised, "state": state, "sr": np.array(SAMPLE_RATE)}
    probability, state = _network().run(None, feed)
    context = samples[:, -CONTEXT:]
    rows = [slice(row, row + 1) for row in range(len(hearings))]
    memories = [Memory(context[row], state[:, row], loudest[row]) for row in rows]
    return [Heard(float(p), memory) for p, memory in zip(probability[:, 0], memories, strict=True)]


def level_db(samples: NDArray[np.float32]) -> float:
    """The root mean square of samples (num_samples,) in dB below full scale, -100 at least.

    >>> level_db(np.full(10, 0.1, np.float32))
    -20.0
    """
    exact = samples.astype(np.float64)
    power = float(exact @ exact) / len(samples) if len(samples) else 0.0
    return round(max(_FLOOR_DB, 10 * math.log10(power)), 2) if power > 0 else _FLOOR_DB


@cache
def _network() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(NETWORK), options, providers=["CPUExecutionProvider"])
