"""What models have in common that put a head on statistics of an encoder."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vocaffect.models.registry import Model

DEVIATION_FLOOR = 1e-4
"""Below which the deviation of a statistic over the training clips counts as this much."""


class OnEncoder(Model):
    """An encoder under a head that hears its statistics, standardised by those of the training clips.

    ``mean`` and ``deviation`` are buffers of the shape of one clip's statistics.
    """

    encoder: nn.Module
    mean: Tensor
    deviation: Tensor

    def _statistics(self, features: Tensor, active: Tensor) -> Tensor:
        """The statistics of whole clips, ``(batch, ...)``."""
        raise NotImplementedError

    @torch.no_grad()
    def measure(self, clips: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Standardise by the statistics of whole training clips."""
        was_training = self.training
        self.eval()
        statistics = torch.cat([self._statistics(features, active) for features, active in clips])
        self.mean.copy_(statistics.mean(0))
        self.deviation.copy_(statistics.std(0, correction=0).clamp(min=DEVIATION_FLOOR))
        self.train(was_training)

    @property
    def learns(self) -> bool:
        """Whether anything in the encoder learns."""
        return any(parameter.requires_grad for parameter in self.encoder.parameters())

    @property
    def still(self) -> bool:
        """Whether nothing in the encoder learns."""
        return not self.learns

    def encoder_digest(self, without: str | None = None) -> str:
        """What tells one encoder from another, to the bit; without the tensors whose names begin so."""
        weights = hashlib.sha256()
        for name, tensor in self.encoder.state_dict().items():
            if without is None or not name.startswith(without):
                weights.update(f"{name} {tuple(tensor.shape)}".encode() + tensor.cpu().contiguous().numpy().tobytes())
        return weights.hexdigest()
