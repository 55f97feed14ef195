"""An LSTM whose large matrices are in eight bits, for a network that has learned.

A weight is ``round(w / scale)`` in -127 to 127, with a scale for each gate of each unit. A hidden vector lies within
[-1, 1], so the steps that it is rounded to are the same for every frame and every row: what a clip is answered does not
depend on its company in a batch, and a product of a step and a weight leaves room for another one in 16 bits, so that
the sums are exact on every CPU.

In torch the steps are multiplied in float32, which holds their sums exactly; an exported graph holds the same product
as MatMulInteger. A network that holds such a layer leaves as a graph of one frame that is repeated
(`vocaffect.export`): a difference in the last bit before a rounding, which another length of a chunk could bring, would
else decide how a number is rounded.
"""

import torch
from torch import Tensor, nn

from vocaffect.state import is_one

Vectors = tuple[Tensor, ...]
"""One ``(batch, 1, hidden_size)`` for each layer and direction."""

LEVELS, STEPS, ZERO = 127, 63, 64
"""What a weight and a number of a hidden vector are rounded to: -127 to 127, and -63 to 63, told as 1 to 127.

What telling them so adds to a product is in the layer's bias."""


class ByteLstm(nn.Module):
    """What a trained, batch-first `torch.nn.LSTM` of one direction computes, its weights in eight bits.

    The first layer's input weights stay float32: features have no bound.

    Args:
        layer: the LSTM.
    """

    bidirectional = False
    input_weight: Tensor
    bias_0: Tensor

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = layer.num_layers, layer.hidden_size
        for index in range(layer.num_layers):
            given, own, bias = (_gates(each) for each in _weights(layer, index))
            if index == 0:
                self.register_buffer("input_weight", given.T.contiguous())
            else:
                own = torch.cat([given, own], dim=1)
            scale = own.abs().amax(1).clamp(min=1e-12) / LEVELS
            levels, worth = (own / scale[:, None]).round(), scale / STEPS
            self.register_buffer(f"weight_{index}", levels.to(torch.int8).T.contiguous())
            self.register_buffer(f"scale_{index}", worth)
            self.register_buffer(f"bias_{index}", bias - ZERO * levels.sum(1) * worth)

    def forward(self, features: Tensor, hidden: Vectors, cell: Vectors) -> tuple[Tensor, Vectors, Vectors]:
        """As `vocaffect.models.recurrent.lstm`."""
        given = features @ self.input_weight + self.bias_0
        frames, output = (given,) if is_one(given.shape[1]) else torch.split(given, 1, dim=1), []
        for frame in frames:
            hidden, cell = self._step(frame, hidden, cell)
            output.append(hidden[-1])
        return output[0] if len(output) == 1 else torch.cat(output, dim=1), hidden, cell

    def _step(self, frame: Tensor, hidden: Vectors, cell: Vectors) -> tuple[Vectors, Vectors]:
        """What the features of one frame give the first layer, ``(batch, 1, 4 * hidden_size)``, and the states."""
        hiddens, cells = list(hidden), list(cell)
        for index in range(self.num_layers):
            heard = torch.cat([hiddens[index - 1], hiddens[index]], dim=-1) if index else hiddens[0]
            gates = self._product(self._rounded(heard), index)
            gates = gates + (getattr(self, f"bias_{index}") if index else frame)
            hiddens[index], cells[index] = _passed(gates, cells[index])
        return tuple(hiddens), tuple(cells)

    def _rounded(self, vectors: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return (vectors * STEPS).round() + ZERO
        step, zero = torch.full((), 1 / STEPS), torch.full((), ZERO, dtype=torch.uint8)
        steps: Tensor = torch.onnx.ops.symbolic(
            "QuantizeLinear", [vectors, step, zero], dtype=torch.uint8, shape=vectors.shape, version=13
        )
        return steps

    def _product(self, steps: Tensor, index: int) -> Tensor:
        weight: Tensor = getattr(self, f"weight_{index}")
        scale: Tensor = getattr(self, f"scale_{index}")
        if not torch.compiler.is_exporting():
            return steps @ weight.to(scale) * scale
        shape = [*steps.shape[:-1], weight.shape[1]]
        sums: Tensor = torch.onnx.ops.symbolic(
            "MatMulInteger", [steps, weight], dtype=torch.int32, shape=shape, version=10
        )
        return sums.to(scale.dtype) * scale


def _passed(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gates ``(batch, 1, 4 * hidden_size)`` and cells to hidden vectors and cells."""
    size = cell.shape[-1]
    opening, change = torch.split(gates, [3 * size, size], dim=-1)
    admit, forget, emit = opening.sigmoid().chunk(3, dim=-1)
    cell = forget * cell + admit * change.tanh()
    return emit * cell.tanh(), cell


def _weights(layer: nn.LSTM, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Input weights, recurrent weights and the sum of both biases of one layer."""
    given, own, first, second = (
        getattr(layer, f"{name}_l{index}").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return given, own, first + second


def _gates(rows: Tensor) -> Tensor:
    """Rows in torch's order of gates, i f g o, to i f o g, so that those with the same curve lie together."""
    admit, forget, change, emit = rows.chunk(4)
    return torch.cat([admit, forget, emit, change])
