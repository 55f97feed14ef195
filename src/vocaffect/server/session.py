"""One client's conversation: text and bytes in, messages out; it knows the protocol, no socket and no model.

What arrives is only put in order of arrival (`text`, `binary`). Whoever computes for many sessions at once lets each
`prepare` its stream, answers the streams together, and lets each session turn its updates into replies (`complete`);
that may be another thread than the one in which messages arrive.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from vocaffect import stream as streams
from vocaffect.audio import Resampler
from vocaffect.errors import VocaffectError
from vocaffect.recognizer import Recognizer
from vocaffect.server import protocol
from vocaffect.server.catalogue import Catalogue, describe
from vocaffect.server.pcm import PcmReader
from vocaffect.server.protocol import Reply
from vocaffect.server.refusals import ProtocolError
from vocaffect.server.views import Seen, segment_message, update_message
from vocaffect.units import SAMPLE_RATE
from vocaffect.voices import VoiceProfile

TURN_S = 0.4
"""No session has more audio than this computed in one turn, so that one that sends a file delays nobody."""


class Phase(Enum):
    """Where a conversation stands."""

    WAITING = auto()
    STREAMING = auto()
    ENDING = auto()
    OVER = auto()


@dataclass
class Audio:
    """What exists once the client has said how its audio is coded."""

    hello: protocol.Hello
    recognizer: Recognizer
    reader: PcmReader
    resampler: Resampler
    stream: streams.Stream
    seen: Seen
    every: int
    """Every so many ticks of the stream an update is sent."""
    num_bytes: int = 0
    num_taken: int = 0
    waiting: "deque[bytes | protocol.Flush | protocol.Voice | protocol.End]" = field(default_factory=deque)
    flushes: list[protocol.Flush] = field(default_factory=list)
    latest: streams.Update | None = None
    num_ticks: int = 0
    num_computed: int = 0


class Session:
    """The protocol of `WS /v1/stream`: hello, then audio, pings and flushes, then end.

    Every method raises ProtocolError where the conversation must stop.
    """

    def __init__(self, catalogue: Catalogue, max_stream_s: float) -> None:
        self.phase = Phase.WAITING
        self._catalogue = catalogue
        self._max_stream_s = max_stream_s
        self._audio: Audio | None = None
        self._segments: list[protocol.Segment] = []

    @property
    def audio(self) -> Audio:
        """What was agreed in `hello`.

        Raises:
            ProtocolError: if nothing has been agreed yet.
        """
        if self._audio is None:
            raise ProtocolError("bad_message", "audio came before 'hello'; say how it is coded first")
        return self._audio

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that have come and are not yet computed."""
        audio = self._audio
        if audio is None:
            return 0.0
        return (audio.num_bytes - audio.num_taken) / (audio.reader.sample_bytes * audio.hello.sample_rate)

    @property
    def has_work(self) -> bool:
        """Whether something has come that is not yet computed."""
        return self._audio is not None and bool(self._audio.waiting)

    def text(self, data: str) -> Reply | None:
        """Take in a text message; what can be answered at once is."""
        message = protocol.parse_client(data)
        match message, self.phase:
            case protocol.Hello(), Phase.WAITING:
                return self.open(message)
            case protocol.Ping(id=number), Phase.STREAMING | Phase.ENDING:
                return protocol.Pong(id=number, num_samples=self.audio.num_computed)
            case protocol.Voice() | protocol.Flush() | protocol.End(), Phase.STREAMING:
                self.audio.waiting.append(message)
                if isinstance(message, protocol.End):
                    self.phase = Phase.ENDING
                return None
            case _:
                wanted = {Phase.WAITING: "send 'hello'", Phase.STREAMING: "send audio or 'end'"}
                advice = wanted.get(self.phase, "wait for the summary")
                raise ProtocolError("bad_message", f"'{message.type}' is out of turn; {advice}")

    def binary(self, data: bytes) -> None:
        """Take in a chunk of PCM, of any length."""
        audio = self.audio
        if self.phase is not Phase.STREAMING:
            raise ProtocolError("bad_message", "audio came after 'end'; open another stream")
        audio.num_bytes += len(data)
        if audio.num_bytes > self._max_stream_s * audio.hello.sample_rate * audio.reader.sample_bytes:
            raise ProtocolError("too_long", f"a stream may last {self._max_stream_s:g} s; open another one to go on")
        if data:
            audio.waiting.append(data)

    def prepare(self) -> streams.Stream:
        """Hand the stream the audio of one turn; it is computed next.

        Raises:
            ProtocolError: if a sample is not a finite number, or a voice is none of this recogniser's.
        """
        audio = self.audio
        whole = budget = round(TURN_S * audio.hello.sample_rate) * audio.reader.sample_bytes
        while audio.waiting and budget > 0:
            match item := audio.waiting.popleft():
                case protocol.Voice() if budget < whole:
                    audio.waiting.appendleft(item)  # what came before it is computed first, as the voice before
                    break
                case protocol.Voice(profile=profile):
                    use_voice(audio.stream, profile)
                case protocol.Flush():
                    audio.flushes.append(item)
                case protocol.End():
                    audio.stream.feed(audio.resampler.finish())
                    audio.stream.end()
                    self.phase = Phase.OVER
                case _:
                    if len(item) > budget:
                        audio.waiting.appendleft(item[budget:])
                        item = item[:budget]
                    budget -= len(item)
                    audio.num_taken += len(item)
                    audio.stream.feed(audio.resampler.push(audio.reader.push(item)))
        return audio.stream

    def complete(self, updates: list[streams.Update]) -> list[Reply]:
        """The replies to what has been computed, in order; the summary if that was the last of it."""
        audio = self.audio
        replies: list[Reply] = []
        for update in updates:
            audio.latest = update
            audio.num_ticks += 1
            audio.num_computed = round(update.time_s * SAMPLE_RATE)
            if audio.hello.features:
                audio.seen.add(update)
            if update.ended is not None or audio.num_ticks % audio.every == 0:
                replies += self._tell(audio)
            if update.ended is not None:
                self._segments.append(segment_message(update.ended))
                replies += [self._segments[-1], *known(audio.stream)]
        if audio.flushes or self.phase is Phase.OVER:
            replies += self._tell(audio)
        replies += [protocol.Flushed(id=flush.id, num_samples=audio.num_computed) for flush in audio.flushes]
        audio.flushes.clear()
        return [*replies, self._summary(audio)] if self.phase is Phase.OVER else replies

    def _tell(self, audio: Audio) -> list[Reply]:
        """The newest update, if it has not been told."""
        latest, audio.latest = audio.latest, None
        return [] if latest is None else [update_message(latest, audio.seen.take())]

    def open(self, hello: protocol.Hello) -> protocol.Ready:
        """Agree on how the audio is coded."""
        if hello.version != protocol.VERSION:
            raise ProtocolError(
                "unsupported_version",
                f"this server speaks version {protocol.VERSION} of the protocol, not {hello.version}",
            )
        recognizer = self._catalogue.get(hello.recognizer)
        every, stream = round(hello.interval_s / streams.UPDATE_S), recognizer.open_stream()
        use_voice(stream, hello.voice)
        self._audio = Audio(
            hello=hello,
            recognizer=recognizer,
            reader=PcmReader(hello.format),
            resampler=Resampler(hello.sample_rate),
            stream=stream,
            seen=Seen(recognizer.card),
            every=every,
        )
        self.phase = Phase.STREAMING
        return protocol.Ready(
            version=protocol.VERSION,
            interval_s=round(every * streams.UPDATE_S, 1),
            recognizer=describe(recognizer),
        )

    def _summary(self, audio: Audio) -> protocol.Summary:
        num_samples = audio.num_bytes // audio.reader.sample_bytes
        return protocol.Summary(
            recognizer=audio.recognizer.card.name,
            duration_s=round(num_samples / audio.hello.sample_rate, 3),
            speech_s=round(math.fsum(s.end_s - s.start_s for s in self._segments), 3),
            segments=self._segments,
        )


def use_voice(stream: streams.Stream, profile: str | None) -> None:
    """Let a voice speak from here on: one that is known by its profile or, with None, a new one.

    Raises:
        ProtocolError: if the profile is none, or another recogniser's.
    """
    try:
        stream.use_voice(None if profile is None else VoiceProfile.from_json(profile))
    except VocaffectError as error:
        raise ProtocolError("bad_message", str(error)) from error


def known(stream: streams.Stream) -> list[Reply]:
    """What is known of the voice, if the recogniser learns voices and somebody has spoken."""
    voice = stream.voice
    return [] if voice is None else [protocol.Known(known=round(voice.known, 4), profile=voice.to_json())]


def answer(sessions: list[Session]) -> list[list[Reply] | Exception]:
    """Compute one turn of many sessions of one recogniser together; what fails in one is that one's answer alone."""
    answers: dict[int, list[Reply] | Exception] = {}
    prepared: dict[int, streams.Stream] = {}
    for index, session in enumerate(sessions):
        try:
            prepared[index] = session.prepare()
        except (ProtocolError, VocaffectError) as error:
            answers[index] = error
    if prepared:
        recognizer = sessions[next(iter(prepared))].audio.recognizer
        for index, updates in zip(prepared, recognizer.advance(list(prepared.values())), strict=True):
            answers[index] = sessions[index].complete(updates)
    return [answers[index] for index in range(len(sessions))]
