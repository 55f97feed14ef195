"""The temporal convolutional network: dilated causal convolutions, each block looking twice as far back.

Bai S, Kolter J Z, Koltun V (2018), arXiv:1803.01271, with a layer norm of each frame in place of weight norm, and
one dilated and one pointwise convolution in a block in place of two dilated ones.
"""

from typing import NamedTuple

from torch import Tensor, nn

from vocaffect.models.causal import CausalConv, FrameNorm
from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.registry import Model, register_model


class TcnState(NamedTuple):
    """The frames that each block looks back on, ``(batch, channels, past)``, and the running pool."""

    pasts: tuple[Tensor, ...]
    pool: PoolState


class Block(nn.Module):
    """Dilated causal convolution -> norm -> GELU -> dropout -> pointwise convolution, added to what came in."""

    def __init__(self, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = CausalConv(nn.Conv1d(channels, channels, kernel_size, dilation=dilation))
        self.rest = nn.Sequential(FrameNorm(channels), nn.GELU(), nn.Dropout(dropout), nn.Conv1d(channels, channels, 1))

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(batch, channels, num_frames)`` to as many, and what to remember."""
        hidden, past = self.conv(frames, past)
        return frames + self.rest(hidden), past


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
        self.first = nn.Conv1d(num_features, channels, 1)
        self.blocks = nn.ModuleList(Block(channels, kernel_size, 2**index, dropout) for index in range(num_blocks))
        self.norm = FrameNorm(channels)
        self.pool = RunningPool(channels, attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_labels)

    def initial_state(self, batch: int) -> TcnState:
        """All zeros."""
        convs = [block.conv for block in self.blocks if isinstance(block, Block)]
        return TcnState(tuple(conv.initial_state(batch) for conv in convs), self.pool.initial_state(batch))

    def forward(self, features: Tensor, active: Tensor, state: TcnState | None = None) -> tuple[Tensor, TcnState]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        hidden, pasts = self.first(features.transpose(1, 2)), []
        for block, past in zip(self.blocks, state.pasts, strict=True):
            hidden, past = block(hidden, past)
            pasts.append(past)
        output = self.norm(hidden).transpose(1, 2)
        pooled, pool = self.pool(output, active, PoolState(*(tensor.to(output) for tensor in state.pool)))
        return self.fc(self.dropout(pooled)), TcnState(tuple(pasts), pool)
