"""Pooling over an utterance as running sums, so that a decision exists at every frame and streams."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.state import running_sum

SCORE_BOUND = 5.0
"""Attention scores lie within this bound, so that a running sum of their exponentials needs no running maximum."""

DEVIATION_FLOOR = 0.1
"""Of a standardised feature, whose deviation over the corpus is 1."""


class PoolState(NamedTuple):
    """The weighted sum of hidden vectors so far, ``(batch, 1, size)``, and of their weights, ``(batch, 1, 1)``."""

    total: Tensor
    weight: Tensor


class RunningPool(nn.Module):
    """The weighted mean of the active frames so far: every frame alike, or as attention weighs them.

    Attention scores a frame by ``5 tanh(v . tanh(W h))`` and weighs it by the exponential of its score (Yang Z
    et al., 2016, NAACL, with a bound); silent frames weigh nothing.

    Args:
        size: length of a hidden vector.
        attention: whether to learn weights.
    """

    def __init__(self, size: int, attention: bool = False) -> None:
        super().__init__()
        self.size = size
        self.score = (
            nn.Sequential(nn.Linear(size, size // 2), nn.Tanh(), nn.Linear(size // 2, 1), nn.Tanh())
            if attention
            else None
        )

    def initial_state(self, batch: int) -> PoolState:
        """Nothing heard."""
        return PoolState(torch.zeros(batch, 1, self.size), torch.zeros(batch, 1, 1))

    def forward(self, hidden: Tensor, active: Tensor, state: PoolState) -> tuple[Tensor, PoolState]:
        """Hidden vectors ``(batch, num_frames, size)`` to their running mean, of the same shape."""
        weight = active if self.score is None else active * torch.exp(SCORE_BOUND * self.score(hidden))
        total = running_sum(weight * hidden, state.total)
        summed = running_sum(weight, state.weight)
        return total / summed.clamp(min=1e-6), PoolState(total[:, -1:], summed[:, -1:])


class StatisticsState(NamedTuple):
    """Sums of the vectors so far and of their squares, ``(batch, 1, size)`` each, and how many, ``(batch, 1, 1)``."""

    total: Tensor
    squares: Tensor
    frames: Tensor


class StatisticsPool(nn.Module):
    """The mean and the standard deviation of the active frames so far, side by side.

    The deviation never falls below ``DEVIATION_FLOOR``: there the root is so steep that rounding would show.

    Args:
        size: length of a frame's vector.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.in_size, self.size = size, 2 * size

    def initial_state(self, batch: int) -> StatisticsState:
        """Nothing heard."""
        return StatisticsState(
            torch.zeros(batch, 1, self.in_size), torch.zeros(batch, 1, self.in_size), torch.zeros(batch, 1, 1)
        )

    def forward(self, frames: Tensor, active: Tensor, state: StatisticsState) -> tuple[Tensor, StatisticsState]:
        """Vectors ``(batch, num_frames, in_size)`` to running statistics ``(batch, num_frames, size)``."""
        kept = frames * active
        total = running_sum(kept, state.total)
        squares = running_sum(kept.square(), state.squares)
        count = running_sum(active, state.frames)
        mean, mean_square = total / count.clamp(min=1), squares / count.clamp(min=1)
        deviation = (mean_square - mean.square()).clamp(min=DEVIATION_FLOOR**2).sqrt()
        following = StatisticsState(total[:, -1:], squares[:, -1:], count[:, -1:])
        return torch.cat([mean, deviation], dim=-1), following
