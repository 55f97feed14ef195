"""Pooling over an utterance as running sums, so that a decision exists at every frame and streams."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

SCORE_BOUND = 5.0
"""Attention scores lie within this bound, so that a running sum of their exponentials needs no running maximum."""


class PoolState(NamedTuple):
    """The weighted sum of hidden vectors so far, ``(batch, size)``, and of their weights, ``(batch, 1)``."""

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
        return PoolState(torch.zeros(batch, self.size), torch.zeros(batch, 1))

    def forward(self, hidden: Tensor, active: Tensor, state: PoolState) -> tuple[Tensor, PoolState]:
        """Hidden vectors ``(batch, num_frames, size)`` to their running mean, of the same shape."""
        weight = active if self.score is None else active * torch.exp(SCORE_BOUND * self.score(hidden))
        total = state.total[:, None] + (weight * hidden).cumsum(dim=1)
        summed = state.weight[:, None] + weight.cumsum(dim=1)
        return total / summed.clamp(min=1e-6), PoolState(total[:, -1], summed[:, -1])
