"""The process that decodes what strangers send: small, forked afresh for every clip, and unable to do much.

`python -m vocaffect.server.decoder FD` imports the decoders once, then waits on a UNIX socket for jobs. Each job is a
socket of its own, handed over as a descriptor; a forked child takes it, bounds its memory, its processor time and its
files, decodes, answers and exits. It never imports torch or onnxruntime. A clip that makes a decoder spin, swell or
crash ends that child and nothing else.
"""

import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from vocaffect.audio import AudioError, Resampler, decode

CPU_S = 10
"""Processor time of one clip, which takes a second or so for ten minutes of sound."""
MEMORY_BYTES = 640 * 2**20
"""Address space of one clip beyond that of the process itself."""
BLOCK = 1 << 16
HEADER = struct.Struct("<II")
"""Before each message: the length of its JSON, and of the bytes that follow it."""


def serve(control: socket.socket) -> None:
    """Fork a child for every job until the other end closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    _import_decoders()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    while True:
        word, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not word:
            return
        if os.fork() == 0:
            control.close()
            os.dup2(nowhere, sys.stderr.fileno())  # decoders write a line for whatever is wrong with a file
            with socket.socket(fileno=descriptors[0]) as job:
                _confine()
                with suppress(OSError):
                    _answer(job)
            os._exit(0)
        os.close(descriptors[0])


def receive(sock: socket.socket) -> tuple[dict[str, object], bytearray]:
    """One message: its fields and its bytes.

    Raises:
        EOFError: if the other end stops in the middle.
    """
    num_fields, num_bytes = HEADER.unpack(_exactly(sock, HEADER.size))
    return json.loads(_exactly(sock, num_fields)), _exactly(sock, num_bytes)


def send(sock: socket.socket, fields: dict[str, object], blocks: Iterable[bytes] = (), num_bytes: int = 0) -> None:
    """Send one message, whose bytes come in blocks."""
    text = json.dumps(fields).encode()
    sock.sendall(HEADER.pack(len(text), num_bytes) + text)
    for block in blocks:
        sock.sendall(block)


def _answer(job: socket.socket) -> None:
    fields, data = receive(job)
    try:
        clip = decode(bytes(data), name=str(fields["name"]), max_s=float(str(fields["max_s"])))
    except AudioError as error:
        send(job, {"error": str(error)})
        return
    except MemoryError:
        return  # the other end says what that means
    samples = clip.samples.tobytes()
    send(job, {"rate": clip.source_rate, "channels": clip.source_channels}, [samples], len(samples))


def _exactly(sock: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = sock.recv_into(view[got : got + BLOCK])
        if not count:
            raise EOFError("the other end has stopped")
        got += count
    return data


def _confine() -> None:
    import resource  # there is none on Windows, where nothing is forked either

    own = 0
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        own = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if own:
        resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY_BYTES, own + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))  # neither files nor connections can be opened


def _import_decoders() -> None:
    """Everything that decoding imports, so that a child need open no file."""
    import av  # noqa: F401
    import soundfile  # noqa: F401

    Resampler(8_000).finish()


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as inherited:
        serve(inherited)
