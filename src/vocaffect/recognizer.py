"""A recogniser: a bundle, and the ways to ask it about whole clips, live streams, or many streams at once."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import Clip, decode, read_clip
from vocaffect.bundle import Bundle, load_bundle, resolve
from vocaffect.card import Card
from vocaffect.errors import VocaffectError, unknown_name
from vocaffect.stream import Answer, Request, Segment, Stream, StreamOptions, Update, is_uncertain, name_posterior
from vocaffect.units import SAMPLE_RATE
from vocaffect.utterance import (
    Decisions,
    Output,
    State,
    WindowUtterance,
    Work,
    lasting_state,
    open_utterance,
)
from vocaffect.voice_activity import Hearing, hear
from vocaffect.voices import VoiceProfile, learns_voices

Source = Clip | Path | str | bytes | NDArray[np.float32]
"""A clip, an audio file or its bytes, or samples (num_samples,) at 16 kHz."""

CHUNK_S = 8
"""Long signals are run in pieces of this many seconds, so that memory does not grow with their length."""

MAX_ROWS = 4
"""No more rows than this go through a window model in one call: sixteen of `accurate` take 340 MB, and a sixth more
time each than one alone."""


@dataclass(frozen=True)
class Trace:
    """What a recogniser thought while it heard one utterance, and in the end.

    posteriors (num_frames, num_labels), active (num_frames,), posterior (num_labels,); for a window model the
    frames are its windows. `voice` is what is known of the voice afterwards, if the recogniser learns voices.
    """

    posteriors: NDArray[np.float32]
    active: NDArray[np.float32]
    posterior: NDArray[np.float32]
    voice: VoiceProfile | None = None


class Decision(NamedTuple):
    """What a recogniser thinks of one utterance, posterior (num_labels,), and what it knows of the voice afterwards."""

    posterior: NDArray[np.float32]
    voice: VoiceProfile | None


@dataclass(frozen=True)
class Recognition:
    """What a clip expresses: posterior (num_labels,) in the order of `labels`, None if nobody speaks in it.

    `uncertain` says that the posterior's largest is below what the card asks for; `voice` is what is known of the voice
    afterwards, None where that is nothing.
    """

    labels: tuple[str, ...]
    posterior: NDArray[np.float32] | None
    segments: tuple[Segment, ...]
    duration_s: float
    uncertain: bool = False
    voice: VoiceProfile | None = None

    @property
    def label(self) -> str | None:
        """The likeliest emotion, or None for silence."""
        return None if self.posterior is None else self.labels[int(self.posterior.argmax())]

    def to_dict(self) -> dict[str, Any]:
        """The recognition in plain types, ready for JSON."""
        labels = list(self.labels)
        return {
            "label": self.label,
            "uncertain": self.uncertain,
            "posterior": None if self.posterior is None else name_posterior(labels, self.posterior),
            "duration_s": round(self.duration_s, 4),
            "segments": [segment.to_dict(labels) for segment in self.segments],
        }


class Recognizer:
    """A checked bundle, ready to use; it remembers nothing of what it hears, so many users may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._longest = math.inf
        if bundle.card.streaming == "frame":
            self._longest = CHUNK_S * SAMPLE_RATE // bundle.card.hop * bundle.card.hop

    @classmethod
    def load(cls, name_or_path: str | Path = "default", threads: int = 1) -> Self:
        """The recogniser of a shipped name or of a bundle file, running on `threads` threads.

        Raises:
            BundleError: if there is no such bundle or it must not be used.
        """
        return cls(load_bundle(resolve(name_or_path), threads=threads))

    @property
    def card(self) -> Card:
        """What the recogniser says about itself."""
        return self._bundle.card

    @property
    def path(self) -> Path | None:
        """The file it was read from, if it was."""
        return self._bundle.path

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of every posterior."""
        return self._bundle.card.labels

    def run(self, samples: NDArray[np.float32], state: State | None = None) -> Output:
        """The model's raw answer to samples (batch, num_samples), from a fresh state if none is given.

        For a frame model `num_samples` is a positive multiple of `card.hop`; a long input is run in pieces;
        for a window model it is the window's length.
        """
        if samples.shape[1] <= self._longest:
            return self._bundle.run(samples, state)
        parts: list[Output] = []
        for start in range(0, samples.shape[1], int(self._longest)):
            parts.append(self._bundle.run(samples[:, start : start + int(self._longest)], state))
            state = parts[-1].state
        *said, _ = zip(*parts, strict=True)
        logits, posterior, features, active = (np.concatenate(arrays, axis=1) for arrays in said)
        return Output(logits, posterior, features, active, parts[-1].state)

    def step(self, works: Sequence[Work]) -> list[Output]:
        """Answer the work of many utterances in as few calls as their shapes allow, in the order of `works`."""
        groups: dict[int, list[int]] = {}
        for index, work in enumerate(works):
            groups.setdefault(work.samples.shape[1], []).append(index)
        answers: dict[int, Output] = {}
        for indices in groups.values():
            outputs = self._run_together([works[index] for index in indices])
            answers.update(zip(indices, outputs, strict=True))
        return [answers[index] for index in range(len(works))]

    def advance(self, streams: list[Stream]) -> list[list[Update]]:
        """Compute all that these streams have samples for, answering what they ask for together."""
        updates: list[list[Update]] = [[] for _ in streams]
        running = {index: stream.ready() for index, stream in enumerate(streams)}
        answers: dict[int, Answer | None] = dict.fromkeys(running)
        while running:
            requests: dict[int, Request] = {}
            for index, answer in answers.items():
                try:
                    requests[index] = running[index].send(answer)  # type: ignore[arg-type]  # None starts it
                except StopIteration as stop:
                    updates[index] = stop.value
                    del running[index]
            answers = dict(zip(requests, self._answer(list(requests.values())), strict=True))
        return updates

    @property
    def learns_voices(self) -> bool:
        """Whether it allows for the voice it hears, and knows it better with every utterance."""
        return learns_voices(self.card)

    def open_stream(self, **options: float) -> Stream:
        """A live stream that this recogniser computes; for the options see `StreamOptions`.

        Raises:
            VocaffectError: if there is no such option or its value makes no sense.
        """
        known = [field.name for field in fields(StreamOptions)]
        for name in options:
            if name not in known:
                raise VocaffectError(unknown_name("stream option", name, known))
        return Stream(self.card, StreamOptions(**options), self.advance)

    def posterior(self, samples: NDArray[np.float32], voice: VoiceProfile | None = None) -> Trace:
        """Hear samples (num_samples,) at 16 kHz as one utterance, of a voice that is known or new.

        Raises:
            VocaffectError: if the signal is shorter than one frame, or the voice is another recogniser's.
        """
        decisions, after = self._hear(samples, voice)
        posteriors = np.concatenate([part.posteriors for part in decisions])
        return Trace(posteriors, np.concatenate([part.active for part in decisions]), posteriors[-1], after)

    def decide(self, samples: NDArray[np.float32], voice: VoiceProfile | None = None) -> Decision:
        """What `posterior` ends with, without what led to it where that costs time.

        Raises:
            VocaffectError: as `posterior`.
        """
        decisions, after = self._hear(samples, voice, end_only=True)
        return Decision(decisions[-1].posteriors[-1], after)

    def enrol(self, source: Source, label: str = "neutral", voice: VoiceProfile | None = None) -> VoiceProfile:
        """Get to know a voice by a clip that is known to express a label.

        Raises:
            VocaffectError: if the recogniser learns no voices or does not know the label, or nobody speaks in the clip.
        """
        if not self.learns_voices:
            raise VocaffectError(f"{self.card.name} learns no voices: choose a recogniser that does")
        if label not in self.labels:
            raise VocaffectError(unknown_name("label", label, self.labels))
        heard = self.recognize(source, voice=voice).voice
        if heard is None:
            raise VocaffectError("nobody speaks in the clip: record a sentence or two")
        return heard.shown_as(self.labels.index(label))

    def recognize(
        self,
        source: Source,
        tell: Callable[[list[Update], float], object] | None = None,
        voice: VoiceProfile | None = None,
    ) -> Recognition:
        """The emotion of a clip, of an audio file or its bytes, or of samples (num_samples,) at 16 kHz.

        The posterior is that of the whole clip as one utterance; if nobody speaks in it there is none. `tell` hears
        the updates of each piece, and which fraction of the clip has been heard. Clips of one voice are told apart
        better if each is given the `voice` of the recognition before.

        Raises:
            AudioError: if the file or the bytes cannot be read as audio.
            VocaffectError: if the voice is another recogniser's.
        """
        samples = _samples(source)
        stream = self.open_stream()
        stream.use_voice(voice)
        updates: list[Update] = []
        for start in range(0, len(samples), CHUNK_S * SAMPLE_RATE):
            updates += (part := stream.push(samples[start : start + CHUNK_S * SAMPLE_RATE]))
            if tell is not None:
                tell(part, min((start + CHUNK_S * SAMPLE_RATE) / len(samples), 1.0))
        updates += (part := stream.finish())
        if tell is not None:
            tell(part, 1.0)
        segments = tuple(update.ended for update in updates if update.ended is not None)
        decision = self.decide(samples, voice) if segments else None
        return Recognition(
            tuple(self.labels),
            None if decision is None else decision.posterior,
            segments,
            len(samples) / SAMPLE_RATE,
            decision is not None and is_uncertain(self.card, decision.posterior),
            voice if decision is None else decision.voice,
        )

    def _hear(
        self, samples: NDArray[np.float32], voice: VoiceProfile | None, end_only: bool = False
    ) -> tuple[list[Decisions], VoiceProfile | None]:
        """The decisions about one utterance, or those that its end depends on; and what is known of the voice then."""
        hop, piece = self.card.hop, CHUNK_S * SAMPLE_RATE
        if len(samples) < hop:
            raise VocaffectError(f"the signal has {len(samples)} samples, one frame needs {hop}; record more")
        utterance = open_utterance(self.card, None if voice is None else voice.for_card(self.card))
        decisions: list[Decisions] = []

        def run(work: Work | None) -> None:
            if work is not None:
                decisions.append(utterance.complete(self.step([work])[0]))

        end = len(samples) // hop * hop
        if end_only and isinstance(utterance, WindowUtterance) and end <= self.card.window_samples:
            utterance.skip(samples[:end])
        else:
            for start in range(0, end, piece):
                run(utterance.plan(samples[start : min(start + piece, end)]))
        run(utterance.plan_end(end))
        return decisions, VoiceProfile.of(self.card, lasting_state(self.card, utterance.state))

    def _answer(self, requests: Sequence[Request]) -> list[Answer]:
        hearings = {index: each for index, each in enumerate(requests) if isinstance(each, Hearing)}
        works = {index: each for index, each in enumerate(requests) if isinstance(each, Work)}
        answers: dict[int, Answer] = dict(zip(works, self.step(list(works.values())), strict=True))
        answers.update(zip(hearings, hear(list(hearings.values())), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _run_together(self, works: Sequence[Work]) -> list[Output]:
        samples = np.concatenate([work.samples for work in works])
        names = works[0].state
        state = {name: np.concatenate([work.state[name] for work in works]) for name in names}
        rows = range(0, len(samples), MAX_ROWS if self.card.streaming == "window" else len(samples))
        parts = [
            self.run(samples[at : at + rows.step], {name: value[at : at + rows.step] for name, value in state.items()})
            for at in rows
        ]
        ends = np.cumsum([len(work.samples) for work in works])
        return [_rows(parts, slice(end - len(work.samples), end)) for work, end in zip(works, ends, strict=True)]


def _rows(parts: Sequence[Output], rows: slice) -> Output:
    def cut(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[rows]

    *said, states = zip(*parts, strict=True)
    logits, posterior, features, active = map(cut, said)
    return Output(
        logits, posterior, features, active, {name: cut([state[name] for state in states]) for name in states[0]}
    )


def _samples(source: Source) -> NDArray[np.float32]:
    match source:
        case Clip():
            return source.samples
        case bytes():
            return decode(source).samples
        case str() | Path():
            return read_clip(source).samples
        case _:
            return np.asarray(source, np.float32)
