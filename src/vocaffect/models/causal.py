"""Convolutions and a norm that look at the past alone, over pictures whose third axis is time."""

import torch
from torch import Tensor, nn

EPSILON = 1e-5


class CausalConv(nn.Module):
    """A convolution over ``(batch, channels, num_frames, ...)`` whose last tap in time is the present frame.

    What the taps before it need of earlier calls is the state, ``(batch, channels, past, ...)``; before the first
    frame lie zeros.

    Args:
        conv: a convolution of stride 1 in time and without padding in time.
        sides: further axes of the input behind time, such as ``(num_bins,)``.

    Raises:
        ValueError: if the convolution strides or pads in time.
    """

    def __init__(self, conv: nn.Conv1d | nn.Conv2d, sides: tuple[int, ...] = ()) -> None:
        super().__init__()
        if conv.stride[0] != 1 or conv.padding[0] != 0:
            raise ValueError("a causal convolution has stride 1 and padding 0 in time")
        self.conv, self.sides = conv, sides
        self.past = (conv.kernel_size[0] - 1) * conv.dilation[0]

    def initial_state(self, batch: int) -> Tensor:
        """The zeros before the first frame."""
        return torch.zeros(batch, self.conv.in_channels, self.past, *self.sides)

    def forward(self, frames: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """As many frames as come in, and the last ``past`` frames for the next call."""
        joined = torch.cat([past.to(frames), frames], dim=2)
        return self.conv(joined), joined[:, :, frames.shape[2] :]


class FrameNorm(nn.Module):
    """Layer norm of each frame on its own, over channels and what lies behind time, with a scale for each channel.

    Ba J L, Kiros J R, Hinton G E (2016), arXiv:1607.06450. Unlike a batch norm it is the same in training and
    afterwards, whatever else is in the batch, and unlike a group norm over time it does not look ahead.

    Args:
        channels: the length of the second axis.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames ``(batch, channels, num_frames, ...)``, normalised, in the parameters' precision."""
        frames = frames.to(self.scale.dtype)
        axes = [1, *range(3, frames.dim())]
        centred = frames - frames.mean(axes, keepdim=True)
        normal = centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + EPSILON)
        shape = (1, -1, *[1] * (frames.dim() - 2))
        return normal * self.scale.view(shape) + self.shift.view(shape)


def in_planes(features: Tensor, planes: int) -> Tensor:
    """Features ``(batch, num_frames, planes * num_bins)`` as a picture ``(batch, planes, num_frames, num_bins)``."""
    batch, num_frames, width = features.shape
    return features.reshape(batch, num_frames, planes, width // planes).transpose(1, 2)
