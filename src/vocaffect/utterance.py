"""One utterance on its way through a model: which samples to run next, and what the outputs decide so far.

A whole clip and a segment of a live stream are both utterances and both take this path, so they cannot
differ. Nothing here runs a model: an utterance hands out `Work`, somebody computes it, perhaps together with
the work of other streams, and hands the `Output` back.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vocaffect.card import Card

State = dict[str, NDArray[np.float32]]
Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """Samples (rows, num_samples) that a model shall be run on, each row with its state (rows, ...)."""

    samples: Samples
    state: State


class Output(NamedTuple):
    """What a model answers.

    Frame models: logits and the calibrated posterior (batch, num_frames, num_labels), features (batch, num_frames,
    num_features), active (batch, num_frames). Window models: logits and posterior (batch, num_labels), features and
    active of those windows.
    """

    logits: NDArray[np.float32]
    posterior: NDArray[np.float32]
    features: NDArray[np.float32]
    active: NDArray[np.float32]
    state: State


@dataclass(frozen=True)
class Decisions:
    """What a model thinks of the utterance so far at some sample positions, counted from its start.

    positions (n,), posteriors (n, num_labels), active (n,); features (n, num_features) of a frame model, those
    of the newest window (num_frames, num_features) of a window model.
    """

    positions: NDArray[np.int64]
    posteriors: NDArray[np.float32]
    active: NDArray[np.float32]
    features: NDArray[np.float32]


class Utterance(Protocol):
    """The running decision about one utterance; each `Work` is answered before the next is asked for."""

    state: State

    def plan(self, samples: Samples) -> Work | None:
        """What to run now that these samples (num_samples,) have followed those before, if anything."""

    def complete(self, output: Output) -> Decisions:
        """The decisions that an answer brings."""

    def plan_end(self, position: int) -> Work | None:
        """What must still be run for a decision at exactly this position, if anything."""


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The calibrated posterior ``exp(l / T) / sum exp(l / T)`` over the last axis.

    >>> softmax(np.array([0.0, 0.0], np.float32), 1.0)
    array([0.5, 0.5], dtype=float32)
    """
    if logits.size == logits.shape[-1]:
        return _softmax_of_one(logits, temperature)
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _softmax_of_one(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """The same of one row in plain numbers: after a model has filled the caches with its weights, numpy is slow."""
    row: list[float] = logits.ravel().tolist()
    largest = max(row)
    powers = [math.exp((value - largest) / temperature) for value in row]
    total = sum(powers)
    return np.array([power / total for power in powers], np.float32).reshape(logits.shape)


def open_utterance(card: Card, lasting: State | None = None, lookback: int = 0) -> Utterance:
    """A new utterance for the model of this card.

    `lasting` is the state that outlives utterances (scope "stream"); its end may be told up to `lookback`
    samples late.
    """
    return FrameUtterance(card, lasting) if card.streaming == "frame" else WindowUtterance(card, lasting, lookback)


def fresh_state(card: Card, batch: int = 1) -> State:
    """The state before the first sample: zeros (batch, *shape) for every tensor the card names."""
    return {spec.name: np.zeros((batch, *spec.shape), np.float32) for spec in card.state}


def lasting_state(card: Card, state: State) -> State:
    """The part of a state that outlives utterances (scope "stream")."""
    return {spec.name: state[spec.name] for spec in card.state if spec.scope == "stream"}


class FrameUtterance:
    """An utterance for a causal model: every whole hop is run once, its posterior is the decision so far."""

    def __init__(self, card: Card, lasting: State | None = None) -> None:
        self.state = {**fresh_state(card), **(lasting or {})}
        self._hop = card.hop
        self._remainder = np.zeros(0, np.float32)
        self._position = 0

    def plan(self, samples: Samples) -> Work | None:
        """Everything up to the last whole hop; what is left over waits for more samples."""
        samples = np.concatenate([self._remainder, samples])
        whole = len(samples) // self._hop * self._hop
        self._remainder = samples[whole:]
        return Work(samples[None, :whole], self.state) if whole else None

    def complete(self, output: Output) -> Decisions:
        """One decision for each frame of the answer."""
        self.state = output.state
        positions = self._position + self._hop * np.arange(1, output.posterior.shape[1] + 1)
        self._position = int(positions[-1])
        return Decisions(positions, output.posterior[0], output.active[0], output.features[0])

    def plan_end(self, position: int) -> Work | None:
        """Nothing: a frame ends at every whole hop."""
        return None


class WindowUtterance:
    """An utterance for a model that sees a window at a time, the part before the utterance being zeros.

    A window ends at every whole `window_hop_s`. Until a window is full the newest one, which has heard
    everything, decides alone; from then on the mean of the logits of all full windows decides.
    """

    def __init__(self, card: Card, lasting: State | None = None, lookback: int = 0) -> None:
        self.state = {**fresh_state(card), **(lasting or {})}
        self._size, self._hop, self._temperature = card.window_samples, card.window_hop_samples, card.temperature
        self._keep = self._size + lookback
        self._heard = np.zeros(0, np.float32)
        self._num_heard = 0
        self._planned = np.zeros(0, np.int64)
        self._newest = 0
        self._full: list[tuple[int, NDArray[np.float32]]] = []
        self._sum: NDArray[np.float64] | None = None

    def plan(self, samples: Samples) -> Work | None:
        """The windows that end within these samples."""
        first = self._num_heard // self._hop + 1
        self._heard = np.concatenate([self._heard, samples])
        self._num_heard += len(samples)
        work = self._windows(np.arange(first, self._num_heard // self._hop + 1) * self._hop)
        self._heard = self._heard[-self._keep :]
        return work

    def complete(self, output: Output) -> Decisions:
        """One decision for each window of the answer."""
        decided = [self._decide(int(p), row) for p, row in zip(self._planned, output.logits, strict=True)]
        self.state = {name: rows[-1:] for name, rows in output.state.items()}
        active = output.active.reshape(len(decided), -1).max(axis=1)
        posteriors = softmax(np.stack(decided), self._temperature)
        return Decisions(self._planned, posteriors, active, output.features[-1])

    def plan_end(self, position: int) -> Work | None:
        """The window that ends at `position`, unless one has; windows that ended later are forgotten.

        The utterance must have heard `position`, no more than `lookback` samples ago, and ends with it.
        """
        self._full = [(p, row) for p, row in self._full if p <= position]
        self._sum = np.sum([row for _, row in self._full], axis=0, dtype=np.float64) if self._full else None
        planned = position % self._hop == 0 and position <= self._newest
        return None if planned else self._windows(np.array([position]))

    def skip(self, samples: Samples) -> None:
        """Hear samples, and leave out the windows that end within them: only the decision at the end is wanted."""
        self._heard = np.concatenate([self._heard, samples])[-self._keep :]
        self._num_heard += len(samples)

    def _windows(self, positions: NDArray[np.int64]) -> Work | None:
        self._planned = positions
        if not len(positions):
            return None
        self._newest = int(positions[-1])
        padded = np.concatenate([np.zeros(self._size, np.float32), self._heard])
        ends = positions - self._num_heard + len(padded)
        state = {name: np.repeat(value, len(ends), axis=0) for name, value in self.state.items()}
        return Work(np.stack([padded[end - self._size : end] for end in ends]), state)

    def _decide(self, position: int, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        if position < self._size:
            return logits
        self._full.append((position, logits))
        self._sum = logits.astype(np.float64) + (0 if self._sum is None else self._sum)
        return np.asarray(self._sum / len(self._full), np.float32)
