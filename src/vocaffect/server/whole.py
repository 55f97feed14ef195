"""Whole clips, by the same path as live streams; progress is told while they run."""

from collections.abc import Callable

from vocaffect.audio import Clip
from vocaffect.recognizer import Recognizer
from vocaffect.server import protocol
from vocaffect.server.views import PEAK_S, Seen, peaks, rounded, segment_message, update_message
from vocaffect.stream import Update

Tell = Callable[[protocol.Progress], object]


def recognize_clip(
    recognizer: Recognizer, clip: Clip, trace: bool, features: bool, tell: Tell | None = None
) -> protocol.Recognition:
    """Recognise a decoded clip; `trace` adds how it went, with the `features` the model saw if they are wanted."""
    updates: list[Update] = []

    def hear(part: list[Update], fraction: float) -> None:
        if trace:
            updates.extend(part)
        if tell is not None:  # the model computes its features itself, so both steps are as far
            tell(protocol.Progress(step="features", fraction=round(fraction, 3)))
            tell(protocol.Progress(step="inference", fraction=round(fraction, 3)))

    recognition = recognizer.recognize(clip, hear)
    posterior = recognition.posterior
    return protocol.Recognition(
        recognizer=recognizer.card.name,
        duration_s=round(recognition.duration_s, 3),
        label=recognition.label,
        posterior=None if posterior is None else dict(zip(recognizer.labels, rounded(posterior), strict=True)),
        uncertain=recognition.uncertain,
        segments=[segment_message(segment) for segment in recognition.segments],
        trace=_trace(recognizer, clip, updates, features) if trace else None,
    )


def _trace(recognizer: Recognizer, clip: Clip, updates: list[Update], features: bool) -> protocol.Trace:
    seen = Seen(recognizer.card)
    told: list[protocol.Update] = []
    for update in updates:
        if features:
            seen.add(update)
        told.append(update_message(update, seen.take()))
    return protocol.Trace(peak_s=PEAK_S, peaks=peaks(clip.samples), updates=told)
