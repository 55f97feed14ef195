"""Deltas: how features move, measured over the past alone."""

import torch
from torch import Tensor, nn


class Deltas(nn.Module):
    """Append regression slopes to features: order 1 doubles their number, order 2 triples it.

    The slope over ``2 * width + 1`` frames (Furui S, 1986, IEEE Trans. ASSP 34(1)) belongs to the middle frame;
    here it is given at the last, so that nothing is looked ahead to: it comes ``width`` frames late. Before the
    first frame lie zeros.

    Args:
        num_features: features that come in.
        order: 1 for deltas, 2 for deltas of deltas as well, 0 to pass features through.
        width: frames on either side of the middle.
    """

    weights: Tensor

    def __init__(self, num_features: int, order: int = 1, width: int = 2) -> None:
        super().__init__()
        self.order, self.width, self.in_features = order, width, num_features
        self.num_features = num_features * (order + 1)
        offsets = torch.arange(-width, width + 1, dtype=torch.float64)
        weights = offsets / offsets.square().sum().clamp(min=1)
        self.register_buffer("weights", weights.to(torch.get_default_dtype()), persistent=False)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros before the first frame, ``(batch, order * 2 * width, num_features)``."""
        return torch.zeros(batch, self.order * 2 * self.width, self.in_features)

    def forward(self, values: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values ``(batch, num_frames, num_features)`` to values with slopes, and the frames to remember."""
        if self.order == 0:
            return values, values[:, :0]
        if past is None:
            past = self.initial_state(values.shape[0]).to(values)
        parts, history = [values], torch.cat([past, values], dim=1)
        slopes = history
        for _ in range(self.order):
            slopes = self._slope(slopes)
            parts.append(slopes[:, slopes.shape[1] - values.shape[1] :])
        return torch.cat(parts, dim=-1), history[:, -self.order * 2 * self.width :]

    def _slope(self, values: Tensor) -> Tensor:
        length = values.shape[1] - 2 * self.width
        return sum(
            (self.weights[i] * values[:, i : i + length] for i in range(2 * self.width + 1)),
            start=torch.zeros_like(values[:, :length]),
        )
