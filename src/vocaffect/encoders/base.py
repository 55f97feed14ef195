"""What every pretrained encoder is: samples in, the hidden vectors of all its layers out, silence masked."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Encoded(NamedTuple):
    """What an encoder heard.

    ``layers``: the vectors that go into the first layer, then those that each layer gives,
    ``(batch, num_frames, size)`` each; ``active (batch, num_frames, 1)``: 0 where silent.
    """

    layers: tuple[Tensor, ...]
    active: Tensor


class Encoder(nn.Module):
    """One encoder: ``forward(samples, active) -> Encoded``, all layers up to the last that it has.

    ``samples (batch, num_samples)`` are zeros where silent, ``active (batch, num_hops)`` says where; a hop is
    ``num_samples / num_hops`` samples. Silent frames weigh nothing in any norm over time or attention, and enough
    silence is added behind the last sample that the last hop is heard too: so a clip gives the same vectors among
    longer clips as alone.

    ``size`` is the length of a vector, ``num_layers`` the number of layers. Where it ``splits``, ``forward`` is
    ``begin`` and ``go_on`` in turn, and all parameters of ``go_on`` are named ``layers.*``.
    """

    size: int
    num_layers: int
    splits: bool = False

    def begin(self, samples: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """What goes into the first layer ``(batch, num_frames, size)``, and 0 where silent ``(batch, num_frames)``."""
        raise NotImplementedError

    def go_on(self, frames: Tensor, active: Tensor) -> Encoded:
        """The vectors of all layers from what `begin` gives."""
        raise NotImplementedError


def active_at(active: Tensor, hop: int, num_frames: int, stride: int, width: int) -> Tensor:
    """Which frames of an encoder sound: those whose middle lies in a hop that does, ``(batch, num_frames)``.

    Args:
        active: ``(batch, num_hops)``, 0 where silent; behind the last hop all is silent.
        hop: samples of a hop.
        num_frames: frames of the encoder.
        stride: samples from frame to frame.
        width: samples that a frame has heard, the first frame from the first sample on.
    """
    middles = (torch.arange(num_frames, device=active.device) * stride + width // 2) // hop
    silence = num_frames * stride // hop + width // hop + 1
    return F.pad(active, (0, silence))[:, middles]


def attention_bias(active: Tensor) -> Tensor:
    """What is added to attention scores so that nothing attends to silence: ``(batch, 1, 1, num_frames)``."""
    return ((1 - active) * -1e4)[:, None, None]


def masked_group_norm(values: Tensor, active: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm whose mean and variance are those of the active frames.

    Args:
        values: ``(batch, channels, num_frames)``.
        active: ``(batch, num_frames)``.
        norm: the layer with one group for all channels, or one for each.
    """
    batch, channels, num_frames = values.shape
    groups = values.float().reshape(batch, norm.num_groups, channels // norm.num_groups, num_frames)
    weight = active.float()[:, None, None]
    count = (weight.sum(-1, keepdim=True) * groups.shape[2]).clamp(min=1)
    mean = (groups.sum(2, keepdim=True) * weight).sum(3, keepdim=True) / count
    centred = groups - mean
    variance = ((centred * centred).sum(2, keepdim=True) * weight).sum(3, keepdim=True) / count
    normal = (centred * torch.rsqrt(variance + norm.eps)).reshape(values.shape)
    return normal * norm.weight[:, None] + norm.bias[:, None]


def gelu(values: Tensor) -> Tensor:
    """GELU; in a graph in the form that onnxruntime finds and computes in one pass."""
    if torch.compiler.is_exporting():
        return 0.5 * (values * (torch.erf(values / math.sqrt(2)) + 1))
    return F.gelu(values)
