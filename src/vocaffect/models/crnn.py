"""The convolutional recurrent network: causal convolutions over time and frequency, and a memory over what they see.

Zhao Z et al. (2019), IEEE Access 7, and many others; here nothing is pooled over time, so that every frame has a
decision, and nothing looks ahead.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.models.causal import CausalConv, FrameNorm, in_planes
from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.recurrent import gru, initial_vectors, lstm
from vocaffect.models.registry import Model, register_model
from vocaffect.units import exact_div


class CrnnState(NamedTuple):
    """What convolutions look back on ``(batch, channels, past, num_bins)``, the memory, and the running pool.

    The memory is the recurrent layer's: a GRU's hidden vectors ``(batch, num_layers, hidden_size)``, or the hidden and
    the cell vectors of an LSTM's layers, ``(batch, 1, hidden_size)`` each.
    """

    pasts: tuple[Tensor, ...]
    memory: tuple[Any, ...]
    pool: PoolState


class Block(nn.Module):
    """Causal convolution of 3 frames by 3 bins, every other bin kept -> norm -> GELU -> dropout."""

    def __init__(self, in_channels: int, channels: int, num_bins: int, dropout: float) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, channels, 3, stride=(1, 2), padding=(0, 1))
        self.conv = CausalConv(conv, sides=(num_bins,))
        self.rest = nn.Sequential(FrameNorm(channels), nn.GELU(), nn.Dropout(dropout))
        self.num_bins = -(-num_bins // 2)

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(batch, in_channels, num_frames, num_bins)`` to half the bins, and what to remember."""
        hidden, past = self.conv(frames, past)
        return self.rest(hidden), past


@register_model("crnn")
class Crnn(Model):
    """Causal convolutions over time and frequency -> GRU or LSTM -> running pool -> dropout -> linear.

    Args:
        num_features: features of a frame; neighbours should be neighbours in frequency, as mel bands are.
        num_labels: classes.
        channels: of each convolution; each halves the bins.
        hidden_size: length of each recurrent layer's hidden vector.
        num_layers: recurrent layers.
        recurrent: ``gru`` or ``lstm``.
        planes: parts of equal width that the features consist of: 2 with deltas, 3 with double deltas.
        dropout: after convolutions, between recurrent layers and before the linear layer.
        attention: weigh frames by learned scores instead of evenly.

    Raises:
        ValueError: if the features do not divide into the planes, or the recurrent layer is unknown.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        channels: Sequence[int] = (32, 64, 64),
        hidden_size: int = 128,
        num_layers: int = 1,
        recurrent: Literal["gru", "lstm"] = "gru",
        planes: int = 1,
        dropout: float = 0.2,
        attention: bool = False,
    ) -> None:
        super().__init__()
        if recurrent not in ("gru", "lstm"):
            raise ValueError(f"recurrent is 'gru' or 'lstm', not '{recurrent}'")
        self.planes, width, num_bins = planes, planes, exact_div(num_features, planes)
        self.blocks = nn.ModuleList()
        for wider in channels:
            block = Block(width, wider, num_bins, dropout)
            self.blocks.append(block)
            width, num_bins = wider, block.num_bins
        layer, between = nn.GRU if recurrent == "gru" else nn.LSTM, dropout if num_layers > 1 else 0.0
        self.recurrent = layer(width * num_bins, hidden_size, num_layers, batch_first=True, dropout=between)
        self.pool = RunningPool(hidden_size, attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_size, num_labels)

    def initial_state(self, batch: int) -> CrnnState:
        """All zeros."""
        convs = [block.conv for block in self.blocks if isinstance(block, Block)]
        return CrnnState(
            tuple(conv.initial_state(batch) for conv in convs),
            self._initial_memory(batch),
            self.pool.initial_state(batch),
        )

    def forward(self, features: Tensor, active: Tensor, state: CrnnState | None = None) -> tuple[Tensor, CrnnState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        hidden, pasts = in_planes(features, self.planes), []
        for block, past in zip(self.blocks, state.pasts, strict=True):
            hidden, past = block(hidden, past)
            pasts.append(past)
        output, memory = self._remember(hidden.transpose(1, 2).flatten(2), state.memory)
        pooled, pool = self.pool(output, active, PoolState(*(tensor.to(output) for tensor in state.pool)))
        return self.fc(self.dropout(pooled)), CrnnState(tuple(pasts), memory, pool)

    def _initial_memory(self, batch: int) -> tuple[Any, ...]:
        if isinstance(self.recurrent, nn.GRU):
            return (torch.zeros(batch, self.recurrent.num_layers, self.recurrent.hidden_size),)
        return initial_vectors(self.recurrent, batch), initial_vectors(self.recurrent, batch)

    def _remember(self, frames: Tensor, memory: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        if isinstance(self.recurrent, nn.GRU):
            output, hidden = gru(self.recurrent, frames, memory[0].to(frames))
            return output, (hidden,)
        output, *last = lstm(self.recurrent, frames, *memory)
        return output, tuple(last)
