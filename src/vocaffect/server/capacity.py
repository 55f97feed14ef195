"""How many live streams this machine steps in time, measured when a server starts."""

import time
from collections.abc import Iterable

from vocaffect.bundle import golden_signal
from vocaffect.recognizer import Recognizer
from vocaffect.server.settings import Settings
from vocaffect.stream import TICK, UPDATE_S

TOGETHER, TICKS, UNCOUNTED = 32, 8, 3
SHARE = 0.6
"""Of a batch thread's time that streams may take; the rest is for sockets, clips and bad moments."""
FEWEST = 4


def with_capacity(settings: Settings, recognizers: Iterable[Recognizer]) -> Settings:
    """The settings, with as many streams as the slowest recogniser bears where no number was given."""
    if settings.max_streams is not None:
        return settings
    return settings.model_copy(update={"max_streams": min(map(capacity, recognizers))})


def capacity(recognizer: Recognizer) -> int:
    """How many streams of continuous speech take `SHARE` of one thread."""
    signal = golden_signal((UNCOUNTED + TICKS) * UPDATE_S / 0.8)  # its last fifth is a pause
    streams = [recognizer.open_stream() for _ in range(TOGETHER)]
    begun = time.perf_counter()
    for tick in range(UNCOUNTED + TICKS):
        if tick == UNCOUNTED:
            begun = time.perf_counter()
        for stream in streams:
            stream.feed(signal[tick * TICK : (tick + 1) * TICK])
        recognizer.advance(streams)
    stream_s = (time.perf_counter() - begun) / (TOGETHER * TICKS * UPDATE_S)
    return max(FEWEST, int(SHARE / stream_s))
