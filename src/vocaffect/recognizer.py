"""A recogniser: a bundle, and the ways to ask it about whole clips, live streams, or many streams at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vocaffect.bundle import Bundle, load_bundle, resolve
from vocaffect.card import Card
from vocaffect.errors import VocaffectError
from vocaffect.units import SAMPLE_RATE
from vocaffect.utterance import Decisions, Output, State, Work, open_utterance, softmax

CHUNK_S = 8
"""Long signals are run in pieces of this many seconds, so that memory does not grow with their length."""

MAX_ROWS = 16
"""No more rows than this go through a window model in one call."""


@dataclass(frozen=True)
class Trace:
    """What a recogniser thought while it heard one utterance, and in the end.

    posteriors (num_frames, num_labels), active (num_frames,), posterior (num_labels,); for a window model the
    frames are its windows.
    """

    posteriors: NDArray[np.float32]
    active: NDArray[np.float32]
    posterior: NDArray[np.float32]


class Recognizer:
    """A checked bundle, ready to use; it remembers nothing of what it hears, so many users may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    @classmethod
    def load(cls, name_or_path: str | Path = "default", threads: int = 1) -> Self:
        """The recogniser of a shipped name or of a bundle file, running on `threads` threads.

        Raises:
            BundleError: if there is no such bundle or it must not be used.
        """
        return cls(load_bundle(resolve(name_or_path), threads=threads))

    @property
    def card(self) -> Card:
        """What the recogniser says about itself."""
        return self._bundle.card

    @property
    def labels(self) -> list[str]:
        """The labels, in the order of every posterior."""
        return self._bundle.card.labels

    def run(self, samples: NDArray[np.float32], state: State | None = None) -> Output:
        """The model's raw answer to samples (batch, num_samples), from a fresh state if none is given.

        For a frame model `num_samples` is a positive multiple of `card.hop`; a long input is run in pieces;
        for a window model it is the window's length.
        """
        size = CHUNK_S * SAMPLE_RATE // self.card.hop * self.card.hop
        if self.card.streaming == "window" or samples.shape[1] <= size:
            return self._bundle.run(samples, state)
        parts: list[Output] = []
        for start in range(0, samples.shape[1], size):
            parts.append(self._bundle.run(samples[:, start : start + size], state))
            state = parts[-1].state
        logits, features, active = (
            np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("logits", "features", "active")
        )
        return Output(logits, features, active, parts[-1].state)

    def step(self, works: Sequence[Work]) -> list[Output]:
        """Answer the work of many streams in as few calls as their shapes allow, in the order of `works`."""
        groups: dict[int, list[int]] = {}
        for index, work in enumerate(works):
            groups.setdefault(work.samples.shape[1], []).append(index)
        answers: dict[int, Output] = {}
        for indices in groups.values():
            outputs = self._run_together([works[index] for index in indices])
            answers.update(zip(indices, outputs, strict=True))
        return [answers[index] for index in range(len(works))]

    def posterior(self, samples: NDArray[np.float32]) -> Trace:
        """Hear samples (num_samples,) at 16 kHz as one utterance from a fresh state.

        Raises:
            VocaffectError: if the signal is shorter than one frame.
        """
        hop = self.card.hop
        if len(samples) < hop:
            raise VocaffectError(f"the signal has {len(samples)} samples, one frame needs {hop}; record more")
        utterance = open_utterance(self.card)
        decisions: list[Decisions] = []
        end = len(samples) // hop * hop
        for start in range(0, end, CHUNK_S * SAMPLE_RATE):
            work = utterance.plan(samples[start : min(start + CHUNK_S * SAMPLE_RATE, end)])
            decisions += [utterance.complete(output) for output in self.step([work] if work else [])]
        work = utterance.plan_end(end)
        decisions += [utterance.complete(output) for output in self.step([work] if work else [])]
        logits = np.concatenate([part.logits for part in decisions])
        posteriors = softmax(logits, self.card.temperature)
        return Trace(posteriors, np.concatenate([part.active for part in decisions]), posteriors[-1])

    def _run_together(self, works: Sequence[Work]) -> list[Output]:
        samples = np.concatenate([work.samples for work in works])
        names = works[0].state
        state = {name: np.concatenate([work.state[name] for work in works]) for name in names}
        rows = range(0, len(samples), MAX_ROWS if self.card.streaming == "window" else len(samples))
        parts = [self.run(samples[at : at + rows.step], state) for at in rows]
        ends = np.cumsum([len(work.samples) for work in works])
        return [
            _rows(parts, slice(end - len(work.samples), end)) for work, end in zip(works, ends, strict=True)
        ]


def _rows(parts: Sequence[Output], rows: slice) -> Output:
    def cut(arrays: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[rows]

    return Output(
        cut([part.logits for part in parts]),
        cut([part.features for part in parts]),
        cut([part.active for part in parts]),
        {name: cut([part.state[name] for part in parts]) for name in parts[0].state},
    )
