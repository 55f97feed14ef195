"""What the recogniser says, as messages of the protocol; numbers are rounded to what is worth sending."""

import numpy as np
from numpy.typing import NDArray

from vocaffect.audio import Samples
from vocaffect.card import Card
from vocaffect.server import protocol
from vocaffect.stream import Segment, Update
from vocaffect.units import SAMPLE_RATE, seconds_to_samples

PEAK_S = 0.02
"""A waveform is sent as one peak for each of so many seconds."""


def update_message(update: Update, features: protocol.Features | None = None) -> protocol.Update:
    """One tick of a stream."""
    return protocol.Update(
        time_s=round(update.time_s, 4),
        num_samples=round(update.time_s * SAMPLE_RATE),
        speech=update.speech,
        speech_probability=round(float(update.speech_probability), 3),
        level_db=round(float(update.level_db), 1),
        posterior=None if update.posterior is None else rounded(update.posterior),
        raw_posterior=None if update.raw_posterior is None else rounded(update.raw_posterior),
        label=update.label,
        uncertain=update.uncertain,
        segment=update.segment,
        segment_start_s=None if update.segment_start_s is None else round(update.segment_start_s, 4),
        features=features,
    )


class Seen:
    """The frames that a model saw since they were last sent, each once.

    A window model sees most frames several times; a frame is sent with the first window that holds it. All frames of
    one message belong to one segment, so it must be sent when a segment ends.
    """

    def __init__(self, card: Card) -> None:
        self._card = card
        self._until_s = self._start_s = 0.0
        self._frames: list[NDArray[np.float32]] = []
        self._frame_s = card.hop / card.sample_rate

    def add(self, update: Update) -> None:
        """Take in what this update saw."""
        num_frames = len(update.features)
        if not num_frames:
            return
        if self._card.window_s is not None:
            self._frame_s = self._card.window_s / num_frames
        began_s = update.ended.start_s if update.ended else update.segment_start_s or 0.0
        new_s = update.features_end_s - max(self._until_s, began_s)
        num_new = min(num_frames, round(new_s / self._frame_s))
        if num_new > 0:
            if not self._frames:
                self._start_s = update.features_end_s - num_new * self._frame_s
            self._frames.append(update.features[num_frames - num_new :])
            self._until_s = update.features_end_s

    def take(self) -> protocol.Features | None:
        """What is to be sent now; None if the model saw nothing."""
        if not self._frames:
            return None
        values = np.concatenate(self._frames).astype(np.float64).round(4).tolist()
        self._frames = []
        return protocol.Features(start_s=round(self._start_s, 4), frame_s=round(self._frame_s, 6), values=values)


def segment_message(segment: Segment) -> protocol.Segment:
    """One span of speech that has ended."""
    return protocol.Segment(
        index=segment.index,
        start_s=round(segment.start_s, 4),
        end_s=round(segment.end_s, 4),
        label=segment.label,
        posterior=rounded(segment.posterior),
        uncertain=segment.uncertain,
    )


def peaks(samples: Samples) -> list[float]:
    """The largest magnitude in every 20 ms of a signal (num_samples,), the last part zero-padded."""
    size = seconds_to_samples(PEAK_S)
    padded = np.pad(np.abs(samples), (0, -len(samples) % size))
    return [round(peak, 4) for peak in padded.reshape(-1, size).max(axis=1).tolist()]


def rounded(posterior: NDArray[np.float32]) -> list[float]:
    """Probabilities as they are sent."""
    return [round(probability, 5) for probability in posterior.tolist()]
