"""The temporal convolutional network: dilated causal convolutions, each block looking twice as far back.

Bai S, Kolter J Z, Koltun V (2018), arXiv:1803.01271, with a layer norm of each frame in place of weight norm, and
one dilated and one pointwise convolution in a block in place of two dilated ones. A convolution of few taps is written
as one matrix product over the taps side by side, which processors do faster.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.registry import Model, register_model


class TcnState(NamedTuple):
    """The frames that each block looks back on, ``(batch, past, channels)``, and the running pool."""

    pasts: tuple[Tensor, ...]
    pool: PoolState


class Block(nn.Module):
    """Dilated causal convolution -> norm -> GELU -> dropout -> pointwise convolution, added to what came in."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.channels, self.dilation, self.past = channels, dilation, (kernel_size - 1) * dilation
        self.taps = nn.Linear(kernel_size * channels, channels)
        self.rest = nn.Sequential(nn.LayerNorm(channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(channels, channels))

    def initial_state(self, batch: int) -> Tensor:
        """The zeros before the first frame, ``(batch, past, channels)``."""
        return torch.zeros(batch, self.past, self.channels)

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(batch, num_frames, channels)`` to as many, and what to remember."""
        joined, num_frames = torch.cat([past.to(frames), frames], dim=1), frames.shape[1]
        taps = [joined[:, start : start + num_frames] for start in range(0, self.past + 1, self.dilation)]
        return frames + self.rest(self.taps(torch.cat(taps, dim=-1))), joined[:, num_frames:]


class Blocks(nn.Module):
    """Features, standardised, through residual blocks of dilated causal convolutions.

    Silent frames are zeros to every block, as what lies before the first frame is: silence in front changes nothing.

    Args:
        num_features: features of a frame.
        channels: width of every block.
        num_blocks: how many blocks.
        cycle: the dilation doubles from each block to the next, and is 1 again after so many.
        kernel_size: taps of a dilated convolution.
        dropout: within blocks.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, num_features: int, channels: int, num_blocks: int, cycle: int, kernel_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        self.first = nn.Linear(num_features, channels)
        self.blocks = nn.ModuleList(
            Block(channels, kernel_size, 2 ** (index % cycle), dropout) for index in range(num_blocks)
        )
        self.norm = nn.LayerNorm(channels)

    def initial_state(self, batch: int) -> tuple[Tensor, ...]:
        """The zeros that each block looks back on."""
        return tuple(block.initial_state(batch) for block in self.blocks if isinstance(block, Block))

    def forward(
        self, features: Tensor, active: Tensor, pasts: tuple[Tensor, ...]
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        """Features ``(batch, num_frames, num_features)`` to what each block gives, ``(batch, num_frames, channels)``.

        The dilated convolutions look back on ``pasts``; what the last gives is normed.
        """
        hidden, given, following = self.first((features - self.mean) / self.deviation * active) * active, [], []
        for block, past in zip(self.blocks, pasts, strict=True):
            hidden, past = block(hidden, past)
            hidden = hidden * active
            given.append(hidden)
            following.append(past)
        given[-1] = self.norm(given[-1])
        return given, tuple(following)


@register_model("tcn")
class Tcn(Model):
    """Pointwise convolution -> residual blocks of dilated causal convolutions -> running pool -> linear.

    A frame is heard together with ``(kernel_size - 1) * (2 ** num_blocks - 1)`` frames before it: 2.54 s with the
    defaults; the pool remembers the rest.

    Args:
        num_features: features of a frame.
        num_labels: classes.
        channels: width of every block.
        num_blocks: how many blocks; the dilation doubles from each to the next.
        kernel_size: taps of a dilated convolution.
        dropout: within blocks and before the linear layer.
        attention: weigh frames by learned scores instead of evenly.
    """

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        channels: int = 128,
        num_blocks: int = 7,
        kernel_size: int = 3,
        dropout: float = 0.2,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Blocks(num_features, channels, num_blocks, num_blocks, kernel_size, dropout)
        self.pool = RunningPool(channels, attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_labels)

    def initial_state(self, batch: int) -> TcnState:
        """All zeros."""
        return TcnState(self.encoder.initial_state(batch), self.pool.initial_state(batch))

    def forward(self, features: Tensor, active: Tensor, state: TcnState | None = None) -> tuple[Tensor, TcnState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        given, pasts = self.encoder(features, active, state.pasts)
        pooled, pool = self.pool(given[-1], active, PoolState(*(tensor.to(given[-1]) for tensor in state.pool)))
        return self.fc(self.dropout(pooled)), TcnState(pasts, pool)
