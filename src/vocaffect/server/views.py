"""What the recogniser says, as messages of the protocol; numbers are rounded to what is worth sending."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import Samples, decode
from vocaffect.recognizer import Recognizer
from vocaffect.server import protocol
from vocaffect.stream import Segment, Update
from vocaffect.units import SAMPLE_RATE, exact_div

PEAK_SAMPLES = exact_div(SAMPLE_RATE, 50)
"""A waveform is sent as one peak for each of so many samples: 20 ms."""


def recognize_clip(recognizer: Recognizer, data: bytes, name: str, max_s: float, trace: bool) -> protocol.Recognition:
    """Decode untrusted bytes and recognise them, with a trace if one is wanted.

    Raises:
        AudioError: if the bytes are no audio or last longer than `max_s`.
    """
    clip = decode(data, name=name, max_s=max_s)
    recognition = recognizer.recognize(clip)
    return protocol.Recognition(
        recognizer=recognizer.card.name,
        duration_s=round(recognition.duration_s, 3),
        label=recognition.label,
        posterior=None if recognition.posterior is None else _named(recognizer, recognition.posterior),
        segments=[segment_message(segment) for segment in recognition.segments],
        trace=_trace(recognizer, clip.samples) if trace else None,
    )


def update_message(update: Update) -> protocol.Update:
    """One tick of a stream."""
    return protocol.Update(
        time_s=round(update.time_s, 3),
        speech=update.speech,
        speech_probability=round(float(update.speech_probability), 3),
        level_db=round(float(update.level_db), 1),
        posterior=None if update.posterior is None else _rounded(update.posterior),
        label=update.label,
        segment=update.segment,
    )


def segment_message(segment: Segment) -> protocol.Segment:
    """One span of speech that has ended."""
    return protocol.Segment(
        index=segment.index,
        start_s=round(segment.start_s, 3),
        end_s=round(segment.end_s, 3),
        label=segment.label,
        posterior=_rounded(segment.posterior),
    )


def peaks(samples: Samples) -> list[float]:
    """The largest magnitude in every 20 ms of a signal (num_samples,), the last part zero-padded."""
    padded = np.pad(np.abs(samples), (0, -len(samples) % PEAK_SAMPLES))
    return [round(float(peak), 4) for peak in padded.reshape(-1, PEAK_SAMPLES).max(axis=1)]


def _trace(recognizer: Recognizer, samples: Samples) -> protocol.Trace:
    stream = recognizer.open_stream()
    updates = [*stream.push(samples), *stream.finish()]
    return protocol.Trace(
        peak_s=PEAK_SAMPLES / SAMPLE_RATE,
        peaks=peaks(samples),
        updates=[update_message(update) for update in updates],
    )


def _named(recognizer: Recognizer, posterior: NDArray[np.float32]) -> dict[str, float]:
    return dict(zip(recognizer.labels, _rounded(posterior), strict=True))


def _rounded(posterior: Sequence[float] | NDArray[np.float32]) -> list[float]:
    return [round(float(probability), 5) for probability in posterior]
