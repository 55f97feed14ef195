"""Recurrent layers with an explicit state, written so that they also leave for ONNX unharmed.

torch's exporter freezes the time axis of `torch.nn.LSTM` and `torch.nn.GRU` from its second export in a process on;
while exporting, the ONNX operator is therefore named outright, with torch's weights in ONNX's order of gates.
"""

from typing import Any

import torch
from torch import Tensor, nn

from vocaffect.models.byte_lstm import ByteLstm, Vectors

_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Where ONNX's gates lie in torch's: input, output, forget, cell of i f g o; update, reset, hidden of r z n."""

_ATTRIBUTES: dict[str, dict[str, Any]] = {"LSTM": {}, "GRU": {"linear_before_reset": 1}}
"""torch's GRU resets after the recurrent product; ONNX's default, as in the paper, is to reset before it."""


def initial_vectors(layer: nn.LSTM | ByteLstm, batch: int) -> Vectors:
    """The hidden or the cell vectors before the first frame."""
    num_vectors = layer.num_layers * (2 if layer.bidirectional else 1)
    return tuple(torch.zeros(batch, 1, layer.hidden_size) for _ in range(num_vectors))


def lstm(
    layer: nn.LSTM | ByteLstm, features: Tensor, hidden: Vectors, cell: Vectors
) -> tuple[Tensor, Vectors, Vectors]:
    """Run an LSTM whose state has the batch first.

    Args:
        layer: a batch-first LSTM, perhaps in eight bits.
        features: ``(batch, num_frames, num_features)``.
        hidden: ``(batch, 1, hidden_size)`` for each layer and direction.
        cell: as ``hidden``.

    Returns:
        ``(output (batch, num_frames, num_directions * hidden_size), hidden, cell)``.
    """
    hidden, cell = (tuple(vector.to(features) for vector in vectors) for vectors in (hidden, cell))
    if isinstance(layer, ByteLstm):
        stepped: tuple[Tensor, Vectors, Vectors] = layer(features, hidden, cell)
        return stepped
    if torch.compiler.is_exporting():
        output, (hidden, cell) = _as_onnx("LSTM", layer, features, hidden, cell)
        return output, hidden, cell
    initial = [torch.cat(vectors, dim=1).transpose(0, 1).contiguous() for vectors in (hidden, cell)]
    output, after = layer(features, tuple(initial))
    hidden, cell = (torch.split(each.transpose(0, 1), 1, dim=1) for each in after)
    return output, hidden, cell


def gru(layer: nn.GRU, features: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Run a GRU whose state has the batch first.

    Args:
        layer: a batch-first GRU.
        features: ``(batch, num_frames, num_features)``.
        hidden: ``(batch, num_layers * num_directions, hidden_size)``.

    Returns:
        ``(output (batch, num_frames, num_directions * hidden_size), hidden)``.
    """
    if torch.compiler.is_exporting():
        output, (after,) = _as_onnx("GRU", layer, features, torch.split(hidden, 1, dim=1))
        return output, torch.cat(after, dim=1)
    output, hidden = layer(features, hidden.transpose(0, 1).contiguous())
    return output, hidden.transpose(0, 1)


def _as_onnx(operator: str, layer: nn.RNNBase, features: Tensor, *initial: Vectors) -> tuple[Tensor, list[Vectors]]:
    """The output, and the states after the last frame, batch first."""
    directions = 2 if layer.bidirectional else 1
    output, layers = features.transpose(0, 1), []
    time_first = [[vector.transpose(0, 1) for vector in vectors] for vectors in initial]
    for index in range(layer.num_layers):
        own = slice(index * directions, (index + 1) * directions)
        output, *last = _onnx_layer(operator, layer, index, output, [_joined(state[own]) for state in time_first])
        layers.append([torch.split(each.transpose(0, 1), 1, dim=1) for each in last])
    return output.transpose(0, 1), [sum(parts, start=()) for parts in zip(*layers, strict=True)]


def _joined(vectors: list[Tensor]) -> Tensor:
    return vectors[0] if len(vectors) == 1 else torch.cat(vectors)


def _onnx_layer(
    operator: str, layer: nn.RNNBase, index: int, features: Tensor, initial: list[Tensor]
) -> tuple[Tensor, ...]:
    """One layer as an operator; time first, as ONNX has it."""
    suffixes = ["", "_reverse"] if layer.bidirectional else [""]
    num_frames, batch, _ = features.shape
    size, directions = layer.hidden_size, len(suffixes)
    direction = "bidirectional" if directions == 2 else "forward"
    output, *last = torch.onnx.ops.symbolic_multi_out(
        operator,
        [
            features,
            *_onnx_weights(operator, layer, index, suffixes),
            None,
            *initial,
        ],
        attrs={"hidden_size": size, "direction": direction, **_ATTRIBUTES[operator]},
        dtypes=[features.dtype] * (1 + len(initial)),
        shapes=[(num_frames, directions, batch, size), *[(directions, batch, size)] * len(initial)],
        version=14,
    )
    if directions == 1:
        return output.squeeze(1), *last
    return output.transpose(1, 2).reshape(num_frames, batch, directions * size), *last


def _onnx_weights(operator: str, layer: nn.RNNBase, index: int, suffixes: list[str]) -> list[Tensor]:
    """Input weights, recurrent weights and both biases, ``(directions, num_gates * hidden_size, ...)``."""

    def stacked(*names: str) -> Tensor:
        rows = [
            torch.cat([_onnx_gates(operator, getattr(layer, f"{name}_l{index}{suffix}")) for name in names])
            for suffix in suffixes
        ]
        return torch.stack(rows)

    return [stacked("weight_ih"), stacked("weight_hh"), stacked("bias_ih", "bias_hh")]


def _onnx_gates(operator: str, weights: Tensor) -> Tensor:
    """Rows in torch's order of gates to ONNX's; by slices, which the exporter folds into the weights."""
    order = _GATES[operator]
    size = weights.shape[0] // len(order)
    return torch.cat([weights[place * size : (place + 1) * size] for place in order])
