"""Tuning an encoder gently: what it has learned stays, and each linear layer learns a small change of low rank.

Hu EJ et al. (2021), "LoRA: low-rank adaptation of large language models", arXiv:2106.09685.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChangedLinear(nn.Module):
    """A linear layer whose weight ``(out_features, in_features)`` stays, plus ``up @ down``, which begins at nothing.

    The change is heard beside the weight and not added to it, so learning needs no gradient of the whole weight's size.

    Args:
        layer: the layer, which is held still.
        rank: of the change.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.original, self.bias = layer.weight, layer.bias
        self.down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    @property
    def weight(self) -> Tensor:
        """The changed weight, for encoders that multiply by it themselves."""
        return self.original + self.up @ self.down

    def forward(self, values: Tensor) -> Tensor:
        """Values ``(..., in_features)`` to ``(..., out_features)``."""
        return F.linear(values, self.original, self.bias) + F.linear(F.linear(values, self.down), self.up)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A plain layer of the changed weight."""
        layer = nn.Linear(self.original.shape[1], self.original.shape[0], self.bias is not None)
        layer.weight.copy_(self.weight)
        if self.bias is not None:
            layer.bias.copy_(self.bias)
        return layer.to(self.original.device)


def with_low_rank(encoder: nn.Module, rank: int) -> None:
    """Hold an encoder still, and give each of its linear layers a change of low rank that learns."""
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    for name, layer in list(encoder.named_modules()):
        if isinstance(layer, nn.Linear):
            encoder.set_submodule(name, ChangedLinear(layer, rank))


def merged(module: nn.Module) -> None:
    """Make all changes of a module's weights part of them."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, ChangedLinear):
            module.set_submodule(name, layer.merged())


def plain_name(name: str) -> str | None:
    """What a tensor of an encoder is called where nothing is changed; None for what changes it.

    >>> plain_name("layers.0.mlp.fc1.original")
    'layers.0.mlp.fc1.weight'
    """
    if name.endswith((".down", ".up")):
        return None
    return name.removesuffix("original") + "weight" if name.endswith(".original") else name
