"""One live stream: samples in, in any chunks; voice activity, smoothed emotion and segments out, every 100 ms.

A stream runs nothing. Each tick is a generator that asks for what it needs (`Hearing` for voice activity, `Work`
for the model) and is sent the answers, so whoever drives it can answer the requests of many streams together.
What comes out depends on sample positions alone, never on how the samples were cut into chunks.
"""

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.card import Card
from vocaffect.errors import VocaffectError
from vocaffect.history import History
from vocaffect.units import SAMPLE_RATE, seconds_to_samples
from vocaffect.utterance import (
    Decisions,
    Output,
    State,
    Utterance,
    Work,
    fresh_state,
    lasting_state,
    open_utterance,
)
from vocaffect.voice_activity import CHUNK, Heard, Hearing, Memory, VoiceActivity, VoiceOptions, level_db
from vocaffect.voices import VoiceProfile, learns_voices

UPDATE_S = 0.1
TICK = seconds_to_samples(UPDATE_S)

Request = Hearing | Work
Answer = Heard | Output


@dataclass(frozen=True)
class StreamOptions(VoiceOptions):
    """How a stream cuts and smooths; the options of voice activity are among them.

    A segment begins `pre_roll_s` before speech is heard to begin and ends `post_roll_s` after it; one that grows
    longer than `max_segment_s` is ended there and followed by another. The posterior is smoothed with the time
    constant `smoothing_s`: a decision counts the more, the more sound it has heard since the one before.
    """

    pre_roll_s: float = 0.2
    post_roll_s: float = 0.1
    max_segment_s: float = 30.0
    smoothing_s: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.pre_roll_s, self.smoothing_s) < 0 or not 0 <= self.post_roll_s <= self.min_silence_s:
            raise VocaffectError("pre_roll_s, smoothing_s and post_roll_s <= min_silence_s must not be negative")
        if self.max_segment_s < 1:
            raise VocaffectError("max_segment_s must be 1 s or more; raise it")


@dataclass(frozen=True)
class Segment:
    """A span in which somebody spoke, and the model's calibrated decision at its end, posterior (num_labels,).

    `uncertain` says that its largest is below what the card asks for (`uncertain_below`).
    """

    index: int
    start_s: float
    end_s: float
    label: str
    posterior: NDArray[np.float32]
    uncertain: bool = False

    def to_dict(self, labels: list[str]) -> dict[str, Any]:
        """The segment in plain types, ready for JSON."""
        return {
            "index": self.index,
            "start_s": round(self.start_s, 4),
            "end_s": round(self.end_s, 4),
            "label": self.label,
            "uncertain": self.uncertain,
            "posterior": name_posterior(labels, self.posterior),
        }


@dataclass(frozen=True)
class Update:
    """What is known at `time_s`.

    `posterior` (num_labels,) is calibrated and smoothed, `label` its largest; both are None in silence. `segment`
    is the index of the segment that is going on, `ended` the one that has just ended. `features` (num_frames,
    num_features) are those of the frames run in this tick, or of the newest window if one was; they end at
    `features_end_s`. `raw_posterior` is the newest one, not smoothed; `segment_start_s` is where `segment` begins.
    `uncertain` is as in `Segment`; `voice_known` says how far the voice is known, from 0 to 1, and is None where the
    recogniser learns no voices.
    """

    time_s: float
    speech: bool
    speech_probability: float
    level_db: float
    posterior: NDArray[np.float32] | None
    label: str | None
    segment: int | None
    ended: Segment | None
    features: NDArray[np.float32]
    features_end_s: float
    raw_posterior: NDArray[np.float32] | None
    segment_start_s: float | None
    uncertain: bool = False
    voice_known: float | None = None


class Stream:
    """The memory of one live stream at 16 kHz; `advance` computes what streams ask for (`Recognizer.advance`)."""

    def __init__(
        self, card: Card, options: StreamOptions, advance: Callable[[list["Stream"]], list[list[Update]]]
    ) -> None:
        self._card, self._options, self._advance = card, options, advance
        self._voice = VoiceActivity(options)
        self._memory = Memory.fresh()
        self._probability = 0.0
        self._waiting = np.zeros(0, np.float32)
        self._unheard = np.zeros(0, np.float32)
        self._position = 0
        self._features_end = 0
        keep = seconds_to_samples(options.pre_roll_s) + self._voice.lookback + CHUNK + 2 * TICK + card.hop
        self._history = History(keep)
        self._lasting: State = {}
        self._open: _OpenSegment | None = None
        self._free_from = 0
        self._num_segments = 0
        self._finishing = False
        self._finished = False

    @property
    def voice(self) -> VoiceProfile | None:
        """What is known of the voice after the last segment that ended; None if nothing is."""
        return VoiceProfile.of(self._card, self._lasting)

    def use_voice(self, voice: VoiceProfile | None) -> None:
        """Another voice speaks from here on, one that is known or, with None, a new one; the present segment included.

        Raises:
            VocaffectError: if the profile is another recogniser's.
        """
        self._lasting = {} if voice is None else voice.for_card(self._card)
        if self._open is not None:
            fresh = lasting_state(self._card, fresh_state(self._card))
            self._open.utterance.state = {**self._open.utterance.state, **fresh, **self._lasting}

    def push(self, samples: NDArray[np.float32]) -> list[Update]:
        """Take in more samples (num_samples,) and return the updates they complete.

        Raises:
            VocaffectError: if a sample is not finite.
        """
        self.feed(samples)
        return self._advance([self])[0]

    def finish(self) -> list[Update]:
        """End the stream: the last, shorter update, with the segment that was going on."""
        self.end()
        return self._advance([self])[0]

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take in samples without computing anything; raises as `push`."""
        if self._finishing:
            raise RuntimeError("a finished stream takes no more samples; open another")
        samples = np.asarray(samples, np.float32).reshape(-1)
        if not np.isfinite(samples).all():
            raise VocaffectError("the samples hold values that are not finite; send numbers within [-1, 1]")
        self._waiting = np.concatenate([self._waiting, samples])

    def end(self) -> None:
        """Say that no more samples come, without computing anything."""
        self._finishing = True

    def ready(self) -> Generator[Request, Answer, list[Update]]:
        """Every tick whose samples are there; run it to its end before anything else is asked of the stream."""
        updates = []
        while (size := self._next_size()) is not None:
            samples, self._waiting = self._waiting[:size], self._waiting[size:]
            updates.append((yield from self._tick(samples)))
        return updates

    def _next_size(self) -> int | None:
        if len(self._waiting) >= TICK:
            return TICK
        if not self._finishing or self._finished or not (len(self._waiting) or self._open):
            return None
        self._finished = True
        return len(self._waiting)

    def _tick(self, samples: NDArray[np.float32]) -> Generator[Request, Answer, Update]:
        self._history.append(samples)
        self._position += len(samples)
        yield from self._listen(samples)
        if self._open is None and self._voice.spoken_until >= self._free_from + self._card.hop:
            self._open_segment()
        if self._finished:
            self._voice.finish(self._position)
        features, ended = np.zeros((0, 0), np.float32), None
        segment = self._open
        if segment is not None:
            end = self._segment_end(segment)
            features = yield from self._run(segment, self._position if end is None else end)
            ended = None if end is None else (yield from self._close(segment, end))
        return self._update(samples, ended, features)

    def _listen(self, samples: NDArray[np.float32]) -> Generator[Request, Answer, None]:
        self._unheard = np.concatenate([self._unheard, samples])
        while len(self._unheard) >= CHUNK:
            chunk, self._unheard = self._unheard[:CHUNK], self._unheard[CHUNK:]
            heard = yield Hearing(chunk[None], self._memory)
            assert isinstance(heard, Heard)
            self._memory, self._probability = heard.memory, heard.probability
            self._voice.step(self._probability, level_db(chunk))

    def _open_segment(self) -> None:
        hop = self._card.hop
        start = max(0, self._voice.started - seconds_to_samples(self._options.pre_roll_s)) // hop * hop
        start = max(start, self._free_from)
        lookback = self._voice.lookback + CHUNK + TICK
        utterance = open_utterance(self._card, self._lasting, lookback)
        self._open = _OpenSegment(self._num_segments, start, start, utterance, lookback + hop)
        self._num_segments += 1

    def _segment_end(self, segment: "_OpenSegment") -> int | None:
        """Where the segment ends, if that is known by now: a whole number of hops after its start."""
        if self._voice.speaking:
            too_long = self._position - segment.start >= seconds_to_samples(self._options.max_segment_s)
            end = self._position if too_long else None
        else:
            end = min(self._voice.ended + seconds_to_samples(self._options.post_roll_s), self._position)
        return end if end is None else end - (end - segment.start) % self._card.hop

    def _run(self, segment: "_OpenSegment", until: int) -> Generator[Request, Answer, NDArray[np.float32]]:
        samples = self._history.between(segment.fed, max(until, segment.fed))
        segment.fed = max(until, segment.fed)
        decisions = yield from _answered(segment.utterance, segment.utterance.plan(samples))
        if decisions is None:
            return np.zeros((0, 0), np.float32)
        segment.remember(decisions)
        self._features_end = segment.start + int(decisions.positions[-1])
        return decisions.features

    def _close(self, segment: "_OpenSegment", end: int) -> Generator[Request, Answer, Segment]:
        length = end - segment.start
        decisions = yield from _answered(segment.utterance, segment.utterance.plan_end(length))
        if decisions is not None:
            segment.remember(decisions)
        posterior = segment.decision_at(length)
        self._lasting = lasting_state(self._card, segment.utterance.state)
        self._open, self._free_from = None, end
        label = self._card.labels[int(posterior.argmax())]
        uncertain = is_uncertain(self._card, posterior)
        return Segment(segment.index, segment.start / SAMPLE_RATE, end / SAMPLE_RATE, label, posterior, uncertain)

    def _update(self, samples: NDArray[np.float32], ended: Segment | None, features: Any) -> Update:
        segment = self._open
        posterior = newest = None
        if segment is not None and segment.newest is not None:
            newest, posterior = segment.newest, segment.smooth(segment.newest, self._options.smoothing_s)
        return Update(
            time_s=self._position / SAMPLE_RATE,
            speech=segment is not None,
            speech_probability=self._probability,
            level_db=level_db(samples),
            posterior=posterior,
            label=None if posterior is None else self._card.labels[int(posterior.argmax())],
            segment=None if segment is None else segment.index,
            ended=ended,
            features=features,
            features_end_s=self._features_end / SAMPLE_RATE,
            raw_posterior=newest,
            segment_start_s=None if segment is None else segment.start / SAMPLE_RATE,
            uncertain=posterior is not None and is_uncertain(self._card, posterior),
            voice_known=self._voice_known,
        )

    @property
    def _voice_known(self) -> float | None:
        voice = self.voice
        return (0.0 if voice is None else voice.known) if learns_voices(self._card) else None


class _OpenSegment:
    """The segment that is going on: which samples it has been fed, and its decisions of late."""

    def __init__(self, index: int, start: int, fed: int, utterance: Utterance, lookback: int) -> None:
        self.index, self.start, self.fed = index, start, fed
        self.utterance = utterance
        self._recent: deque[Decisions] = deque()
        self.newest: NDArray[np.float32] | None = None
        self._newest_at = 0
        self._smoothed: NDArray[np.float32] | None = None
        self._smoothed_at = 0
        self._lookback = lookback

    def remember(self, decisions: Decisions) -> None:
        """Keep what may still be asked for, by sample position from the segment's start."""
        self._recent.append(decisions)
        self.newest, self._newest_at = decisions.posteriors[-1], int(decisions.positions[-1])
        oldest = self._newest_at - self._lookback
        while int(self._recent[0].positions[-1]) < oldest:
            self._recent.popleft()

    def smooth(self, newest: NDArray[np.float32], time_constant_s: float) -> NDArray[np.float32]:
        """The posteriors (num_labels,) so far as one, ``p += (1 - exp(-t / time_constant_s)) * (newest - p)``.

        t is the sound between the newest decision and the one before. So decisions that come every 10 ms do not
        flicker, and one that comes every half second, and has heard all before it, is not kept back.
        """
        elapsed_s = (self._newest_at - self._smoothed_at) / SAMPLE_RATE
        before = newest if self._smoothed is None else self._smoothed
        weight = 1 - math.exp(-elapsed_s / time_constant_s) if time_constant_s else 1.0
        self._smoothed, self._smoothed_at = np.asarray(before + weight * (newest - before), np.float32), self._newest_at
        return self._smoothed

    def decision_at(self, position: int) -> NDArray[np.float32]:
        """The posterior (num_labels,) at exactly this position from the segment's start."""
        for decisions in reversed(self._recent):
            found = np.flatnonzero(decisions.positions == position)
            if len(found):
                return np.asarray(decisions.posteriors[found[-1]])
        raise KeyError(position)


def is_uncertain(card: Card, posterior: NDArray[np.float32]) -> bool:
    """Whether a posterior (num_labels,) says too little for a label to be claimed."""
    return float(posterior.max()) < card.uncertain_below


def name_posterior(labels: list[str], posterior: NDArray[np.float32]) -> dict[str, float]:
    """A posterior (num_labels,) as label -> probability, rounded to six decimals."""
    return {label: round(float(p), 6) for label, p in zip(labels, posterior, strict=True)}


def _answered(utterance: Utterance, work: Work | None) -> Generator[Request, Answer, Decisions | None]:
    if work is None:
        return None
    output = yield work
    assert isinstance(output, Output)
    return utterance.complete(output)
