"""The libraries that decode audio, each opened as a rate, a number of channels and a stream of blocks.

libsndfile reads wav, flac, ogg and mp3; what it cannot read (webm, m4a, mp4) goes to FFmpeg through PyAV, which may
open nothing but the bytes it is given. A short FLAC file of 16 bits on the disk, which is what corpora are made of, is
decoded whole by miniaudio, twice as fast; what that finds fault with, and all that comes from elsewhere, is left to
libsndfile.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError

_BLOCK = 1 << 16
_AT_ONCE = 1 << 24
"""Samples, of all channels together, that may be decoded without looking whether there are too many."""

_FFMPEG_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,mp3,ogg,flac",
    "protocol_whitelist": "",
}

Block = NDArray[np.int16] | NDArray[np.float32]


class Opened(NamedTuple):
    """A file's rate in Hz, its channels, and its sound: blocks of ``(num_samples, channels)``, as it holds them."""

    rate: int
    channels: int
    stream: Iterable[Block]


class AudioError(VocaffectError):
    """A clip cannot be used; the message says why and how to mend it."""


def open_flac(file: BinaryIO) -> Opened | None:
    """A FLAC file of 16 bits that is short and whole; ``None`` for any other, whose bytes are still to be read."""
    head = file.read(26)
    file.seek(0)
    told = int.from_bytes(head[18:])  # RFC 9639, 8.2: 20 bits of rate, 3 of channels, 5 of width, 36 of length
    rate, channels, width, num_samples = told >> 44, (told >> 41 & 7) + 1, (told >> 36 & 31) + 1, told & (1 << 36) - 1
    if not head.startswith(b"fLaC") or width != 16 or not 0 < num_samples * channels <= _AT_ONCE:
        return None
    import miniaudio

    data = file.read()
    file.seek(0)
    try:
        decoded = miniaudio.flac_read_s16(data)
    except miniaudio.DecodeError:
        return None
    if (decoded.sample_rate, decoded.nchannels, decoded.num_frames) != (rate, channels, num_samples):
        return None
    return Opened(rate, channels, [np.frombuffer(decoded.samples, np.int16).reshape(-1, channels)])


def open_soundfile(file: BinaryIO, name: str, stack: ExitStack) -> Opened | None:
    """Whatever libsndfile reads, until the stack is closed; ``None`` for any other, still to be read.

    Raises:
        AudioError: from the stream, where the file is damaged; ``name`` is what it calls the file.
    """
    import soundfile

    try:
        # A descriptor is 3x faster than a Python file object and has no extension to be misled by.
        handle = file if isinstance(file, io.BytesIO) else file.fileno()
        sound = stack.enter_context(soundfile.SoundFile(handle, closefd=False))
    except soundfile.LibsndfileError:
        file.seek(0)
        return None
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"

    def blocks() -> Iterator[Block]:
        try:
            while len(block := sound.read(_BLOCK, dtype=dtype, always_2d=True)):
                yield block
        except soundfile.LibsndfileError as error:
            raise _damaged(name, error) from None

    return Opened(sound.samplerate, sound.channels, blocks())


def open_ffmpeg(file: BinaryIO, name: str, stack: ExitStack) -> Opened | None:
    """Whatever FFmpeg reads of what is allowed, until the stack is closed; ``None`` for any other.

    Raises:
        AudioError: if there is no sound in it; from the stream, where the file is damaged or changes its rate.
    """
    import av

    try:
        container: Any = stack.enter_context(av.open(file, options=_FFMPEG_OPTIONS))
    except (av.FFmpegError, ValueError):
        return None
    stream = next(iter(container.streams.audio), None)
    if stream is None or stream.codec_context is None:
        raise AudioError(f"{name} holds no sound that can be decoded: give a file with an audio track")
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if rate == 0:  # it went by the file's name, and found nothing in it
        return None

    def blocks() -> Iterator[Block]:
        try:
            for frame in container.decode(stream):
                block = _frame_samples(frame)
                if frame.sample_rate != rate or block.shape[1] != channels:
                    raise AudioError(f"{name} changes its rate or channels midway: convert it to wav first")
                yield block
        except av.FFmpegError as error:
            raise _damaged(name, error) from None

    return Opened(rate, channels, blocks())


def _frame_samples(frame: Any) -> Block:
    """The samples of an FFmpeg frame as ``(num_samples, channels)``; its own resampler is never used."""
    values: NDArray[Any] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - np.float32(128.0)) / np.float32(128.0)
    if values.dtype.kind == "i" and values.dtype != np.int16:
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    if values.dtype == np.int16:
        return np.ascontiguousarray(values, np.int16)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def _damaged(name: str, error: Exception) -> AudioError:
    return AudioError(f"{name} is damaged and cannot be read to its end: get it again ({error})")
