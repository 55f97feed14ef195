"""Recurrent layers with an explicit state, written so that they also leave for ONNX unharmed.

torch's exporter freezes the time axis of `torch.nn.LSTM` from its second export in a process on; while exporting,
the ONNX operator is therefore named outright, with torch's weights in ONNX's order of gates.
"""

import torch
from torch import Tensor, nn


def lstm(layer: nn.LSTM, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM whose state has the batch first.

    Args:
        layer: a batch-first LSTM.
        features: ``(batch, num_frames, num_features)``.
        hidden: ``(batch, num_layers * num_directions, hidden_size)``.
        cell: as ``hidden``.

    Returns:
        ``(output (batch, num_frames, num_directions * hidden_size), hidden, cell)``.
    """
    if torch.compiler.is_exporting():
        return _lstm_as_onnx(layer, features, hidden, cell)
    initial = (hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous())
    output, (hidden, cell) = layer(features, initial)
    return output, hidden.transpose(0, 1), cell.transpose(0, 1)


def _lstm_as_onnx(layer: nn.LSTM, features: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    directions = 2 if layer.bidirectional else 1
    output, hiddens, cells = features.transpose(0, 1), [], []
    for index in range(layer.num_layers):
        own = slice(index * directions, (index + 1) * directions)
        output, last_hidden, last_cell = _onnx_layer(layer, index, output, hidden[:, own], cell[:, own])
        hiddens.append(last_hidden)
        cells.append(last_cell)
    return (
        output.transpose(0, 1),
        torch.cat(hiddens).transpose(0, 1),
        torch.cat(cells).transpose(0, 1),
    )


def _onnx_layer(
    layer: nn.LSTM, index: int, features: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer as the operator ``LSTM``; time first, as ONNX has it."""
    suffixes = ["", "_reverse"] if layer.bidirectional else [""]
    num_frames, batch, _ = features.shape
    size, directions = layer.hidden_size, len(suffixes)
    output, last_hidden, last_cell = torch.onnx.ops.symbolic_multi_out(
        "LSTM",
        [
            features,
            *_onnx_weights(layer, index, suffixes),
            None,
            hidden.transpose(0, 1),
            cell.transpose(0, 1),
        ],
        attrs={"hidden_size": size, "direction": "bidirectional" if directions == 2 else "forward"},
        dtypes=[features.dtype] * 3,
        shapes=[(num_frames, directions, batch, size), *[(directions, batch, size)] * 2],
        version=14,
    )
    return output.transpose(1, 2).reshape(num_frames, batch, directions * size), last_hidden, last_cell


def _onnx_weights(layer: nn.LSTM, index: int, suffixes: list[str]) -> list[Tensor]:
    """Input weights, recurrent weights and both biases, ``(directions, 4 * hidden_size, ...)``."""

    def stacked(*names: str) -> Tensor:
        rows = [
            torch.cat([_onnx_gates(getattr(layer, f"{name}_l{index}{suffix}")) for name in names])
            for suffix in suffixes
        ]
        return torch.stack(rows)

    return [stacked("weight_ih"), stacked("weight_hh"), stacked("bias_ih", "bias_hh")]


def _onnx_gates(weights: Tensor) -> Tensor:
    """Rows in torch's order (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    size = weights.shape[0] // 4
    return torch.cat([weights[:size], weights[3 * size :], weights[size : 2 * size], weights[2 * size : 3 * size]])
