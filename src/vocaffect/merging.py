"""One graph of several: the members of an ensemble side by side, fed with the same samples, with one decision."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, version_converter

from vocaffect.bundle import load_bundle
from vocaffect.card import Card

Combine = Literal["logits", "posteriors"]
Shape = list[int | str]
OPSET = 18


@dataclass(frozen=True)
class Member:
    """One recogniser of an ensemble: its card, its graph under names of its own, and its weight."""

    prefix: str
    card: Card
    model: Any
    weight: float

    @staticmethod
    def read(number: int, path: Path, weight: float) -> "Member":
        """Load a bundle, which is checked as everywhere, as the member of that number."""
        card, model = load_bundle(path).card, onnx.load(path)
        return Member(f"m{number}.", card, compose.add_prefix(_converted(model), f"m{number}."), weight)


class _Glue:
    """Nodes and constants that stand before or after those of the members."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{self.name}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, dtype: type = np.int64) -> str:
        name = f"{self.name}.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def slice(self, value: str, start: int, step: int = 1, axis: int = 1) -> str:
        ends = self.constant([np.iinfo(np.int64).max])
        return self.node("Slice", [value, self.constant([start]), ends, self.constant([axis]), self.constant([step])])


def merge(members: Sequence[Member], card: Card, combine: Combine) -> bytes:
    """The graphs side by side, fed with the same samples, and the nodes that make one decision of theirs."""
    before, after = _Glue("before"), _Glue("after")
    place = _frames if card.streaming == "frame" else _window
    placed = [place(before, after, member, card) for member in members]
    parts = [_calibrated(after, member, logits, card) for member, (logits, _, _) in zip(members, placed, strict=True)]
    weights = [member.weight for member in members]
    if combine == "logits":
        shares = [after.constant(weight, np.float32) for weight in weights]
        after.node("Sum", [after.node("Mul", pair) for pair in zip(parts, shares, strict=True)], "logits")
    else:
        logs = [after.constant(math.log(max(weight, 1e-30)), np.float32) for weight in weights]
        own = [after.node("LogSoftmax", [part], axis=-1) for part in parts]
        last = after.constant([-1])
        columns = [after.node("Unsqueeze", [after.node("Add", p), last]) for p in zip(own, logs, strict=True)]
        after.node("ReduceLogSumExp", [after.node("Concat", columns, axis=-1), last], "logits", keepdims=0)
    scaled = after.node("Div", ["logits", after.constant(card.temperature, np.float32)])
    after.node("Softmax", [scaled], "posterior", axis=-1)
    lead = max(range(len(members)), key=lambda number: reach(members[number].card, card))
    for name, value in zip(("features", "active"), placed[lead][1:], strict=True):
        after.node("Identity", [value], name)
    return _model(members, card, before, after)


def _frames(before: _Glue, after: _Glue, member: Member, card: Card) -> tuple[str, str, str]:
    """A member frame by frame, with its state; of a shorter hop, the frames that end with the ensemble's."""
    prefix, step = member.prefix, card.hop // member.card.hop
    before.node("Identity", ["samples"], f"{prefix}samples")
    for spec in member.card.state:
        before.node("Identity", [f"state.{prefix}{spec.name}"], f"{prefix}state.{spec.name}")
        after.node("Identity", [f"{prefix}next_state.{spec.name}"], f"next_state.{prefix}{spec.name}")
    logits, features, active = (
        name if step == 1 else after.slice(name, step - 1, step)
        for name in (f"{prefix}logits", f"{prefix}features", f"{prefix}active")
    )
    return logits, features, active


def _window(before: _Glue, after: _Glue, member: Member, card: Card) -> tuple[str, str, str]:
    """A member on the last part of a window; one that runs frame by frame begins afresh and decides at its end."""
    prefix, size = member.prefix, reach(member.card, card)
    before.node("Identity", [before.slice("samples", -size)], f"{prefix}samples")
    batch = before.node("Shape", ["samples"], start=0, end=1)
    zero = numpy_helper.from_array(np.zeros(1, np.float32))
    for spec in member.card.state:
        shape = before.node("Concat", [batch, before.constant(spec.shape)], axis=0)
        before.node("ConstantOfShape", [shape], f"{prefix}state.{spec.name}", value=zero)
    logits = f"{prefix}logits"
    if member.card.streaming == "frame":
        logits = after.node("Gather", [logits, after.constant(-1)], axis=1)
    return logits, f"{prefix}features", f"{prefix}active"


def reach(member: Card, card: Card) -> int:
    """How many samples of an ensemble's window a member hears: its own window, or as many whole hops as there are."""
    if member.streaming == "window":
        return member.window_samples
    return card.window_samples // member.hop * member.hop


def _calibrated(after: _Glue, member: Member, logits: str, card: Card) -> str:
    """A member's logits over its temperature, in the order of the ensemble's labels."""
    value = after.node("Div", [logits, after.constant(member.card.temperature, np.float32)])
    if member.card.labels == card.labels:
        return value
    order = [member.card.labels.index(label) for label in card.labels]
    return after.node("Gather", [value, after.constant(order)], axis=-1)


def _model(members: Sequence[Member], card: Card, before: _Glue, after: _Glue) -> bytes:
    def tensor(name: str, shape: Shape) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    states: list[tuple[str, Shape]] = [(spec.name, ["batch", *spec.shape]) for spec in card.state]
    frames = card.streaming == "frame"
    logits: Shape = ["batch", "num_frames", len(card.labels)] if frames else ["batch", len(card.labels)]
    graph = helper.make_graph(
        [*before.nodes, *(node for member in members for node in member.model.graph.node), *after.nodes],
        card.name,
        [
            tensor("samples", ["batch", "num_samples" if frames else card.window_samples]),
            *(tensor(f"state.{name}", shape) for name, shape in states),
        ],
        [
            tensor("logits", logits),
            tensor("posterior", logits),
            tensor("features", ["batch", "num_feature_frames", "num_features"]),
            tensor("active", ["batch", "num_feature_frames"]),
            *(tensor(f"next_state.{name}", shape) for name, shape in states),
        ],
        [*(t for member in members for t in member.model.graph.initializer), *before.constants, *after.constants],
    )
    versions = {entry.domain: entry.version for member in members for entry in member.model.opset_import}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
        functions=[function for member in members for function in member.model.functions],
        ir_version=max(member.model.ir_version for member in members),
        producer_name="vocaffect",
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _converted(model: Any) -> Any:
    """The model in an operator set that the nodes between the members are written in."""
    [version] = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return model if version == OPSET else version_converter.convert_version(model, OPSET)
