"""Golden vectors: what a bundle must answer to a signal from a formula, such that other processors answer it too.

Where activations are rounded, the last bit of a sum decides of a whole step, and last bits differ between processors.
"""

import numpy as np

from vocaffect.bundle import Bundle, golden_answer, golden_signal, open_model
from vocaffect.card import Card, Golden

SECONDS = (1.0, 0.5, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Lengths of signal that may be taken, the usual one first."""

SHAKES, SHAKEN_BY = 16, 1e-6
MARGIN, WIDEST = 4.0, 0.09


def make_golden(model: bytes, card: Card, tolerance: float = 1e-3) -> Golden:
    """The golden vector of an unsealed model, as it answers here and now."""
    return golden_of(open_model(model, "the model", 1, card, None), tolerance)


def golden_of(bundle: Bundle, tolerance: float = 1e-3) -> Golden:
    """The golden vector of a bundle that is open, of a second unless that says little of other processors.

    The signal is changed by a millionth, again and again. If that moves the posterior by more than a quarter of the
    tolerance, the length of signal is taken at which it moves least, and four times as much is allowed.
    """
    moved = {SECONDS[0]: _moved(bundle, SECONDS[0])}
    if moved[SECONDS[0]] > tolerance / MARGIN:
        moved |= {seconds: _moved(bundle, seconds) for seconds in SECONDS[1:]}
    seconds = min(moved, key=lambda each: moved[each])
    _, posterior = golden_answer(bundle, golden_signal(seconds))
    tolerance = min(max(tolerance, MARGIN * moved[seconds]), WIDEST)
    return Golden(seconds=seconds, posterior=[float(p) for p in posterior], tolerance=tolerance)


def _moved(bundle: Bundle, seconds: float) -> float:
    """How far changes of a millionth in a signal of this length move the posterior, at most."""
    signal, rng = golden_signal(seconds), np.random.default_rng(0)
    shaken = [signal * (1 + SHAKEN_BY * rng.normal(size=len(signal))).astype(np.float32) for _ in range(SHAKES)]
    still, *others = (golden_answer(bundle, each)[1] for each in (signal, *shaken))
    return float(np.max(np.abs(np.array(others) - still)))
