"""The newest samples of a signal, kept without copying all of them whenever some are added."""

import numpy as np
from numpy.typing import NDArray


class History:
    """At least the newest `keep` samples of a signal, found by their positions from its first sample.

    They lie in an array of twice that size, in which they move to the front when its end is reached: every sample is
    copied twice, where an array made anew for each chunk copies it as often as chunks come.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._buffer = np.zeros(2 * keep, np.float32)
        self._first = 0
        self.position = 0
        """How many samples there have been."""

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples (num_samples,), no more than `keep` at once."""
        begin = self.position - self._first
        if begin + len(samples) > len(self._buffer):
            self._buffer[: self._keep] = self._buffer[begin - self._keep : begin]
            self._first = self.position - self._keep
            begin = self._keep
        self._buffer[begin : begin + len(samples)] = samples
        self.position += len(samples)

    def between(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples from one position to another, valid until more are added."""
        return self._buffer[start - self._first : stop - self._first]
