"""The recurrent recogniser: long short-term memory over frames, a running pool, one linear layer.

Hochreiter S, Schmidhuber J (1997), Neural Computation 9(8). With its defaults, 13 features and 8 labels it has
805,896 parameters.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.recurrent import initial_vectors, lstm
from vocaffect.models.registry import Model, register_model


class LstmState(NamedTuple):
    """Each layer's hidden and cell vector, ``(batch, 1, hidden_size)`` each, and the running pool."""

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...]
    pool: PoolState


@register_model("lstm")
class Lstm(Model):
    """LSTM -> running pool -> dropout -> linear; frame by frame or a whole utterance, the same numbers.

    Args:
        num_features: features of a frame.
        num_labels: classes.
        hidden_size: length of each layer's hidden vector.
        num_layers: layers on top of each other.
        dropout: between layers and before the linear layer.
        bidirectional: read the window backwards too; then the recogniser runs on a sliding window.
        attention: weigh frames by learned scores instead of evenly.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        hidden_size: int = 256,
        num_layers: int = 2,
        dropout: float = 0.3,
        bidirectional: bool = False,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.streaming = "window" if bidirectional else "frame"
        self.lstm = nn.LSTM(
            num_features,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.pool = RunningPool(hidden_size * (2 if bidirectional else 1), attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.pool.size, num_labels)

    def initial_state(self, batch: int) -> LstmState:
        """All zeros."""
        hidden, cell = initial_vectors(self.lstm, batch), initial_vectors(self.lstm, batch)
        return LstmState(hidden, cell, self.pool.initial_state(batch))

    def forward(
        self, features: Tensor, active: Tensor | None = None, state: LstmState | None = None
    ) -> tuple[Tensor, LstmState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``.

        A whole utterance, or ``(batch, 1, num_features)`` with the state of the frame before.
        """
        if active is None:
            active = torch.ones_like(features[..., :1])
        if state is None:
            state = self.initial_state(features.shape[0])
        output, hidden, cell = lstm(self.lstm, features, state.hidden, state.cell)
        pooled, pool = self.pool(output, active, PoolState(*(tensor.to(output) for tensor in state.pool)))
        return self.fc(self.dropout(pooled)), LstmState(hidden, cell, pool)
