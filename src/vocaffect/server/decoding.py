"""Decoding of untrusted bytes, in a process of its own (`vocaffect.server.decoder`)."""

import os
import socket
import subprocess
import sys
import threading
from typing import BinaryIO

import numpy as np

from vocaffect.audio import AudioError, Clip, decode
from vocaffect.server import decoder

TIMEOUT_S = 30.0
"""How long one clip may take to be decoded, all in all."""


class Decoding:
    """The decoding process; it is started when first needed, and again should it ever end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the process, unless it runs; it is ready some tenths of a second later."""
        with self._lock:
            self._running()

    def decode(self, file: BinaryIO, size: int, name: str, max_s: float) -> Clip:
        """The clip in `size` bytes of a file; `name` is what errors call it.

        Raises:
            AudioError: if it is no audio, breaks a limit, or breaks the decoder.
        """
        if not hasattr(os, "fork"):  # Windows: the limits of `vocaffect.audio` alone
            return decode(file.read(size), name=name, max_s=max_s)
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(TIMEOUT_S)
            with theirs:
                self._hand_over(theirs)
            try:
                return self._exchange(ours, file, size, name, max_s)
            except (EOFError, OSError):
                raise AudioError(
                    f"{name} takes more time or memory to decode than a clip may: send a shorter one, as wav"
                ) from None

    def stop(self) -> None:
        """End the process."""
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._process is not None:
                self._process.wait(10)
            self._control = self._process = None

    def _exchange(self, job: socket.socket, file: BinaryIO, size: int, name: str, max_s: float) -> Clip:
        blocks = iter(lambda: file.read(decoder.BLOCK), b"")
        decoder.send(job, {"name": name, "max_s": max_s}, blocks, size)
        answer, data = decoder.receive(job)
        if "error" in answer:
            raise AudioError(str(answer["error"]))
        samples = np.frombuffer(data, np.float32)
        return Clip(samples, int(str(answer["rate"])), int(str(answer["channels"])))

    def _hand_over(self, job: socket.socket) -> None:
        with self._lock:
            try:
                socket.send_fds(self._running(), [b"j"], [job.fileno()])
            except OSError:  # it has died since
                self._process = None
                socket.send_fds(self._running(), [b"j"], [job.fileno()])

    def _running(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vocaffect.server.decoder", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for the server
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        return self._control
