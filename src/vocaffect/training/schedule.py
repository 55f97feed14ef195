"""Learning rates as pure functions of how far training has come."""

import math
from typing import Literal

Scheduler = Literal["plateau", "cosine", "one-cycle", "none"]

CLIMB_SHARE = 0.3
"""Of a one-cycle schedule, spent on the way up."""
FIRST_PART, LAST_PART = 1 / 25, 1e-4 / 25
"""What share of its highest rate a one-cycle schedule begins and ends with."""


def planned_rate(
    scheduler: Scheduler, epochs_done: float, *, learning_rate: float, max_epochs: int, warmup_epochs: float = 0.0
) -> float | None:
    """The rate of the next step; ``None`` for schedulers that plan none.

    ``cosine``: a straight climb in ``warmup_epochs``, then half a cosine down to zero. ``one-cycle`` (Smith L N,
    Topin N (2018), arXiv:1708.07120): half a cosine up from a 25th of the rate, in ``warmup_epochs`` or three tenths of
    training, and half a cosine down to next to nothing; momentum stays as it is.

    >>> [round(planned_rate("cosine", e, learning_rate=1, max_epochs=10, warmup_epochs=2), 3) for e in (0, 1, 2, 6)]
    [0.0, 0.5, 1.0, 0.5]
    >>> [round(planned_rate("one-cycle", e, learning_rate=1, max_epochs=10), 3) for e in (0, 1.5, 3, 6.5)]
    [0.04, 0.52, 1.0, 0.5]

    Args:
        scheduler: which.
        epochs_done: with the share of the epoch under way.
        learning_rate: the highest rate.
        max_epochs: when the rate is down.
        warmup_epochs: how long it climbs.
    """
    if scheduler in ("plateau", "none"):
        return None
    if scheduler == "cosine":
        if epochs_done < warmup_epochs:
            return learning_rate * epochs_done / warmup_epochs
        return _cosine(learning_rate, 0.0, epochs_done - warmup_epochs, max_epochs - warmup_epochs)
    climb = warmup_epochs or CLIMB_SHARE * max_epochs
    if epochs_done < climb:
        return _cosine(FIRST_PART * learning_rate, learning_rate, epochs_done, climb)
    return _cosine(learning_rate, LAST_PART * learning_rate, epochs_done - climb, max_epochs - climb)


def _cosine(start: float, end: float, done: float, whole: float) -> float:
    """Half a cosine from ``start`` to ``end``."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done / max(whole, 1e-9)))
