"""Reading the weights of Moonshine's quantised ONNX file into `Moonshine`, dequantised.

In the file a convolution's weights are ``quantized * scale + zero_point``, those of a linear layer
``(quantized - zero_point) * scale``, transposed, and the norm behind the first convolution has lost its name.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LINEAR = {
    "self_attn.q_proj": "q_proj",
    "self_attn.k_proj": "k_proj",
    "self_attn.v_proj": "v_proj",
    "self_attn.dense": "o_proj",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
"""What the file's linear layers are called here."""


def read_moonshine(path: Path) -> dict[str, Tensor]:
    """The weights of all layers in the file, under the names of `Moonshine`'s parameters.

    Raises:
        KeyError, ValueError: if the file is another model's.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {**_convolutions(stored), **_norm(graph, stored), **_linear(graph, stored)}
    as_they_are = ("norm.weight", ".bias")
    weights |= {name: stored[name] for name in stored if name.startswith("layers.") and name.endswith(as_they_are)}
    return {name: torch.from_numpy(np.array(values, np.float32)) for name, values in weights.items()}


def _convolutions(stored: dict[str, Any]) -> dict[str, Any]:
    weights = {}
    for name in ("conv1", "conv2", "conv3"):
        quantized, scale, zero = (stored[f"{name}.weight_{part}"] for part in ("quantized", "scale", "zero_point"))
        weights[f"{name}.weight"] = quantized.astype(np.float32) * scale + zero
    return {**weights, **{f"{name}.bias": stored[f"{name}.bias"] for name in ("conv2", "conv3")}}


def _norm(graph: Any, stored: dict[str, Any]) -> dict[str, Any]:
    """The only two initialisers that the nodes of the group norm scale and shift by."""
    found: dict[str, Any] = {}
    for node in graph.node:
        if node.name in ("/groupnorm/Mul", "/groupnorm/Add"):
            found[node.op_type] = next(stored[name] for name in node.input if name in stored).reshape(-1)
    return {"groupnorm.weight": found["Mul"], "groupnorm.bias": found["Add"]}


def _linear(graph: Any, stored: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
    weights = {}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        _, layer, *names, _ = node.name.split("/")
        here = LINEAR[".".join(names)]
        quantized, zero = stored[node.input[1]], stored[node.input[3]]
        scale = stored[node.input[1].removesuffix("_quantized") + "_scale"]
        part = "mlp" if here.startswith("fc") else "self_attn"
        weights[f"{layer}.{part}.{here}.weight"] = ((quantized.astype(np.float32) - zero) * scale).T
    return weights
