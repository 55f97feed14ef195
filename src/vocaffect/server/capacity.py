"""How many live streams this machine steps in time, measured when a server starts."""

import time
from collections.abc import Iterable

from vocaffect.bundle import golden_signal
from vocaffect.recognizer import Recognizer
from vocaffect.server.settings import Settings
from vocaffect.stream import TICK, UPDATE_S

TOGETHER, TOGETHER_IN_WINDOWS, TICKS, UNCOUNTED = 32, 4, 10, 3
"""Streams that are measured together, for so many ticks after some that do not count. Windows gain nothing from
company, and are slow: a few tell as much."""
SHARE = 0.6
"""Of a batch thread's time that streams may take; the rest is for sockets, clips and bad moments."""
FEWEST = 4


def with_capacity(settings: Settings, recognizers: Iterable[Recognizer]) -> Settings:
    """The settings, with as many streams as the recognisers bear where no number was given."""
    if settings.max_streams is not None:
        return settings
    each = {recognizer.card.name: capacity(recognizer) for recognizer in recognizers}
    return settings.model_copy(update={"max_streams": max(each.values()), "streams_each": each})


def capacity(recognizer: Recognizer) -> int:
    """How many streams of continuous speech take `SHARE` of one thread."""
    signal = golden_signal((UNCOUNTED + TICKS) * UPDATE_S / 0.8)  # its last fifth is a pause
    together = TOGETHER if recognizer.card.streaming == "frame" else TOGETHER_IN_WINDOWS
    streams = [recognizer.open_stream() for _ in range(together)]
    begun = time.perf_counter()
    for tick in range(UNCOUNTED + TICKS):
        if tick == UNCOUNTED:
            begun = time.perf_counter()
        for stream in streams:
            stream.feed(signal[tick * TICK : (tick + 1) * TICK])
        recognizer.advance(streams)
    stream_s = (time.perf_counter() - begun) / (together * TICKS * UPDATE_S)
    return max(FEWEST, int(SHARE / stream_s))
