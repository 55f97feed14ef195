"""What models have in common that put a head on running statistics of a causal encoder."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.models.on_encoder import OnEncoder
from vocaffect.models.pooling import StatisticsPool, StatisticsState
from vocaffect.state import refill, walk

FIRST_POINT, POINT_FRAMES = 10, 20
"""Of the moments of a clip that `RunningStatistics.stem` tells of: the first, and from each to the next, in frames."""


class RunningState(NamedTuple):
    """What the encoder looks back on, and the running sums of its vectors."""

    encoder: Any
    pool: StatisticsState


class RunningStatistics(OnEncoder):
    """Causal encoder -> running mean and deviation of its vectors, standardised -> linear, frame by frame.

    Hold the encoder still by ``training.freeze: ["model.encoder.*"]``, and what it says of a clip can be kept.
    """

    def set_head(self, size: int, num_labels: int, dropout: float) -> None:
        """Build what comes behind vectors ``(batch, num_frames, size)``."""
        self.pool = StatisticsPool(size)
        self.register_buffer("mean", torch.zeros(self.pool.size))
        self.register_buffer("deviation", torch.ones(self.pool.size))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.pool.size, num_labels))

    def vectors(self, features: Tensor, active: Tensor, state: Any) -> tuple[Tensor, Any]:
        """What is heard of the encoder, ``(batch, num_frames, size)``, and its next state."""
        raise NotImplementedError

    def fresh(self, batch: int) -> Any:
        """The encoder's state before anything was heard."""
        raise NotImplementedError

    def stem(self, features: Tensor, active: Tensor) -> Tensor:
        """Running statistics at some moments of a clip, the last at its end: ``(batch, moments, 1, width)``."""
        pooled, _ = self._pooled(features, active, None)
        last = pooled.shape[1] - 1
        moments = range(last % POINT_FRAMES, last + 1, POINT_FRAMES)
        kept = [moment for moment in moments if moment >= FIRST_POINT or moment == last]
        return pooled[:, kept, None]

    def initial_state(self, batch: int) -> RunningState:
        """All zeros."""
        return RunningState(self.fresh(batch), self.pool.initial_state(batch))

    def forward(
        self, features: Tensor, active: Tensor, state: RunningState | None = None
    ) -> tuple[Tensor, RunningState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``.

        In place of features, what `stem` says of them will do.
        """
        pooled, state = self._pooled(features, active, state)
        logits: Tensor = self.head((pooled - self.mean) / self.deviation)
        return logits, state

    def _statistics(self, features: Tensor, active: Tensor) -> Tensor:
        """Of whole clips, ``(batch, width)``."""
        return self._pooled(features, active, None)[0][:, -1]

    def _pooled(self, features: Tensor, active: Tensor, state: RunningState | None) -> tuple[Tensor, RunningState]:
        """Statistics of the frames so far, ``(batch, num_frames, width)``."""
        if state is None:
            fresh = self.initial_state(len(features))
            state = refill(fresh, {name: tensor.to(features) for name, tensor in walk(fresh)})
        if features.dim() == 4:
            return features[:, :, 0], state
        heard, encoder = self.vectors(features, active, state.encoder)
        heard = heard.to(torch.promote_types(heard.dtype, torch.float32))  # sums want more than half precision
        pooled, pool = self.pool(heard, active, state.pool)
        return pooled, RunningState(encoder, pool)
