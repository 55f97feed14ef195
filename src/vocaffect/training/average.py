"""The exponential moving average of a network's weights: what is validated and kept where a recipe asks for it.

Polyak B, Juditsky A (1992), SIAM J. Control Optim. 30(4): averaged iterates vary less than the last one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Weights averaged over steps: ``average <- decay * average + (1 - decay) * weights``.

    Args:
        network: whose parameters are averaged.
        decay: how much of the average a step keeps; 0 follows the weights themselves.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.tensors = {name: value.detach().clone() for name, value in network.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the step that the optimiser has just made into the average."""
        for name, value in self.network.named_parameters():
            self.tensors[name].lerp_(value, 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights."""
        own = {name: value.detach().clone() for name, value in self.network.named_parameters()}
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(own)

    def state(self) -> dict[str, Tensor]:
        """The averaged tensors under ``average.NAME``, for a checkpoint."""
        return {f"average.{name}": value for name, value in self.tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put a checkpoint's averages back."""
        for name, value in self.tensors.items():
            value.copy_(tensors[f"average.{name}"])

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, Tensor]) -> None:
        for name, value in self.network.named_parameters():
            value.copy_(tensors[name])
