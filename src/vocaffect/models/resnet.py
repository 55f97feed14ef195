"""A small residual network on a patch of time and frequency; it sees both sides, so it runs on a sliding window.

He K et al. (2016), ECCV, "Identity mappings in deep residual networks": norm and activation before each convolution,
and a path from first to last that nothing bends. Each frame is normed on its own, not over the batch.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.models.causal import FrameNorm, in_planes
from vocaffect.models.pooling import PoolState, RunningPool
from vocaffect.models.registry import Model, register_model
from vocaffect.units import exact_div


class Block(nn.Module):
    """Twice norm -> GELU -> convolution, added to what came in; convolutions hear silent frames as zeros.

    Args:
        in_channels: channels that come in.
        channels: channels that go out.
        stride: 1, or 2 to halve both frames and bins.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.norm1, self.norm2 = FrameNorm(in_channels), FrameNorm(channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, channels, 1, stride)

    def forward(self, patch: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """A patch ``(batch, channels, num_frames, num_bins)`` and its mask ``(batch, 1, num_frames, 1)``, both on."""
        straight = self.shortcut(patch)
        hidden = self.conv1(F.gelu(self.norm1(patch)) * active)
        active = fewer(active, self.stride)
        return straight + self.conv2(F.gelu(self.norm2(hidden)) * active), active


def fewer(active: Tensor, stride: int) -> Tensor:
    """A mask ``(batch, 1, num_frames, 1)`` with the frames of a stride as one, active where any of them is."""
    return F.max_pool2d(active, (stride, 1), ceil_mode=True) if stride > 1 else active


@register_model("resnet")
class Resnet(Model):
    """Convolution -> residual blocks -> mean over the active frames -> dropout -> linear, on a window.

    Every convolution hears silent frames as zeros, the silence among them that clips in a batch are filled up with:
    so windows that begin in silence, and clips among longer ones, are judged by what sounds in them.

    Args:
        num_features: features of a frame; neighbours should be neighbours in frequency, as mel bands are.
        num_labels: classes.
        channels: of each stage; the first convolution and each later stage halve frames and bins.
        num_blocks: blocks of a stage.
        planes: parts of equal width that the features consist of: 2 with deltas, 3 with double deltas.
        dropout: before the linear layer.
        attention: weigh frames by learned scores instead of evenly.

    Raises:
        ValueError: if the features do not divide into the planes.
    """

    streaming = "window"

    def __init__(
        self,
        num_features: int,
        num_labels: int,
        channels: Sequence[int] = (24, 48, 96),
        num_blocks: int = 2,
        planes: int = 1,
        dropout: float = 0.3,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.planes, num_bins = planes, exact_div(num_features, planes)
        self.first = nn.Conv2d(planes, channels[0], 3, stride=2, padding=1)
        self.blocks = nn.ModuleList()
        width = channels[0]
        for stage, wider in enumerate(channels):
            for index in range(num_blocks):
                self.blocks.append(Block(width, wider, stride=2 if stage and not index else 1))
                width = wider
        self.frames_per_step = 2 ** len(channels)
        self.norm = FrameNorm(width)
        self.pool = RunningPool(width * -(-num_bins // self.frames_per_step), attention)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(self.pool.size, num_labels)

    def forward(self, features: Tensor, active: Tensor, state: None = None) -> tuple[Tensor, tuple[()]]:
        """Features ``(batch, num_frames, num_features)`` to logits ``(batch, num_frames, num_labels)``.

        Frames that the strides have made one share a decision.
        """
        mask = active[:, None]
        hidden = self.first(in_planes(features, self.planes) * mask)
        mask = fewer(mask, 2)
        for block in self.blocks:
            hidden, mask = block(hidden, mask)
        steps = F.gelu(self.norm(hidden)).transpose(1, 2).flatten(2)
        fresh = PoolState(*(tensor.to(steps) for tensor in self.pool.initial_state(steps.shape[0])))
        pooled, _ = self.pool(steps, mask[:, 0], fresh)
        logits = self.fc(self.dropout(pooled))
        return logits.repeat_interleave(self.frames_per_step, dim=1)[:, : features.shape[1]], ()
