"""A graph that computes one hop, made a graph that computes any number of hops, one after the other.

Where rounding is part of a network, a difference in the last bit before it, which another number of frames could bring,
decides how a number is rounded. Stepped hop by hop, a whole clip is computed exactly as a stream of it.
"""

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, ValueInfoProto, helper, numpy_helper

from vocaffect.hops import STEP

HOPS, SHAPE_OF_HOPS, ONE = "hops", "shape_of_hops", "axis_of_one"


def repeated(model: ModelProto, hop: int) -> ModelProto:
    """The model around a Scan over hops, whose body is the graph of one.

    Args:
        model: from ``samples (batch, hop)`` and state tensors to outputs ``(batch, 1, ...)``, the next states last.
        hop: samples in a hop.

    Returns:
        a model from ``samples (batch, num_samples)`` and the states to outputs ``(batch, num_frames, ...)`` and the
        states after the last hop, under the same names.
    """
    samples, *states = model.graph.input
    outputs, following = _outputs(model.graph)
    stacked = [f"{HOPS}.{value.name}" for value in outputs]
    scan = helper.make_node(
        "Scan",
        [*(state.name for state in states), HOPS],
        [*(state.name for state in following), *stacked],
        body=_step(model.graph),
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1] * len(outputs),
    )
    cut = helper.make_node("Reshape", [samples.name, SHAPE_OF_HOPS], [HOPS])
    joined = [
        helper.make_node("Squeeze", [one, ONE], [value.name]) for one, value in zip(stacked, outputs, strict=True)
    ]
    graph = helper.make_graph(
        [cut, scan, *joined],
        model.graph.name,
        [_with_length(samples, "num_samples"), *states],
        [*(_with_length(value, "num_frames") for value in outputs), *following],
        [numpy_helper.from_array(np.array([0, -1, hop]), SHAPE_OF_HOPS), numpy_helper.from_array(np.array([2]), ONE)],
    )
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.CopyFrom(graph)
    return whole


def _step(graph: GraphProto) -> GraphProto:
    """The graph with its state in front and names of its own, as a Scan's body."""
    samples, *states = graph.input
    outputs, following = _outputs(graph)
    known = {value.name for value in [*graph.input, *graph.output]}
    step = GraphProto()
    step.CopyFrom(graph)
    for field, values in (("input", [*states, samples]), ("output", [*following, *outputs])):
        step.ClearField(field)
        getattr(step, field).extend(values)
    for node in step.node:
        node.input[:] = [_own(name) if name in known else name for name in node.input]
        node.output[:] = [_own(name) if name in known else name for name in node.output]
    for value in [*step.input, *step.output]:
        value.name = _own(value.name)
    step.name = STEP
    return step


def _outputs(graph: GraphProto) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """What is said of a hop, and the next states."""
    num_states = len(graph.input) - 1
    values = list(graph.output)
    return values[: len(values) - num_states], values[len(values) - num_states :]


def _own(name: str) -> str:
    return f"{STEP}.{name}"


def _with_length(value: ValueInfoProto, length: str) -> ValueInfoProto:
    """The same value with another length of the axis behind the batch."""
    tensor = value.type.tensor_type
    dims: list[str | int] = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return helper.make_tensor_value_info(value.name, tensor.elem_type, [dims[0], length, *dims[2:]])
