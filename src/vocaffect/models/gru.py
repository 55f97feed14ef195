"""The gated recurrent unit over frames: the LSTM's lighter sibling, three gates where that has four.

Cho K et al. (2014), EMNLP, in the variant that resets after the recurrent product, as cuDNN and torch compute it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.recurrent import gru
from vocaffect.models.registry import Model, register_model


class GruState(NamedTuple):
    """Hidden vectors, ``(batch, num_layers, hidden_size)``, and the running pool."""

    hidden: Tensor
    pool: PoolState


@register_model("gru")
class Gru(Model):
    """GRU -> running pool -> dropout -> linear.

    Args:
        num_features: features of a frame.
        num_labels: classes.
        hidden_size: length of each layer's hidden vector.
        num_layers: layers on top of each other.
        dropout: between layers and before the linear layer.
        attention: weigh frames by learned scores instead of evenly.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.3,
        attention: bool = False,
    ) -> None:
        super().__init__()
        between = dropout if num_layers > 1 else 0.0
        self.gru = nn.GRU(num_features, hidden_size, num_layers, batch_first=True, dropout=between)
        self.pool = RunningPool(hidden_size, attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.pool.size, num_labels)

    def initial_state(self, batch: int) -> GruState:
        """All zeros."""
        hidden = torch.zeros(batch, self.gru.num_layers, self.gru.hidden_size)
        return GruState(hidden, self.pool.initial_state(batch))

    def forward(self, features: Tensor, active: Tensor, state: GruState | None = None) -> tuple[Tensor, GruState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        output, hidden = gru(self.gru, features, state.hidden.to(features))
        pooled, pool = self.pool(output, active, PoolState(*(tensor.to(output) for tensor in state.pool)))
        return self.fc(self.dropout(pooled)), GruState(hidden, pool)
