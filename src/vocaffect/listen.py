"""A live stream in the terminal: chunks from a microphone or a file, and a display of what they express."""

import queue
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import Resampler, read_clip
from vocaffect.errors import VocaffectError
from vocaffect.stream import UPDATE_S, Segment, Stream, Update
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

COLOURS = {
    "neutral": "default",
    "calm": "cyan",
    "happy": "yellow",
    "sad": "blue",
    "angry": "red",
    "fearful": "magenta",
    "disgust": "green",
    "surprised": "bright_magenta",
}
_QUIET = "bright_black"
_BAR_WIDTH = 40
_HISTORY = 60
_SHOWN_SEGMENTS = 5
_LEVELS = " ▁▂▃▄▅▆▇█"
_QUIETEST_DB, _LOUDEST_DB = -70.0, -10.0


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """Turn the first ctrl-C into a wish that is looked at between chunks, so that no chunk is cut in two."""
    stop = Event()

    def ask(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, before)
        stop.set()

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def follow(stream: Stream, chunks: Iterator[NDArray[np.float32]], show: Callable[[Update], None]) -> None:
    """Push every chunk (num_samples,) through a stream and show each update, the last ones included."""
    for chunk in chunks:
        for update in stream.push(chunk):
            show(update)
    for update in stream.finish():
        show(update)


def file_chunks(path: Path, stop: Event, *, realtime: bool) -> Iterator[NDArray[np.float32]]:
    """A clip in pieces of one update each, as fast as it was recorded if `realtime`.

    Raises:
        AudioError: if the file cannot be read.
    """
    samples = read_clip(path).samples
    size = seconds_to_samples(UPDATE_S)
    begun = time.monotonic()
    for start in range(0, len(samples), size):
        due = begun + (start + size) / SAMPLE_RATE
        if stop.wait(max(0.0, due - time.monotonic()) if realtime else 0):
            return
        yield samples[start : start + size]


def microphone_chunks(device: str | int | None, stop: Event) -> Iterator[NDArray[np.float32]]:
    """What a microphone hears, at 16 kHz, until `stop`; the device runs at its own rate if it must.

    Raises:
        VocaffectError: if sounddevice, PortAudio or the microphone is missing.
    """
    sounddevice = _import_sounddevice()
    blocks: queue.SimpleQueue[NDArray[np.float32]] = queue.SimpleQueue()

    def take(block: NDArray[np.float32], num_frames: int, times: Any, status: Any) -> None:
        blocks.put(block[:, 0].copy())

    try:
        rate = _microphone_rate(sounddevice, device)
        microphone = sounddevice.InputStream(samplerate=rate, device=device, channels=1, dtype="float32", callback=take)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise VocaffectError(
            f"the microphone does not open ({error}); plug one in, or name one of `python -m sounddevice` with --device"
        ) from error
    resampler = Resampler(rate)
    with microphone:
        while not stop.is_set():
            try:
                yield resampler.push(blocks.get(timeout=UPDATE_S))
            except queue.Empty:
                if not microphone.active:
                    raise VocaffectError("the microphone has gone; plug it in again and start anew") from None
    yield resampler.finish()


def _microphone_rate(sounddevice: Any, device: str | int | None) -> int:
    try:
        sounddevice.check_input_settings(device=device, channels=1, dtype="float32", samplerate=SAMPLE_RATE)
    except sounddevice.PortAudioError:
        return int(sounddevice.query_devices(device, "input")["default_samplerate"])
    return SAMPLE_RATE


def _import_sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as error:
        raise VocaffectError(
            "the microphone needs an extra; `pip install 'vocaffect[listen]'`, or listen to a file with --file"
        ) from error
    except OSError as error:  # what sounddevice raises where its library is missing
        raise VocaffectError(
            f"sounddevice does not work here ({error}); install PortAudio, on Debian `apt install libportaudio2`"
        ) from error
    return sounddevice


class Screen:
    """What the live display shows: the posterior as bars, the last seconds as a strip, the last segments."""

    def __init__(self, labels: list[str], title: str) -> None:
        self._labels, self._title = labels, title
        self._strip: deque[tuple[str, str]] = deque(maxlen=_HISTORY)
        self._segments: deque[Segment] = deque(maxlen=_SHOWN_SEGMENTS)
        self._update: Update | None = None

    def take(self, update: Update) -> None:
        """Take in what is known now."""
        self._update = update
        loudness = (update.level_db - _QUIETEST_DB) / (_LOUDEST_DB - _QUIETEST_DB)
        step = round(min(max(loudness, 0.0), 1.0) * (len(_LEVELS) - 1))
        self._strip.append((_LEVELS[step], colour_of(update.label)))
        if update.ended is not None:
            self._segments.append(update.ended)

    def __rich__(self) -> "RenderableType":
        """The display as a rich renderable."""
        from rich import box
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        strip = Text.assemble(*self._strip)
        strip.pad_left(_HISTORY - len(self._strip))
        blank = Text()
        parts = [self._headline(), blank, *self._bars(), blank, strip, blank]
        parts += [segment_line(segment) for segment in self._segments]
        parts += [blank] * (_SHOWN_SEGMENTS - len(self._segments))
        return Panel(
            Group(*parts), title=self._title, subtitle="ctrl-C ends", box=box.ROUNDED, expand=False, padding=(1, 3)
        )

    def _headline(self) -> "Text":
        from rich.text import Text

        update = self._update
        if update is None or not update.speech:
            line = Text("listening … silence", style=_QUIET)
        else:
            line = Text(update.label or "…", style=f"bold {colour_of(update.label)}")
            line.append(", perhaps" if update.uncertain else "", style=_QUIET)
        clock = clock_text(0.0 if update is None else update.time_s)
        line.append(clock.rjust(_HISTORY - len(line)), style=_QUIET)
        return line

    def _bars(self) -> "list[Text]":
        from rich.text import Text

        posterior = None if self._update is None else self._update.posterior
        width = max(map(len, self._labels))
        lines = []
        for index, label in enumerate(self._labels):
            probability = 0.0 if posterior is None else float(posterior[index])
            line = Text(f"{label:<{width}} ", style="" if posterior is not None else _QUIET)
            line.append(bar(probability, _BAR_WIDTH), style=colour_of(label))
            lines.append(line.append(f" {probability:.2f}" if posterior is not None else ""))
        return lines


def bar(fraction: float, width: int) -> str:
    """A bar of at most `width` characters, drawn in eighths of a character and padded with spaces.

    >>> bar(0.5, 4), bar(0.3125, 4)
    ('██  ', '█▎  ')
    """
    full, eighths = divmod(round(min(max(fraction, 0.0), 1.0) * width * 8), 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[eighths] if eighths else "")).ljust(width)


def clock_text(seconds: float) -> str:
    """Minutes, seconds and tenths.

    >>> clock_text(65.25)
    '1:05.2'
    """
    tenths = int(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def colour_of(label: str | None) -> str:
    """The colour of a label; grey where there is none."""
    return _QUIET if label is None else COLOURS.get(label, "default")


def segment_line(segment: Segment) -> "Text":
    """When somebody spoke, and what it expressed."""
    from rich.text import Text

    span = f"{clock_text(segment.start_s):>8} - {clock_text(segment.end_s):<8} "
    line = Text(span, style=_QUIET)
    line.append(segment.label, style=colour_of(segment.label))
    doubt = ", uncertain" if segment.uncertain else ""
    return line.append(f" {segment.posterior.max():.2f}{doubt}", style=_QUIET)
