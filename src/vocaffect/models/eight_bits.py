"""Weights and matrix products in eight bits: a quarter of the size, and less time on a CPU.

A weight is ``round(w / scale)`` in -127 to 127, with a scale for each output. What it is multiplied with is rounded to
such steps too, with a scale for each row, and what that leaves is rounded once more, to steps 254 times finer: two
products of bytes. Rounded once alone, a number's last bit would decide of a step, the steps of one layer of those of
the next, and what two processors make of the same clip would be hundredths apart after a few layers. Convolutions, of
which an encoder has few and at its beginning, are content with one product. What a clip is answered does not depend on
its company in a batch, as it would with ONNX's DynamicQuantizeLinear, which has one scale for all.

In torch the rounded numbers are multiplied in float32; an exported graph holds the same products as MatMulInteger, of
unsigned bytes around 128 by signed bytes. Many CPUs add two neighbours' products in 16 bits, so the scale is such that
two neighbours' weights never exceed 128 together: the sums are then exact on all of them, and take less than half the
time that unsigned by unsigned bytes do.

Nothing here learns: `in_eight_bits` takes a trained network.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocaffect.models.byte_lstm import ByteLstm

LEVELS, ZERO, FINER = 127, 128, 254
SMALLEST = 1 << 14
"""A layer with fewer weights stays as it is."""

M = TypeVar("M", bound=nn.Module)


def in_eight_bits(module: M) -> M:
    """A copy of a module whose large linear layers, convolutions over time and LSTMs are in eight bits.

    LSTMs stay as they are in a network that must see a whole window, and where they read it backwards too.
    """
    steps = getattr(module, "streaming", "frame") == "frame"
    module = copy.deepcopy(module).eval()
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.weight.numel() >= SMALLEST:
                setattr(parent, name, ByteLinear(child.weight, child.bias))
            elif isinstance(child, nn.Conv1d) and is_plain(child) and child.weight.numel() >= SMALLEST:
                setattr(parent, name, ByteConv(child))
            elif isinstance(child, nn.LSTM) and steps and _large(child) and not child.bidirectional:
                setattr(parent, name, ByteLstm(child))
    return module


def has_eight_bits(module: nn.Module) -> bool:
    """Whether any layer of a module is in eight bits."""
    return any(isinstance(part, ByteLinear | ByteLstm) for part in module.modules())


def has_byte_lstm(module: nn.Module) -> bool:
    """Whether an LSTM of a module is in eight bits."""
    return any(isinstance(part, ByteLstm) for part in module.modules())


class ByteLinear(nn.Module):
    """A linear layer in eight bits: ``y = s_row s_column (x / s_row, rounded, . w) + bias``.

    Args:
        weight: ``(out_features, in_features)``.
        bias: ``(out_features,)`` or none.
        finer: whether what the first rounding leaves is rounded and multiplied too.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, finer: bool = True) -> None:
        super().__init__()
        self.finer = finer
        pairs = F.pad(weight.detach().abs(), (0, weight.shape[1] % 2)).reshape(len(weight), -1, 2).sum(2)
        scale = pairs.amax(1).clamp(min=1e-12) / LEVELS
        values = (weight.detach() / scale[:, None]).round()
        self.register_buffer("weight", values.T.contiguous().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, rows: Tensor, loudest: Tensor | None = None) -> Tensor:
        """Rows ``(..., in_features)`` to ``(..., out_features)``; ``loudest (..., 1)`` is each one's most, if known."""
        loudest = rows.abs().amax(-1, keepdim=True) if loudest is None else loudest
        step = loudest.clamp(min=1e-12) / LEVELS
        product = self._as_onnx(rows, step) if torch.compiler.is_exporting() else self._as_torch(rows, step)
        product = product * self.scale
        return product if self.bias is None else product + self.bias

    def _as_torch(self, rows: Tensor, step: Tensor) -> Tensor:
        """Sums of whole numbers alone, which floats hold: so no product hangs on how many rows there are."""
        steps, weight = (rows / step).round(), self.weight.to(self.scale.dtype)
        product = steps @ weight
        if self.finer:
            left = ((rows - steps * step) / (step / FINER)).round()
            product = product + left @ weight / FINER
        return product * step

    def _as_onnx(self, rows: Tensor, step: Tensor) -> Tensor:
        flat, step = rows.flatten(0, -2), step.flatten()
        zeros = torch.full_like(step, ZERO).to(torch.uint8)
        steps = _onnx("QuantizeLinear", [flat, step, zeros], torch.uint8)
        product = self._product(steps, step)
        if self.finer:
            left, step = flat - _onnx("DequantizeLinear", [steps, step, zeros], flat.dtype), step / FINER
            product = product + self._product(_onnx("QuantizeLinear", [left, step, zeros], torch.uint8), step)
        return product.reshape(*rows.shape[:-1], product.shape[-1])

    def _product(self, steps: Tensor, step: Tensor) -> Tensor:
        zero = torch.full((), ZERO, dtype=torch.uint8)
        whole = torch.onnx.ops.symbolic(
            "MatMulInteger",
            [steps, self.weight, zero, torch.zeros((), dtype=torch.int8)],
            dtype=torch.int32,
            shape=[steps.shape[0], self.weight.shape[1]],
            version=10,
        )
        return _onnx("DequantizeLinear", [whole, step], self.scale.dtype)


def _onnx(name: str, given: list[Tensor], dtype: torch.dtype) -> Tensor:
    """An operator between numbers and whole ones, whose steps, and zeros if any, are those of each row."""
    result: Tensor = torch.onnx.ops.symbolic(
        name, given, attrs={"axis": 0}, dtype=dtype, shape=given[0].shape, version=13
    )
    return result


class ByteConv(nn.Module):
    """A convolution over time as a linear layer in eight bits, of each frame's neighbourhood laid out in a row."""

    def __init__(self, conv: nn.Conv1d) -> None:
        super().__init__()
        self.width, self.stride, self.padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
        self.linear: nn.Module = ByteLinear(conv.weight.transpose(1, 2).flatten(1), conv.bias, finer=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames ``(batch, in_channels, num_frames)`` to ``(batch, out_channels, fewer frames)``."""
        frames = F.pad(frames, (self.padding, self.padding)).transpose(1, 2)
        rows = torch.cat(self._taps(frames), dim=-1)
        if isinstance(self.linear, ByteLinear):
            loudest = torch.stack(self._taps(frames.abs().amax(2, keepdim=True))).amax(0)
            return self.linear.forward(rows, loudest).transpose(1, 2)
        heard: Tensor = self.linear(rows)
        return heard.transpose(1, 2)

    def _taps(self, frames: Tensor) -> list[Tensor]:
        """What each place of the kernel hears of frames ``(batch, num_frames, channels)``, likewise."""
        last = frames.shape[1] - self.width
        return [frames[:, tap : last + tap + 1 : self.stride] for tap in range(self.width)]


def _large(layer: nn.LSTM) -> bool:
    return 4 * layer.hidden_size**2 >= SMALLEST


def is_plain(conv: nn.Conv1d) -> bool:
    """Whether a convolution is a matrix product of neighbourhoods worth rounding."""
    return conv.groups == 1 and conv.dilation == (1,) and conv.padding_mode == "zeros" and conv.in_channels > 1
