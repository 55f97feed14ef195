"""Weights in four bits on disk that are multiplied in float32: an eighth of its size, and no product is rounded.

A weight is ``step * block * column``: a whole step from -7 to 7, a whole factor from 1 to 18 for each 32 inputs of an
output, and one number for each output. A graph holds the factor of a block behind its steps, two to a byte, which
onnxruntime multiplies out once, when it opens the file.

Products of eight bits would be faster, but what a causal encoder says would then hang on how a signal was cut: a sum's
last bit decides how a vector is rounded, and the next frames hear that.

Blocks of 32 with whole factors are what Dettmers T et al. (2023), arXiv:2305.14314, call double quantisation, here with
evenly spaced steps. Nothing here learns.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.models.eight_bits import LEVELS, SMALLEST, ByteConv, is_plain

BLOCK, STEPS = 32, 7
FACTORS = LEVELS // STEPS
"""The largest factor of a block, so that no weight leaves a byte."""
SHRINKS = torch.linspace(0.7, 1.0, 13)
"""What is tried of the range of a block: to cut off its largest weight can leave less error than to hold it."""

M = TypeVar("M", bound=nn.Module)


def in_four_bits(module: M) -> M:
    """A copy of a module whose large linear layers and convolutions over time are in four bits."""
    module = copy.deepcopy(module).eval()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.weight.numel() >= SMALLEST:
                setattr(parent, name, NibbleLinear(child.weight, child.bias))
            elif isinstance(child, nn.Conv1d) and is_plain(child) and child.weight.numel() >= SMALLEST:
                conv = ByteConv(child)
                conv.linear = NibbleLinear(child.weight.transpose(1, 2).flatten(1), child.bias)
                setattr(parent, name, conv)
    return module


def rounded(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights ``(out_features, in_features)`` as whole numbers.

    Returns:
        steps ``(out_features, blocks, 32)``, blocks' factors ``(out_features, blocks, 1)`` and columns' numbers
        ``(out_features, 1, 1)``; behind the last input the steps are 0.
    """
    weight = F.pad(weight.detach().float(), (0, -weight.shape[1] % BLOCK)).reshape(len(weight), -1, BLOCK)
    wanted = weight.abs().amax(2, keepdim=True).clamp(min=1e-12) / STEPS
    column = wanted.amax(1, keepdim=True) / FACTORS
    best = torch.full_like(wanted, torch.inf)
    factors, steps = torch.ones_like(wanted), torch.zeros_like(weight)
    for shrink in SHRINKS:
        factor = (shrink * wanted / column).round().clamp(1, FACTORS)
        step = (weight / (factor * column)).round().clamp(-STEPS, STEPS)
        error = (step * factor * column - weight).square().sum(2, keepdim=True)
        better = error < best
        best, factors, steps = (
            torch.where(better, new, old) for new, old in ((error, best), (factor, factors), (step, steps))
        )
    return steps, factors, column


class NibbleLinear(nn.Module):
    """A linear layer whose weights take four bits, and an eighth of one for their blocks.

    Args:
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)`` or none.
    """

    blocks: Tensor
    scale: Tensor
    bias: Tensor | None
    _unpacked: Tensor | None = None

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.in_features = weight.shape[1]
        steps, factors, column = rounded(weight)
        nibbles = (steps + 8).to(torch.uint8)
        half = BLOCK // 2
        pairs = nibbles[..., :half] + 16 * nibbles[..., half:]
        self.register_buffer("blocks", torch.cat([pairs, factors.to(torch.uint8)], 2))
        self.register_buffer("scale", column.flatten())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, rows: Tensor) -> Tensor:
        """Rows ``(..., in_features)`` to ``(..., out_features)``."""
        product = rows @ (self.weight if torch.compiler.is_exporting() else self._once())
        return product if self.bias is None else product + self.bias

    @property
    def weight(self) -> Tensor:
        """The weights, ``(in_features, out_features)``."""
        blocks = self.blocks.float()  # operators on bytes are few in onnxruntime
        pairs, factors = blocks[..., :-1], blocks[..., -1:]
        high = torch.floor(pairs / 16)
        steps = torch.cat([pairs - 16 * high, high], 2) - 8
        values: Tensor = (steps * factors).flatten(1)[:, : self.in_features] * self.scale[:, None]
        return values.T

    def _once(self) -> Tensor:
        """The weights, unpacked once until others are loaded."""
        if self._unpacked is None or self._unpacked.to(self.scale) is not self._unpacked:
            self._unpacked = self.weight.to(self.scale.dtype).contiguous()
        return self._unpacked

    def _load_from_state_dict(self, *given: Any) -> None:
        self._unpacked = None
        super()._load_from_state_dict(*given)
