"""Features that are plain functions of a whole signal: offline only, so recognisers with one run on windows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocaffect.errors import VocaffectError
from vocaffect.features.base import Feature, Frames

PlainFunction = Callable[[NDArray[np.float32], int, dict[str, Any]], NDArray[Any]]
"""Samples ``(num_samples,)``, their rate, and parameters, to ``(num_features, any number of frames)``."""


class PlainFeature(Feature):
    """What a function such as ``librosa.feature.chroma_stft`` gives, on the front end's frames.

    The function hears a clip, or a window of one, from its first sample that is not zero to its last: never the
    zeros that clips and windows are filled up with. Each frame takes the values that lie nearest in time, whatever
    the function's own hop; ``(num_features,)`` counts for all frames. No graph can hold it.

    Args:
        name: the feature's name, for what is said of it.
        function: see `PlainFunction`.
        sample_rate: samples a second.
        win: samples in a frame.
        hop: samples between two frames.
        parameters: handed to the function as they are.

    Raises:
        VocaffectError: if the function fails, or its result has the wrong shape or is not finite.
    """

    streaming = "window"

    def __init__(
        self, name: str, function: PlainFunction, sample_rate: int, win: int, hop: int, parameters: dict[str, Any]
    ) -> None:
        super().__init__()
        self.name, self.function, self.given = name, function, parameters
        self.sample_rate, self.hop = sample_rate, hop
        noise = np.random.default_rng(0).normal(0, 0.05, sample_rate).astype(np.float32)
        self.num_features = len(self._values(noise))

    def forward(self, frames: Frames) -> Tensor:
        """Frames to values, ``(batch, num_frames, num_features)``; the end of each frame is a hop of the signal."""
        hops = frames.samples[..., -self.hop :].detach().cpu().float().numpy()
        rows = [torch.from_numpy(self._row(row)) for row in hops]
        return torch.stack(rows).to(frames.samples)

    def _row(self, hops: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values of one signal that is given as hops ``(num_frames, hop)``."""
        result = np.zeros((len(hops), self.num_features), np.float32)
        sounding = np.flatnonzero(hops.any(axis=1))
        if len(sounding):
            first, end = int(sounding[0]), int(sounding[-1]) + 1
            values = self._values(hops[first:end].reshape(-1))
            middles = (np.arange(end - first) + 0.5) / (end - first)
            result[first:end] = values[:, (middles * values.shape[1]).astype(int)].T
        return result

    def _values(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the function gives, ``(num_features, num_columns)``."""
        try:
            values = np.asarray(self.function(samples, self.sample_rate, dict(self.given)), np.float32)
        except VocaffectError:
            raise
        except Exception as error:
            raise VocaffectError(
                f"feature '{self.name}' failed on {len(samples)} samples: {type(error).__name__}: {error}"
            ) from error
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or not values.size or len(values) != getattr(self, "num_features", len(values)):
            raise VocaffectError(
                f"feature '{self.name}' gave an array of shape {values.shape}: return (num_features, num_frames), "
                "num_features being the same for every clip"
            )
        if not np.isfinite(values).all():
            raise VocaffectError(f"feature '{self.name}' gave values that are no numbers: use numpy.nan_to_num")
        return values
