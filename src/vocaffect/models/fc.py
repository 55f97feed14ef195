"""The plainest recogniser: what the features were like on average, and a few fully connected layers.

How an utterance unfolds is lost; what is left is what functionals of openSMILE keep. Deltas in the front end bring
some movement back.
"""

from typing import NamedTuple

from torch import Tensor, nn

from vocaffect.models.pooling import StatisticsPool, StatisticsState
from vocaffect.models.registry import Model, register_model


class FcState(NamedTuple):
    """The running statistics."""

    pool: StatisticsState


@register_model("fc")
class Fc(Model):
    """Running mean and deviation of the features -> fully connected layers.

    Args:
        num_features: features of a frame.
        num_labels: classes.
        hidden_size: width of each hidden layer.
        num_layers: how many hidden layers.
        dropout: after each hidden layer.
    """

    def __init__(
        self, num_features: int, num_labels: int, hidden_size: int = 256, num_layers: int = 2, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.pool = StatisticsPool(num_features)
        layers: list[nn.Module] = []
        for index in range(num_layers):
            width = hidden_size if index else self.pool.size
            layers += [nn.Linear(width, hidden_size), nn.GELU(), nn.Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden_size if num_layers else self.pool.size, num_labels))

    def initial_state(self, batch: int) -> FcState:
        """All zeros."""
        return FcState(self.pool.initial_state(batch))

    def forward(self, features: Tensor, active: Tensor, state: FcState | None = None) -> tuple[Tensor, FcState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        heard = StatisticsState(*(tensor.to(features) for tensor in state.pool))
        statistics, pool = self.pool(features, active, heard)
        return self.mlp(statistics), FcState(pool)
