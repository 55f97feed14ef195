"""Moonshine heard as it comes: no frame of it knows what follows, and what it remembers is a state of bounded size.

The weights are those of `vocaffect.encoders.moonshine.Moonshine`, under the same names. What looked at the whole clip
there looks back here: convolutions end where their hop ends, the norm behind the first is by the running mean and
variance of what has sounded so far, and a frame attends to those of the last second or so.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.encoders.base import gelu
from vocaffect.encoders.moonshine import STRIDE, STRIDE_1, WIDTH_1, Attention, Layer, MoonshineParts, turned
from vocaffect.encoders.store import KNOWN, EncoderError, locate
from vocaffect.encoders.student import read_student
from vocaffect.units import exact_div

HOP = STRIDE
FRAMES_1, FRAMES_2 = exact_div(STRIDE, STRIDE_1), 2
"""Frames of the first and the second convolution in a hop."""
PAST_1, PAST_2, PAST_3 = WIDTH_1 - STRIDE_1, 7 - 3, 3 - 2
"""What each convolution looks back on: samples, frames of the first, frames of the second."""
PRIOR_VARIANCE, LEAST_VARIANCE = 1e-3, 1e-8
"""Over the channels of the first convolution: of speech at -35 dBFS about, and of what is far below silence."""


class StemState(NamedTuple):
    """What the convolutions look back on, ``(batch, channels, frames)`` each, and the running norm's three sums.

    ``sums (batch, 3)``: of frames of the first convolution, of their means over channels, of their mean squares.
    """

    samples: Tensor
    first: Tensor
    second: Tensor
    sums: Tensor


class RollingState(NamedTuple):
    """Keys and values of the last frames, ``(batch, window - 1, size)`` each, not yet turned."""

    keys: Tensor
    values: Tensor


class CausalState(NamedTuple):
    """The convolutions' state, which of the last frames sounded, ``(batch, window - 1)``, and each layer's."""

    stem: StemState
    sounded: Tensor
    layers: tuple[RollingState, ...]


class RunningNorm(nn.Module):
    """A group norm of one group whose mean and variance are those of the active frames so far.

    One frame of mean 0 and variance ``PRIOR_VARIANCE`` is counted in beforehand: it is forgotten within a few hops,
    so that the microphone's gain hardly matters.

    Args:
        channels: how many are normed together.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, frames: Tensor, active: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(batch, channels, num_frames)`` to normed ones, zeros where silent, and the next sums.

        ``active (batch, 1, num_frames)``; for ``sums`` see `StemState`.
        """
        frames = frames.to(torch.promote_types(frames.dtype, torch.float32))  # sums want more than half precision
        active, ones = active.to(frames), torch.ones_like(active, dtype=frames.dtype)
        moments = torch.cat([ones, frames.mean(1, keepdim=True), frames.square().mean(1, keepdim=True)], 1) * active
        running = sums[..., None] + moments.cumsum(-1)
        count, total, squares = running.unbind(1)
        mean, square = total / (count + 1), (squares + PRIOR_VARIANCE) / (count + 1)
        scale = torch.rsqrt((square - mean.square()).clamp(min=LEAST_VARIANCE))
        normal = (frames - mean[:, None]) * scale[:, None]
        return (normal * self.weight[:, None] + self.bias[:, None]) * active, running[..., -1]


class RollingAttention(Attention):
    """Attention of every frame to itself and the active ones among the ``window - 1`` before it.

    Positions are told relative to the oldest of these, so they never grow.
    """

    def rolling(self, frames: Tensor, turns: Tensor, bias: Tensor, state: RollingState) -> tuple[Tensor, RollingState]:
        """Frames ``(batch, num_frames, size)`` to frames and the next state.

        Args:
            frames: those that are new.
            turns: cosines and sines of all positions, the remembered ones first.
            bias: what is added to scores, ``(batch, 1, num_frames, all positions)``.
            state: what is remembered.
        """
        past, count = state.keys.shape[1], frames.shape[1]
        keys = torch.cat([state.keys, self.k_proj(frames)], 1)
        values = torch.cat([state.values, self.v_proj(frames)], 1)
        queries = turned(self._heads(self.q_proj(frames)), turns[:, past:])
        heard = F.scaled_dot_product_attention(queries, turned(self._heads(keys), turns), self._heads(values), bias)
        joined: Tensor = self.o_proj(heard.transpose(1, 2).flatten(2))
        return joined, RollingState(keys[:, count:], values[:, count:])


class RollingLayer(Layer):
    """The same with attention to the last frames."""

    attention = RollingAttention
    self_attn: RollingAttention

    def rolling(self, frames: Tensor, turns: Tensor, bias: Tensor, state: RollingState) -> tuple[Tensor, RollingState]:
        """Frames ``(batch, num_frames, size)`` to frames; see `RollingAttention.rolling`."""
        heard, state = self.self_attn.rolling(self.input_layernorm(frames), turns, bias, state)
        frames = frames + heard
        return frames + self.mlp(self.post_attention_layernorm(frames)), state


class CausalMoonshine(MoonshineParts):
    """Moonshine frame by frame, one for each hop of 384 samples.

    Args:
        num_layers: layers, from the lowest up.
        window: frames that attention hears, the newest included.
        above: whether a linear layer guesses, from the last layer, what a higher one would say.
        sizes: the other arguments of `MoonshineParts`.
    """

    layer = RollingLayer

    def __init__(self, num_layers: int = 2, window: int = 42, above: bool = False, **sizes: Any) -> None:
        super().__init__(num_layers=num_layers, **sizes)
        self.window = window
        self.above = nn.Linear(self.size, self.size) if above else None

    def norm(self, size: int) -> nn.Module:
        """Over channels, running along."""
        return RunningNorm(size)

    def initial_state(self, batch: int) -> CausalState:
        """Silence before the first sample: zeros."""
        shapes = ((1, PAST_1), (self.size, PAST_2), (2 * self.size, PAST_3), (3,))
        stem = StemState(*(torch.zeros(batch, *shape) for shape in shapes))
        memory = torch.zeros(batch, self.window - 1, self.size)
        layers = tuple(RollingState(memory, memory) for _ in range(self.num_layers))
        return CausalState(stem, torch.zeros(batch, self.window - 1), layers)

    def stem(self, samples: Tensor, active: Tensor, state: StemState) -> tuple[Tensor, StemState]:
        """Samples ``(batch, num_frames, 384)`` to what goes into the first layer, ``(batch, num_frames, size)``."""
        sounding = active.transpose(1, 2)
        joined = torch.cat([state.samples, samples.flatten(1)[:, None]], 2)
        first, sums = self.groupnorm(
            torch.tanh(self.conv1(joined)), sounding.repeat_interleave(FRAMES_1, -1), state.sums
        )
        first = torch.cat([state.first, first], 2)
        second = gelu(self.conv2(first)) * sounding.repeat_interleave(FRAMES_2, -1)
        second = torch.cat([state.second, second], 2)
        hidden = (gelu(self.conv3(second)) * sounding).transpose(1, 2)
        following = (_last(joined, state.samples), _last(first, state.first), _last(second, state.second))
        return hidden, StemState(*following, sums)

    def forward(self, samples: Tensor, active: Tensor, state: CausalState) -> tuple[list[Tensor], CausalState]:
        """What goes into the first layer and what each gives, ``(batch, num_frames, size)``, and the next state.

        Behind these comes the guess of a higher layer, if there is one. All are zeros where nothing sounds.

        Args:
            samples: ``(batch, num_frames, 384)``, zeros where silent.
            active: ``(batch, num_frames, 1)``, 0 where silent.
            state: what `initial_state` or the last call gave.
        """
        hidden, stem = self.stem(samples, active, state.stem)
        return self.attend(hidden, active, state._replace(stem=stem))

    def attend(self, hidden: Tensor, active: Tensor, state: CausalState) -> tuple[list[Tensor], CausalState]:
        """The layers alone: `forward` from what goes into the first of them."""
        sounded = torch.cat([state.sounded, active[..., 0]], 1)
        places = torch.arange(sounded.shape[1], device=hidden.device)
        ahead = places[None] - torch.arange(hidden.shape[1], device=hidden.device)[:, None]
        seen = ((ahead >= 0) & (ahead < self.window)).to(hidden.dtype) * sounded[:, None]
        bias = ((1 - seen) * -1e4)[:, None]
        angles = places[:, None] * self.rates
        turns, vectors, memories = torch.stack([angles.cos(), angles.sin()]), [hidden], []
        for layer, memory in zip(self.layers, state.layers, strict=True):
            assert isinstance(layer, RollingLayer)
            hidden, memory = layer.rolling(hidden, turns, bias, memory)
            vectors.append(hidden * active)
            memories.append(memory)
        if self.above is not None:
            vectors.append(self.above(hidden) * active)
        return vectors, CausalState(state.stem, sounded[:, hidden.shape[1] :], tuple(memories))


def _last(joined: Tensor, before: Tensor) -> Tensor:
    """As many of the newest frames as were remembered before."""
    return joined[..., joined.shape[-1] - before.shape[-1] :]


def load_causal(encoder: CausalMoonshine, name: str, student: str | None = None) -> None:
    """Give a causal encoder the weights of a pretrained one, and over them those of a student of it.

    Args:
        encoder: with the sizes of the pretrained one.
        name: of the pretrained one.
        student: a safetensors file with tensors named as here; ``corpora`` in its metadata names what it learned from.

    Raises:
        EncoderError: if a file is not here or does not fit.
    """
    if name not in KNOWN:
        raise EncoderError(f"'{name}' cannot be heard causally here: name one of {', '.join(KNOWN)}")
    from vocaffect.encoders.moonshine_file import read_moonshine

    own, weights = encoder.state_dict(), read_moonshine(locate(name))
    if student is not None:
        weights |= read_student(student)
    missing = [key for key in own if key not in weights]
    if missing:
        raise EncoderError(f"nothing gives {missing[0]} and {len(missing) - 1} more: name the student's file")
    try:
        encoder.load_state_dict({key: weights[key] for key in own})
    except RuntimeError as error:
        raise EncoderError(f"{student or name} does not fit: {error}") from error
