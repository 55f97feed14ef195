"""The proof that a recogniser gives one answer however it is run: whole, frame by frame, in chunks, in a batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vocaffect.bundle import at_once, golden_signal
from vocaffect.recognizer import Recognizer
from vocaffect.utterance import State, fresh_state, softmax

TOLERANCE = 1e-4
"""The largest difference between posteriors that counts as none."""

Samples = NDArray[np.float32]
Reference = Callable[[Samples], NDArray[np.float32]]
"""Samples ``(batch, num_samples)`` to logits, as the torch model computes them."""


@dataclass(frozen=True)
class Check:
    """One comparison: what with what, the largest difference between two posteriors, and the largest allowed."""

    name: str
    difference: float
    allowed: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the difference is small enough; not a number never is."""
        return self.difference <= self.allowed


def verify(recognizer: Recognizer, clips: list[Samples], reference: Reference | None = None) -> list[Check]:
    """Compare every way of running a recogniser on the same clips.

    Where rounding is part of the recogniser (eight bits), a difference in the last bit of a sum can decide how a
    number is rounded: then torch, and the machine that made the golden vector, are allowed what its card allows.

    Args:
        recognizer: what to check.
        clips: signals ``(num_samples,)`` at 16 kHz, each at least a second long.
        reference: the model before it was exported, if it is at hand.
    """
    signals = [*_signals(), *clips]
    allowed = max(TOLERANCE, recognizer.card.golden.tolerance)
    checks = [Check("golden vector", _golden(recognizer), allowed)]
    checks.append(Check("posterior of its logits", max(_calibrated(recognizer, signal) for signal in signals)))
    if reference is not None:
        checks.append(Check("torch, before export", max(_torch(recognizer, s, reference) for s in signals), allowed))
    if recognizer.card.streaming == "frame":
        ways = {"frame by frame": _single_hops, "random chunks": _random_chunks}
        for name, cut in ways.items():
            checks.append(Check(f"offline vs {name}", max(_streamed(recognizer, s, cut) for s in signals)))
    checks.append(Check("batch vs solo", _batched(recognizer, signals)))
    return checks


def _signals() -> list[Samples]:
    """Three signals that are at hand everywhere: as they are, quiet and backwards, and broken off by silence."""
    signal = golden_signal(3.0)
    broken = np.concatenate([signal[:20_000], np.zeros(12_000, np.float32), signal[20_000:]])
    return [signal, np.ascontiguousarray(0.1 * signal[::-1]), broken]


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def _golden(recognizer: Recognizer) -> float:
    golden = recognizer.card.golden
    signal = at_once(recognizer.card, golden_signal(golden.seconds))
    posterior = recognizer.run(signal).posterior.reshape(-1, len(recognizer.labels))[-1]
    return _difference(posterior, np.asarray(golden.posterior, np.float32))


def _calibrated(recognizer: Recognizer, signal: Samples) -> float:
    output = recognizer.run(at_once(recognizer.card, signal))
    return _difference(output.posterior, softmax(output.logits, recognizer.card.temperature))


def _torch(recognizer: Recognizer, signal: Samples, reference: Reference) -> float:
    samples = at_once(recognizer.card, signal)
    return _difference(recognizer.run(samples).posterior, softmax(reference(samples), recognizer.card.temperature))


def _streamed(recognizer: Recognizer, signal: Samples, cut: Callable[[int], Iterator[int]]) -> float:
    samples, hop = at_once(recognizer.card, signal), recognizer.card.hop
    state: State = fresh_state(recognizer.card)
    parts, start = [], 0
    for num_hops in cut(samples.shape[1] // hop):
        output = recognizer.run(samples[:, start : start + num_hops * hop], state)
        parts.append(output.posterior)
        state, start = output.state, start + num_hops * hop
    return _difference(np.concatenate(parts, axis=1), recognizer.run(samples).posterior)


def _single_hops(num_hops: int) -> Iterator[int]:
    return iter([1] * num_hops)


def _random_chunks(num_hops: int) -> Iterator[int]:
    rng = np.random.default_rng(0)
    while num_hops:
        size = min(int(rng.integers(1, 60)), num_hops)
        num_hops -= size
        yield size


def _batched(recognizer: Recognizer, signals: list[Samples]) -> float:
    rows = [at_once(recognizer.card, signal) for signal in signals]
    shortest = min(row.shape[1] for row in rows)
    together = np.concatenate([row[:, -shortest:] for row in rows])
    solo = np.concatenate([recognizer.run(row).posterior for row in np.split(together, len(rows))])
    return _difference(recognizer.run(together).posterior, solo)
