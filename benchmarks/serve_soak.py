"""Ten thousand requests and a thousand streams that come and go: what a server has left over of them.

    python benchmarks/serve_soak.py

Requests are clips of half a second; every tenth one is no audio. Streams send 200 ms; every third one says nothing
more and vanishes. The memory is read ten times along the way, after a first tenth that is not counted, and the slope
is a straight line through those readings.
"""

import asyncio
import io
import struct
import sys

import numpy as np
import soundfile
from _server import Served, serving
from serve_hostile import HELLO, Target, frame

from vocaffect.bundle import golden_signal

REQUESTS, STREAMS, AT_ONCE, READINGS = 10_000, 1_000, 8, 10
SLOPE_BYTES = 1_000


def clip() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, golden_signal(0.5), 16_000, format="WAV")
    return file.getvalue()


async def requests(target: Target, body: bytes, count: int) -> None:
    """Post clips, some at once."""

    async def some(numbers: range) -> None:
        for number in numbers:
            status = await target.post(b"no audio" if number % 10 == 0 else body)
            assert status == ("422" if number % 10 == 0 else "200"), status

    await asyncio.gather(*(some(range(first, count, AT_ONCE)) for first in range(AT_ONCE)))


async def streams(target: Target, count: int) -> None:
    """Open streams one after the other, some at once, and leave."""

    async def some(numbers: range) -> None:
        for number in numbers:
            reader, writer, _ = await target.socket()
            writer.write(HELLO + frame(bytes(6_400)))
            if number % 3:
                writer.write(frame(b'{"type":"end"}', opcode=1))
                code = await target.closed(reader, writer)
                assert code == "1000", code
            else:
                writer.write(frame(struct.pack("!H", 1_001), opcode=8))
                writer.transport.abort()

    await asyncio.gather(*(some(range(first, count, AT_ONCE)) for first in range(AT_ONCE)))


async def soak(served: Served) -> bool:
    target, body = Target(served.url), clip()
    await requests(target, body, REQUESTS // READINGS)
    await streams(target, STREAMS // READINGS)
    descriptors = served.num_descriptors()
    readings: list[tuple[int, int]] = []
    for round_ in range(READINGS):
        readings.append((round_, served.rss_bytes()))
        await requests(target, body, REQUESTS // READINGS)
        await streams(target, STREAMS // READINGS)
        print(f"{(round_ + 1) * REQUESTS // READINGS:6} requests  {served.rss_bytes() / 2**20:6.1f} MB", flush=True)
    readings.append((READINGS, served.rss_bytes()))
    await asyncio.sleep(7)
    rounds, sizes = zip(*readings, strict=True)
    slope = float(np.polyfit(rounds, sizes, 1)[0]) / ((REQUESTS + STREAMS) / READINGS)
    left = served.num_descriptors() - descriptors
    print(f"memory, bytes a request or stream  {slope:8.1f}     (target < {SLOPE_BYTES})")
    print(f"descriptors left open              {left:8}     (target 0)")
    return slope < SLOPE_BYTES and left <= 0


def main() -> None:
    with serving() as served:
        sys.exit(not asyncio.run(soak(served)))


if __name__ == "__main__":
    main()
