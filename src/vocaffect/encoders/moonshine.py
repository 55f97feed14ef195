"""The encoder of Moonshine, read from samples by three convolutions, with rotary attention above them.

Jeffries N et al. (2024), "Moonshine: speech recognition for live transcription and voice commands",
arXiv:2410.15608. Parameters are named as in Hugging Face transformers, so that its files load as they are. Not
implemented: the decoder, fewer heads for keys and values than for queries, and the norm after the last layer.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.encoders.base import Encoded, Encoder, active_at, attention_bias, gelu, masked_group_norm
from vocaffect.units import exact_div

STRIDE_1, STRIDE = 64, 384
"""Samples between two frames of the first convolution, and of the last."""
WIDTH_1, WIDTH = 127, 895
"""Samples that such a frame has heard."""


class Attention(nn.Module):
    """Attention of every frame to every active frame, its positions told by turning pairs of numbers."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        exact_div(size, num_heads)
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(size, size, bias=False) for _ in range(4))

    def forward(self, frames: Tensor, turns: Tensor, bias: Tensor) -> Tensor:
        """Frames ``(batch, num_frames, size)`` to frames."""
        queries, keys = (turned(self._heads(layer(frames)), turns) for layer in (self.q_proj, self.k_proj))
        values = self._heads(self.v_proj(frames))
        attend = attention_by_products if self.training else F.scaled_dot_product_attention
        heard = attend(queries, keys, values, bias.to(queries.dtype))
        joined: Tensor = self.o_proj(heard.transpose(1, 2).flatten(2))
        return joined

    def _heads(self, frames: Tensor) -> Tensor:
        return frames.reshape(*frames.shape[:2], self.num_heads, -1).transpose(1, 2)


class Mlp(nn.Module):
    """Two layers with a GELU between them."""

    def __init__(self, size: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(size, inner), nn.Linear(inner, size)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames ``(batch, num_frames, size)`` to frames."""
        out: Tensor = self.fc2(gelu(self.fc1(frames)))
        return out


class Layer(nn.Module):
    """Attention, then the two layers, each normed before and added to what came in."""

    attention = Attention

    def __init__(self, size: int, inner: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn, self.mlp = self.attention(size, num_heads), Mlp(size, inner)
        self.input_layernorm = nn.LayerNorm(size, bias=False)
        self.post_attention_layernorm = nn.LayerNorm(size, bias=False)

    def forward(self, frames: Tensor, turns: Tensor, bias: Tensor) -> Tensor:
        """Frames ``(batch, num_frames, size)`` to frames."""
        frames = frames + self.self_attn(self.input_layernorm(frames), turns, bias)
        out: Tensor = frames + self.mlp(self.post_attention_layernorm(frames))
        return out


class MoonshineParts(nn.Module):
    """Three convolutions, a norm behind the first, and as many layers as are wanted, however they are heard.

    Args:
        hidden_size: length of a vector.
        intermediate_size: width within a layer's two layers.
        num_layers: layers, from the lowest up.
        num_heads: heads of attention.
        rotary_share: share of a head's numbers that is turned.
        rotary_base: positions turn at rates down to nearly one over this.
    """

    layer = Layer
    rates: Tensor

    def __init__(
        self,
        hidden_size: int = 416,
        intermediate_size: int = 1664,
        num_layers: int = 8,
        num_heads: int = 8,
        rotary_share: float = 0.62,
        rotary_base: float = 10_000.0,
    ) -> None:
        super().__init__()
        self.size, self.num_layers = hidden_size, num_layers
        self.conv1 = nn.Conv1d(1, hidden_size, WIDTH_1, STRIDE_1, bias=False)
        self.groupnorm = self.norm(hidden_size)
        self.conv2 = nn.Conv1d(hidden_size, 2 * hidden_size, 7, 3)
        self.conv3 = nn.Conv1d(2 * hidden_size, hidden_size, 3, 2)
        self.layers = nn.ModuleList(self.layer(hidden_size, intermediate_size, num_heads) for _ in range(num_layers))
        turned_size = int(exact_div(hidden_size, num_heads) * rotary_share)
        rates = rotary_base ** -(torch.arange(0, turned_size, 2) / turned_size)
        self.register_buffer("rates", rates, persistent=False)

    def norm(self, size: int) -> nn.Module:
        """The norm behind the first convolution, over ``size`` channels."""
        raise NotImplementedError


class Moonshine(MoonshineParts, Encoder):
    """The encoder that hears a whole clip at once, 41.7 frames a second."""

    groupnorm: nn.GroupNorm
    splits = True

    def norm(self, size: int) -> nn.Module:
        """Over channels and time."""
        return nn.GroupNorm(1, size)

    def forward(self, samples: Tensor, active: Tensor) -> Encoded:
        """Samples ``(batch, num_samples)`` to every layer's vectors; see `Encoder`."""
        return self.go_on(*self.begin(samples, active))

    def begin(self, samples: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """What the convolutions say."""
        hop = exact_div(samples.shape[1], active.shape[1])
        hidden = torch.tanh(self.conv1(F.pad(samples, (0, WIDTH))[:, None]))
        sounding = active_at(active, hop, hidden.shape[2], STRIDE_1, WIDTH_1)
        hidden = masked_group_norm(hidden, sounding, self.groupnorm)
        hidden = gelu(self.conv3(gelu(self.conv2(hidden)))).transpose(1, 2)
        return hidden, active_at(active, hop, hidden.shape[1], STRIDE, WIDTH)

    def go_on(self, frames: Tensor, active: Tensor) -> Encoded:
        """What each layer makes of that."""
        angles = torch.arange(frames.shape[1], device=frames.device)[:, None] * self.rates
        turns, bias, vectors = torch.stack([angles.cos(), angles.sin()]), attention_bias(active), [frames]
        for layer in self.layers:
            vectors.append(layer(vectors[-1], turns, bias))
        return Encoded(tuple(vectors), active[..., None])


def attention_by_products(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """As torch's attention, ``(batch, num_heads, num_frames, size)``; on a CPU its gradient takes less time."""
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1]) + bias
    return scores.softmax(-1).to(values.dtype) @ values


def turned(heads: Tensor, turns: Tensor) -> Tensor:
    """Turn the first pairs of numbers of each head ``(batch, num_heads, num_frames, size)`` by their angles.

    ``turns (2, num_frames, num_pairs)``: cosines and sines.
    """
    cosine, sine = turns.to(heads.dtype)
    width = 2 * turns.shape[-1]
    one, other = heads[..., :width].reshape(*heads.shape[:-1], -1, 2).unbind(-1)
    pairs = torch.stack([one * cosine - other * sine, other * cosine + one * sine], dim=-1)
    return torch.cat([pairs.flatten(-2), heads[..., width:]], dim=-1)
