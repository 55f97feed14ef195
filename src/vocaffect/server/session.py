"""One client's conversation: text and bytes in, messages out; it knows the protocol and no socket."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from vocaffect import stream as streams
from vocaffect.audio import Resampler
from vocaffect.server import protocol
from vocaffect.server.catalogue import Catalogue, describe
from vocaffect.server.pcm import PcmReader
from vocaffect.server.protocol import ProtocolError
from vocaffect.server.views import segment_message, update_message

Reply = protocol.Ready | protocol.Update | protocol.Segment | protocol.Summary


class Phase(Enum):
    """Where a conversation stands."""

    WAITING = auto()
    STREAMING = auto()
    OVER = auto()


@dataclass
class _Audio:
    """What exists once the client has said how its audio is coded."""

    reader: PcmReader
    resampler: Resampler
    stream: streams.Stream
    sample_rate: int
    num_samples: int = 0


class Session:
    """The protocol of `WS /v1/stream`: hello, audio, end.

    Every method returns the replies in order and raises ProtocolError where the conversation must stop.
    """

    def __init__(self, catalogue: Catalogue, max_stream_s: float) -> None:
        self.phase = Phase.WAITING
        self._catalogue = catalogue
        self._max_stream_s = max_stream_s
        self._audio: _Audio | None = None
        self._segments: list[protocol.Segment] = []

    def text(self, data: str) -> list[Reply]:
        """Answer a text message."""
        message = protocol.parse_client(data)
        match message, self._audio:
            case protocol.Hello(), None:
                return [self._open(message)]
            case protocol.End(), _Audio() as audio:
                return self._finish(audio)
            case _:
                wanted = "end" if self._audio else "hello"
                raise ProtocolError("bad_message", f"'{message.type}' is out of turn; send '{wanted}'")

    def binary(self, data: bytes) -> list[Reply]:
        """Answer a chunk of PCM, of any length."""
        audio = self._audio
        if audio is None:
            raise ProtocolError("bad_message", "audio came before 'hello'; say how it is coded first")
        samples = audio.reader.push(data)
        audio.num_samples += len(samples)
        if audio.num_samples > self._max_stream_s * audio.sample_rate:
            raise ProtocolError("too_long", f"a stream may last {self._max_stream_s:g} s; open another one to go on")
        return self._replies(audio.stream.push(audio.resampler.push(samples)))

    def _open(self, hello: protocol.Hello) -> protocol.Ready:
        if hello.version != protocol.VERSION:
            raise ProtocolError(
                "unsupported_version",
                f"this server speaks version {protocol.VERSION} of the protocol, not {hello.version}",
            )
        recognizer = self._catalogue.get(hello.recognizer)
        self._audio = _Audio(
            reader=PcmReader(hello.format),
            resampler=Resampler(hello.sample_rate),
            stream=recognizer.open_stream(),
            sample_rate=hello.sample_rate,
        )
        self.phase = Phase.STREAMING
        return protocol.Ready(version=protocol.VERSION, update_s=streams.UPDATE_S, recognizer=describe(recognizer))

    def _finish(self, audio: _Audio) -> list[Reply]:
        updates = audio.stream.push(audio.resampler.finish()) + audio.stream.finish()
        replies = self._replies(updates)
        self.phase = Phase.OVER
        summary = protocol.Summary(
            duration_s=round(audio.num_samples / audio.sample_rate, 3),
            speech_s=round(math.fsum(s.end_s - s.start_s for s in self._segments), 3),
            segments=self._segments,
        )
        return [*replies, summary]

    def _replies(self, updates: list[streams.Update]) -> list[Reply]:
        replies: list[Reply] = []
        for update in updates:
            replies.append(update_message(update))
            if update.ended is not None:
                self._segments.append(segment_message(update.ended))
                replies.append(self._segments[-1])
        return replies
