"""Tuning an encoder gently: what it has learned stays, and each linear layer learns a small change of low rank.

Hu EJ et al. (2021), "LoRA: low-rank adaptation of large language models", arXiv:2106.09685.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

ORIGINAL = "parametrizations.weight.original"
"""What a layer's own weight is called once it has a change beside it."""
CHANGES = ("parametrizations.weight.0.down", "parametrizations.weight.0.up")
"""What the change is called; other parametrisations, as the weight norm of WavLM, have other names."""


class LowRankChange(nn.Module):
    """A weight ``(out_features, in_features)`` plus ``up @ down``, which begins at nothing.

    Args:
        weight: the weight that is changed.
        rank: of the change.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        out_features, in_features = weight.shape
        self.down = nn.Parameter(torch.empty(rank, in_features))
        self.up = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + self.up @ self.down


def with_low_rank(encoder: nn.Module, rank: int) -> None:
    """Hold an encoder still, and give each of its linear layers a change of low rank that learns."""
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    for layer in list(encoder.modules()):
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(layer, "weight", LowRankChange(layer.weight, rank))


def merged(module: nn.Module) -> None:
    """Make all changes of a module's weights part of them."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def plain_name(name: str) -> str | None:
    """What a tensor of an encoder is called where nothing is changed; None for what changes it.

    >>> plain_name("layers.0.mlp.fc1.parametrizations.weight.original")
    'layers.0.mlp.fc1.weight'
    """
    if name.endswith(CHANGES):
        return None
    return name.removesuffix(ORIGINAL) + "weight" if name.endswith(ORIGINAL) else name
