"""When a stream has made up its mind: the first moment from which the label that it shows stays what it is.

Seen afterwards, and so a measure of streams, not something that a stream could say of itself. Time is that of the
sound heard; what computing and the way there and back take comes on top.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vocaffect.units import SAMPLE_RATE, exact_div

BLOCK_S, RANGE_DB = 0.01, 30.0
TARGET_S = 1.0


class Shown(Protocol):
    """What is looked at of an update, be it a stream's or the protocol's."""

    @property
    def time_s(self) -> float: ...  # noqa: D102
    @property
    def segment(self) -> int | None: ...  # noqa: D102
    @property
    def label(self) -> str | None: ...  # noqa: D102
    @property
    def uncertain(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Settled:
    """The label that stood until the segment ended, and when it and the first of all were shown, from speech onset."""

    label: str
    settled_s: float
    first_s: float


def onset_s(samples: NDArray[np.float32]) -> float:
    """Where the speech of a clip (num_samples,) begins: its first 10 ms that are within 30 dB of its loudest 10 ms.

    By level, so that a voice-activity detector that hears a voice too late is not forgiven.

    >>> onset_s(np.repeat(np.array([0.001, 0.5], np.float32), [8_000, 1_600]))
    0.5
    """
    size = exact_div(SAMPLE_RATE, round(1 / BLOCK_S))
    blocks = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    power = (blocks**2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max(initial=0.0) / 10 ** (RANGE_DB / 10))
    return float(loud[0]) * size / SAMPLE_RATE if len(loud) else 0.0


def settled(updates: Iterable[Shown], onset_s: float) -> Settled | None:
    """When the first segment's label was settled; None if nobody spoke or it ended without one.

    An uncertain update shows no label. A label that is shown before the onset was settled after 0 s.
    """
    own = [update for update in updates if update.segment == 0]
    shown = [None if update.uncertain else update.label for update in own]
    if not shown or (last := shown[-1]) is None:
        return None
    since = len(shown) - 1
    while since > 0 and shown[since - 1] == last:
        since -= 1
    first = next(index for index, label in enumerate(shown) if label is not None)
    return Settled(last, *(max(0.0, own[index].time_s - onset_s) for index in (since, first)))


def settling(found: Sequence[Settled | None], whole: Sequence[str | None]) -> dict[str, Any]:
    """How soon the streams of some clips were settled, and how often on what was recognised of the `whole` clip.

    Shares are of all clips. One that never settled counts as settled later than any other; a quantile that falls
    among those is None.
    """
    times = [each.settled_s if each else np.inf for each in found]
    firsts = [each.first_s if each else np.inf for each in found]
    return {
        "num_clips": len(found),
        "settled": float(np.isfinite(times).mean()),
        "first_s": {"median": _quantile(firsts, 0.5), "p90": _quantile(firsts, 0.9)},
        "settled_s": {"median": _quantile(times, 0.5), "p90": _quantile(times, 0.9)},
        "within_1_s": float((np.array(times) <= TARGET_S).mean()),
        "as_whole": float(
            np.mean([each is not None and each.label == w for each, w in zip(found, whole, strict=True)])
        ),
    }


def _quantile(values: Sequence[float], share: float) -> float | None:
    value = float(np.quantile(values, share, method="higher"))
    return round(value, 4) if np.isfinite(value) else None
