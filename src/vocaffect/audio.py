"""From a file or untrusted bytes to mono samples at 16 kHz: decode, check, downmix, resample.

Decoders deliver blocks, so the limits are counted on decoded samples and a file that expands a thousandfold is refused
before it fills the memory.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vocaffect.decoders import AudioError as AudioError
from vocaffect.decoders import Block, Opened, open_ffmpeg, open_flac, open_soundfile
from vocaffect.pcm import Pcm, to_pcm
from vocaffect.tar import TarError, read_member, tar_of
from vocaffect.units import SAMPLE_RATE

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8
MIN_S = 0.025
"""A shorter clip does not fill one analysis window."""
MAX_S = 3600.0
LOUDEST = 16.0
"""Float samples beyond this are not an overshoot but integers that were never scaled to [-1, 1]."""

_READABLE = "wav, flac, ogg, mp3, m4a, mp4 or webm"

Samples = NDArray[np.float32]


class EmptyAudioError(AudioError):
    """A clip holds nothing, or less than one analysis window."""


@dataclass(frozen=True)
class Clip:
    """A decoded clip: ``samples`` float32 ``(num_samples,)``, mono, 16 kHz, in [-1, 1]."""

    samples: Samples
    source_rate: int
    source_channels: int

    @property
    def duration_s(self) -> float:
        """The length of the clip in seconds."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Measurement:
    """What one pass over a clip's decoded samples, before any resampling, tells about it.

    ``sha256`` is over the interleaved samples, little-endian: int16 where the file holds 16-bit samples and
    float32 elsewhere, so it names the sound and not the container. ``peak`` and ``rms`` are relative to full
    scale; ``clipped`` is the fraction of samples that stay at full scale after another that is there too.
    """

    sha256: str
    duration_s: float
    peak: float
    rms: float
    clipped: float


class Resampler:
    """A live mono stream of 4 to 192 kHz brought to 16 kHz (soxr, HQ), however it is cut into chunks.

    Raises:
        AudioError: if the rate is out of bounds.
    """

    def __init__(self, source_rate: int) -> None:
        _check_rate(source_rate, "the stream")
        self._stream: Any = None
        if source_rate != SAMPLE_RATE:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples) -> Samples:
        """Resample the next float32 ``(num_samples,)``; what is still inside comes out later."""
        return self._resample(samples, last=False)

    def finish(self) -> Samples:
        """The samples still inside, after which the stream is over."""
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, samples: Samples, last: bool) -> Samples:
        if self._stream is None:
            return samples
        output: Samples = self._stream.resample_chunk(samples, last=last)
        return output


def read_clip(path: Path | str, *, max_s: float = MAX_S) -> Clip:
    """Read a clip from a file of any rate, any width and up to eight channels.

    Raises:
        AudioError: if there is no such file, it is no audio, or it breaks a limit.
    """
    with ExitStack() as stack:
        return _open_file(Path(path), stack).clip(max_s)


def read_pcm(path: Path | str, *, max_s: float = MAX_S) -> Pcm:
    """Read a clip as training keeps it: mono, 16 kHz, 16 bits, ``(num_samples,)``.

    Raises:
        AudioError: as `read_clip` does.
    """
    with ExitStack() as stack:
        return _open_file(Path(path), stack).pcm(max_s)


def read_source(path: Path | str, *, max_s: float = MAX_S) -> "Source":
    """Decode a file once, whatever is then asked of it; all of it is in memory, at the file's own rate.

    Raises:
        AudioError: as `read_clip` does.
    """
    with ExitStack() as stack:
        source = _open_file(Path(path), stack)
        return replace(source, stream=list(source._blocks(max_s)))


def decode(data: bytes, *, name: str = "audio", max_s: float = MAX_S) -> Clip:
    """Read a clip from the bytes of a file that nobody vouches for; ``name`` is what errors call it.

    Raises:
        AudioError: if it is no audio or breaks a limit.
    """
    with ExitStack() as stack:
        return _open(_Bytes(data), name, stack).clip(max_s)


def measure(path: Path | str, *, max_s: float = MAX_S) -> Measurement:
    """Hash and measure a clip's decoded samples without resampling them.

    Raises:
        AudioError: as `read_clip` does.
    """
    with ExitStack() as stack:
        return _open_file(Path(path), stack).measure(max_s)


class _StaysPut(io.IOBase):
    """A file whose seek stays where it is if a damaged file asks for a place before the first byte."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError):
            return self.tell()


class _Bytes(_StaysPut, io.BytesIO):
    """In memory."""


class _File(_StaysPut, io.FileIO):
    """On the disk; nothing is read ahead, so its descriptor stands where the file says it does."""


@dataclass(frozen=True)
class Source:
    """A file's sound: blocks of ``(num_samples, channels)``, int16 or float32, as it holds them."""

    name: str
    rate: int
    channels: int
    stream: Iterable[Block]

    @property
    def sha256(self) -> str:
        """As in a `Measurement`."""
        digest = hashlib.sha256()
        for block in self._blocks(MAX_S):
            digest.update(_little_endian(block))
        return digest.hexdigest()

    def clip(self, max_s: float = MAX_S) -> Clip:
        """The sound as `read_clip` gives it."""
        resampler = Resampler(self.rate)
        parts = [resampler.push(_mono(block)) for block in self._blocks(max_s)]
        parts.append(resampler.finish())
        samples = np.concatenate(parts)
        np.clip(samples, -1.0, 1.0, out=samples)
        return Clip(samples, self.rate, self.channels)

    def pcm(self, max_s: float = MAX_S) -> Pcm:
        """The sound as `read_pcm` gives it; what is so in the file is taken as it is."""
        if (self.rate, self.channels) != (SAMPLE_RATE, 1):
            return to_pcm(self.clip(max_s).samples)
        blocks = list(self._blocks(max_s))
        if any(block.dtype != np.int16 for block in blocks):
            return to_pcm(replace(self, stream=blocks).clip(max_s).samples)
        return np.asarray(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), np.int16)[:, 0]

    def measure(self, max_s: float) -> Measurement:
        """The sound as `measure` tells of it."""
        digest = hashlib.sha256()
        num_samples, num_clipped, peak, power = 0, 0, 0.0, 0.0
        for block in self._blocks(max_s):
            digest.update(_little_endian(block))
            scaled = _scaled(block)
            full = np.abs(scaled) >= 1.0 - 2.0**-14
            num_samples += len(block)
            num_clipped += int(np.count_nonzero(full[1:] & full[:-1]))
            peak = max(peak, float(np.abs(scaled).max()))
            power += float(np.vdot(scaled, scaled))
        count = num_samples * self.channels
        return Measurement(
            digest.hexdigest(), num_samples / self.rate, peak, (power / count) ** 0.5, num_clipped / count
        )

    def _blocks(self, max_s: float) -> Iterator[Block]:
        """The stream with everything checked that only decoding can tell."""
        num_samples = 0
        for block in self.stream:
            num_samples += len(block)
            if num_samples > max_s * self.rate:
                raise AudioError(f"{self.name} lasts longer than {max_s:g} s: cut it into shorter clips")
            if block.dtype == np.float32:
                _check_level(block, self.name)
            if len(block):
                yield block
        if num_samples == 0:
            raise EmptyAudioError(f"{self.name} holds no samples: record or export it again")
        if num_samples < MIN_S * self.rate:
            raise EmptyAudioError(
                f"{self.name} holds {num_samples} sample{'s' * (num_samples > 1)}, "
                f"less than {MIN_S * 1000:g} ms, in which no emotion can be heard: give a longer clip"
            )


def _open_file(path: Path, stack: ExitStack) -> Source:
    try:
        if tar := tar_of(path):
            file: BinaryIO = _Bytes(read_member(tar, path.relative_to(tar).as_posix()))
        else:
            file = _File(path)
            if not file.seekable():  # a pipe
                with file:
                    file = _Bytes(file.read())
    except TarError as error:
        raise AudioError(str(error)) from None
    except FileNotFoundError:
        raise AudioError(f"there is no file {path}: check the path") from None
    except IsADirectoryError:
        raise AudioError(f"{path} is a folder: name an audio file in it") from None
    except OSError as error:
        raise AudioError(f"{path} cannot be opened: {error.strerror or error}") from None
    return _open(stack.enter_context(file), str(path), stack, open_flac(file))


def _open(file: BinaryIO, name: str, stack: ExitStack, opened: Opened | None = None) -> Source:
    opened = opened or open_soundfile(file, name, stack) or open_ffmpeg(file, name, stack)
    if opened is None:
        raise AudioError(
            f"{name} is not audio that can be read: give {_READABLE}, or convert it, for instance with "
            "'ffmpeg -i INPUT output.wav'"
        )
    _check_rate(opened.rate, name)
    if not 1 <= opened.channels <= MAX_CHANNELS:
        raise AudioError(f"{name} has {opened.channels} channels: mix it down to at most {MAX_CHANNELS}, best to one")
    return Source(name, *opened)


def _little_endian(block: Block) -> memoryview:
    return np.ascontiguousarray(block, block.dtype.newbyteorder("<")).data


def _scaled(block: Block) -> NDArray[np.float32]:
    return block * np.float32(2.0**-15) if block.dtype == np.int16 else block.astype(np.float32, copy=False)


def _mono(block: Block) -> Samples:
    return _scaled(block)[:, 0] if block.shape[1] == 1 else _scaled(block).mean(axis=1)


def _check_rate(rate: int, name: str) -> None:
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        raise AudioError(
            f"{name} says it has {rate} samples a second: resample it to {SAMPLE_RATE}, "
            f"or anything from {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )


def _check_level(block: Block, name: str) -> None:
    peak = float(np.abs(block).max(initial=0.0))
    if not np.isfinite(peak):
        raise AudioError(f"{name} holds samples that are not numbers (NaN or infinite): export it again")
    if peak > LOUDEST:
        raise AudioError(f"{name} reaches {peak:.6g} where full scale is 1: divide its samples by their full scale")
