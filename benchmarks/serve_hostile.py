"""Hostile uploads, sockets and floods against a running server: each must be answered or cut within its limit.

    python benchmarks/serve_hostile.py

Everything goes to a server on this machine, started here with its usual limits and shorter deadlines. For each attack
it prints what came back, how long it took and the bound; at the end, how many answers were 5xx (target 0), whether the
server still recognises a clip, how far its memory grew (target < 32 MB) and whether descriptors were left open.
"""

import asyncio
import base64
import io
import os
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import numpy as np
import soundfile
from _server import Served, serving

from vocaffect.bundle import golden_signal

HEAD_S, BODY_S, UPLOAD_S, HELLO_S = 3.0, 3.0, 15.0, 3.0
SLACK_S = 5.0
"""A crowded machine answers later than an idle one."""
CROWD = 600
MUTANTS = 200
GROWTH_BYTES = 32 * 2**20

Outcome = Counter[str]
Attack = Callable[["Target"], Awaitable[Outcome]]


class Target:
    """Raw connections to the server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 0

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection(self.host, self.port)

    async def post(self, body: bytes, kind: str = "application/octet-stream") -> str:
        """The status of an upload to /v1/recognize."""
        reader, writer = await self.open()
        writer.write(self.head("POST", "/v1/recognize", f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"))
        return await self.finish(reader, writer, body)

    def head(self, method: str, path: str, more: str = "") -> bytes:
        """The head of a request."""
        return f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{more}\r\n".encode()

    async def finish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes = b"") -> str:
        """Send the rest, and read what is answered: a status, or "cut" where the server hangs up."""
        try:
            writer.write(body)
            sending = asyncio.ensure_future(writer.drain())
            line = await reader.readline()
            sending.cancel()
            return line.split()[1].decode() if line else "cut"
        except (ConnectionError, OSError):
            return "cut"
        finally:
            writer.transport.abort()

    async def socket(self, more: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
        """An upgraded WebSocket, and the head of the server's answer."""
        reader, writer = await self.open()
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = (
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        )
        writer.write(self.head("GET", "/v1/stream", upgrade + more))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return reader, writer, head

    async def closed(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        """The close code of a WebSocket, or "cut"."""
        try:
            while True:
                first, size = await reader.readexactly(2)
                if size == 126:
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack("!Q", await reader.readexactly(8))
                payload = await reader.readexactly(size)
                if first & 15 == 8:
                    return str(struct.unpack("!H", payload[:2])[0])
        except (asyncio.IncompleteReadError, ConnectionError, OSError):
            return "cut"
        finally:
            writer.transport.abort()


def frame(payload: bytes, opcode: int = 2, fin: bool = True, rsv1: bool = False, size: int | None = None) -> bytes:
    """A client's frame; `size` may lie."""
    size = len(payload) if size is None else size
    first = bytes([fin << 7 | rsv1 << 6 | opcode])
    if size < 126:
        head = first + bytes([0x80 | size])
    elif size < 1 << 16:
        head = first + bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head = first + bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + bytes(4) + payload


HELLO = frame(b'{"type":"hello","version":1,"sample_rate":16000,"format":"int16"}', opcode=1)


def sound(samples: np.ndarray, kind: str = "WAV", rate: int = 16_000, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def wav_header(rate: int, size: int, channels: int = 1) -> bytes:
    fmt = struct.pack("<HHIIHH", 1, channels, rate, (rate * channels * 2) & 0xFFFFFFFF, channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + fmt
        + b"data"
        + struct.pack("<I", size)
    )


async def each(target: Target, bodies: list[bytes]) -> Outcome:
    return Counter([await target.post(body) for body in bodies])


async def bombs(target: Target) -> Outcome:
    """Files that expand a thousandfold: an hour of silence, and eight channels of ten minutes."""
    return await each(target, [sound(np.zeros(16_000 * 3_600), "FLAC"), sound(np.zeros((16_000 * 700, 8)), "FLAC")])


async def lying_headers(target: Target) -> Outcome:
    """Sizes, rates and channels that are not so."""
    rates = [wav_header(rate, 8) + bytes(8) for rate in (0, 1, 3_999, 2**31 - 1, 2**32 - 1)]
    return await each(
        target, [*rates, wav_header(16_000, 2**32 - 1) + bytes(100), wav_header(16_000, 64, 9) + bytes(64)]
    )


async def playlists(target: Target) -> Outcome:
    """Text that tells a decoder to open other files and addresses."""
    here = f"http://{target.host}:{target.port}/v1/recognizers"
    texts = [
        "ffconcat version 1.0\nfile /etc/passwd\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{here}\n",
        "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        '<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
        "v=0\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    ]
    return await each(target, [text.encode() for text in texts])


async def no_numbers(target: Target) -> Outcome:
    """Samples that are infinite, or no numbers."""
    return await each(target, [sound(np.full(16_000, bad), subtype="FLOAT") for bad in (np.nan, np.inf, -np.inf, 1e30)])


async def mutants(target: Target) -> Outcome:
    """Real files with bytes changed, cut and doubled."""
    rng, voice = random.Random(5), golden_signal(0.5)
    files = [sound(voice), sound(voice, "FLAC"), sound(voice, "OGG", subtype="VORBIS"), sound(voice, "MP3")]
    bodies: list[bytes] = []
    for number in range(MUTANTS):
        body = bytearray(files[number % len(files)])
        for _ in range(rng.randint(1, 30)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        bodies.append(bytes(body[: rng.randint(1, len(body))] * rng.randint(1, 2)))
    return await each(target, bodies)


async def endless_upload(target: Target) -> Outcome:
    """700 MB in chunks, with no length announced."""
    reader, writer = await target.open()
    writer.write(target.head("POST", "/v1/recognize", "Transfer-Encoding: chunked\r\n"))
    answer = asyncio.ensure_future(reader.readline())
    chunk, sent = b"100000\r\n" + bytes(1 << 20) + b"\r\n", 0
    try:
        while not answer.done() and sent < 700:
            writer.write(chunk)
            await writer.drain()
            sent += 1
        line = await answer
        status = line.split()[1].decode() if line else "cut"
    except (ConnectionError, OSError):
        status = "cut"
    writer.transport.abort()
    return Counter({f"{status} after {'fewer than 60' if sent < 60 else sent} MB": 1})


async def unkept_promise(target: Target) -> Outcome:
    """A terabyte announced, ten bytes sent."""
    reader, writer = await target.open()
    writer.write(target.head("POST", "/v1/recognize", "Content-Length: 1000000000000\r\n"))
    return Counter([await target.finish(reader, writer, bytes(10))])


async def slow_bodies(target: Target) -> Outcome:
    """Six hundred uploads at a byte a second, while somebody honest is answered."""

    async def trickle() -> str:
        reader, writer = await target.open()
        writer.write(target.head("POST", "/v1/recognize", "Content-Length: 1000\r\n"))
        answer = asyncio.ensure_future(reader.readline())
        while not answer.done():
            try:
                writer.write(b"x")
                await writer.drain()
            except (ConnectionError, OSError):
                break
            await asyncio.wait([answer], timeout=1)
        try:
            line = await answer
        except (ConnectionError, OSError):
            line = b""
        writer.transport.abort()
        return line.split()[1].decode() if line else "cut"

    crowd = asyncio.gather(*(trickle() for _ in range(CROWD)))
    await asyncio.sleep(1)
    honest = await target.post(sound(golden_signal(1.0)))
    return Counter(await crowd) + Counter({f"honest {honest}": 1})


async def slow_heads(target: Target) -> Outcome:
    """Six hundred connections whose first request never ends."""

    async def stall() -> str:
        reader, writer = await target.open()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        return await target.finish(reader, writer)

    return Counter(await asyncio.gather(*(stall() for _ in range(CROWD))))


async def head_flood(target: Target) -> Outcome:
    """Heads of a megabyte."""

    async def flood(line: bytes) -> str:
        reader, writer = await target.open()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        return await target.finish(reader, writer, line * (2**20 // len(line)))

    return Counter([await flood(b"X-A: b\r\n"), await flood(b"X" * 4_096)])


async def form_flood(target: Target) -> Outcome:
    """Forms of ten thousand parts, and a file name that climbs."""
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    climbing = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../../etc/passwd"\r\n\r\n?\r\n--x--\r\n'
    )
    kind = "multipart/form-data; boundary=x"
    return Counter([await target.post(part * 10_000 + b"--x--\r\n", kind), await target.post(climbing, kind)])


async def foreign_pages(target: Target) -> Outcome:
    """Pages of another site, over both protocols, and a name pointed at this machine."""
    heads = []
    for origin in ("https://evil.example", "null"):
        reader, writer, head = await target.socket(f"Origin: {origin}\r\n")
        writer.transport.abort()
        heads.append(head.split()[1])
    reader, writer = await target.open()
    writer.write(b"GET /v1/recognizers HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    return Counter([*heads, await target.finish(reader, writer)])


async def deflate_flood(target: Target) -> Outcome:
    """Compressed frames, which were not agreed on."""
    reader, writer, head = await target.socket("Sec-WebSocket-Extensions: permessage-deflate\r\n")
    agreed = "agreed" if "deflate" in head.lower() else "declined"
    writer.write(HELLO + frame(bytes(1_000), rsv1=True))
    return Counter([f"{agreed}, {await target.closed(reader, writer)}"])


async def fragment_flood(target: Target) -> Outcome:
    """A message in two million empty frames."""
    reader, writer, _ = await target.socket()
    writer.write(HELLO + frame(b"", fin=False))
    answer = asyncio.ensure_future(target.closed(reader, writer))
    await _pour(writer, frame(b"", opcode=0, fin=False) * 10_000, 200, answer)
    return Counter([await answer])


async def giant_message(target: Target) -> Outcome:
    """A message of a terabyte, announced; and one of 4 MiB, sent."""
    codes = []
    for payload, size in ((b"", 2**40), (bytes(1 << 22), None)):
        reader, writer, _ = await target.socket()
        writer.write(HELLO + frame(payload, size=size))
        codes.append(await target.closed(reader, writer))
    return Counter(codes)


async def ping_flood(target: Target) -> Outcome:
    """Pings by the million from somebody who reads no pongs, then pings of the protocol."""
    codes = []
    for one in (frame(bytes(100), opcode=9), frame(b'{"type":"ping"}', opcode=1)):
        _, writer, _ = await target.socket()
        writer.write(HELLO)
        gone = asyncio.ensure_future(_gone(writer))
        await _pour(writer, one * 2_000, 200, gone)
        codes.append("cut" if gone.done() or writer.transport.is_closing() else "held back")
        gone.cancel()
        writer.transport.abort()
    return Counter(codes)


async def silent_crowd(target: Target) -> Outcome:
    """Six hundred sockets that never say hello."""

    async def wait() -> str:
        reader, writer, _ = await target.socket()
        return await target.closed(reader, writer)

    return Counter(await asyncio.gather(*(wait() for _ in range(CROWD))))


async def broken_talk(target: Target) -> Outcome:
    """Hellos that are deep, huge, or of another protocol, and samples that are no numbers."""
    codes = []
    nan = frame(np.full(100, np.nan, "<f4").tobytes())
    for first in (
        frame(b"[" * 100_000, opcode=1),
        frame(b'{"type":"hello","x":"' + b"y" * 900_000 + b'"}', opcode=1),
        frame(b"\xff\xfe", opcode=1),
        frame(b"", opcode=3),
        HELLO.replace(b"int16", b"float32").replace(bytes([0x80 | 65]), bytes([0x80 | 67])) + nan,
    ):
        reader, writer, _ = await target.socket()
        writer.write(first)
        codes.append(await target.closed(reader, writer))
    return Counter(codes)


ATTACKS: dict[Attack, float] = {
    bombs: 10,
    lying_headers: 10,
    playlists: 10,
    no_numbers: 10,
    mutants: 60,
    endless_upload: 20,
    unkept_promise: BODY_S,
    slow_bodies: UPLOAD_S,
    slow_heads: HEAD_S,
    head_flood: HEAD_S,
    form_flood: 5,
    foreign_pages: 5,
    deflate_flood: 5,
    fragment_flood: 10,
    giant_message: 5,
    ping_flood: 30,
    silent_crowd: HELLO_S,
    broken_talk: 5,
}
"""Each attack, and how many seconds it may last, the machine being idle."""


async def _pour(writer: asyncio.StreamWriter, block: bytes, times: int, until: "asyncio.Future[object]") -> None:
    """Write a block many times, until that is answered or nobody takes any more."""
    try:
        for _ in range(times):
            if until.done():
                return
            writer.write(block)
            await asyncio.wait_for(writer.drain(), 2)
    except (ConnectionError, OSError, TimeoutError):
        return


async def _gone(writer: asyncio.StreamWriter) -> None:
    while not writer.transport.is_closing():
        await asyncio.sleep(0.01)


async def assail(served: Served) -> bool:
    target = Target(served.url)
    clip = sound(golden_signal(2.0))
    for _ in range(20):
        await target.post(clip)
    rss, descriptors = served.rss_bytes(), served.num_descriptors()
    total, late = Counter[str](), []
    for attack, bound_s in ATTACKS.items():
        begun = time.monotonic()
        outcome = await attack(target)
        took_s = time.monotonic() - begun
        total += outcome
        late += [attack.__name__] * (took_s > bound_s + SLACK_S)
        summary = ", ".join(f"{count} x {what}" for what, count in sorted(outcome.items()))
        print(f"{attack.__name__:16} {took_s:5.1f} s of {bound_s:2.0f}   {summary}", flush=True)
    honest = await target.post(clip)
    await asyncio.sleep(7)  # what was cut is given up by then
    grown, left = served.rss_bytes() - rss, served.num_descriptors() - descriptors
    failed = sum(count for what, count in total.items() if what.split()[-1].startswith("5"))
    print(f"{len(ATTACKS)} attacks, {sum(total.values())} connections or uploads")
    print(f"answers of 5xx           {failed:6}     (target 0)")
    print(f"later than their bound   {len(late):6}     (target 0) {' '.join(late)}")
    print(f"memory grew by, MB       {grown / 2**20:6.1f}     (target < 32)")
    print(f"descriptors left open    {left:6}     (target 0)")
    print(f"a clip afterwards        {honest:>6}     (target 200)")
    return not failed and not late and grown < GROWTH_BYTES and left <= 0 and honest == "200"


def main() -> None:
    limits = {
        "head_timeout_s": HEAD_S,
        "body_timeout_s": BODY_S,
        "upload_timeout_s": UPLOAD_S,
        "hello_timeout_s": HELLO_S,
        "max_streams": 1_000,
    }
    with serving(**limits) as served:
        sys.exit(not asyncio.run(assail(served)))


if __name__ == "__main__":
    main()
