"""Toy recognisers that keep the bundle's promises and whose answers a few lines of numpy can check."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from vocaffect.bundle import golden_signal, write_bundle
from vocaffect.card import Card
from vocaffect.golden import make_golden

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")  # how long an example takes hangs on who else is computing

HOP = 160
LABELS = ["neutral", "happy", "sad"]
RNG = np.random.default_rng(20)
PROJECTION = RNG.normal(0, 1, (HOP, 4)).astype(np.float32)
HEAD = RNG.normal(0, 4, (4, len(LABELS))).astype(np.float32)
THRESHOLD = 1e-9


@dataclass(frozen=True)
class Toy:
    """A model file without a card, the card for it, and what its logits must be."""

    model: bytes
    card: Card

    def write(self, path: Path) -> Path:
        write_bundle(path, self.model, self.card)
        return path

    def features(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The frames (num_frames, HOP) of a signal, and what the models see in each: (num_frames, 4)."""
        frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
        return frames, np.asarray(np.tanh(frames @ PROJECTION))

    def frame_logits(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Running mean of tanh(frame @ PROJECTION) over the active frames, times HEAD: (num_frames, 3)."""
        frames, features = self.features(samples)
        active = (frames**2).mean(axis=1) > THRESHOLD
        features = features * active[:, None]
        means = np.cumsum(features, axis=0) / np.maximum(np.cumsum(active), 1)[:, None]
        return np.asarray(means @ HEAD)


def _node(op: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs, [output], **attributes)


def _constant(name: str, value: Any, dtype: type = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def _float(name: str, shape: list[str | int]) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any]) -> bytes:
    constants = [
        _constant("framed", [0, -1, HOP], np.int64),
        _constant("projection", PROJECTION),
        _constant("head", HEAD),
        _constant("threshold", THRESHOLD),
        _constant("one", 1.0),
        _constant("axis1", 1, np.int64),
        _constant("axes1", [1], np.int64),
        _constant("last", -1, np.int64),
        _constant("small", 0.01),
    ]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _front() -> list[Any]:
    return [
        _node("Reshape", ["samples", "framed"], "frames"),
        _node("MatMul", ["frames", "projection"], "projected"),
        _node("Tanh", ["projected"], "features"),
        _node("Mul", ["frames", "frames"], "squares"),
        _node("ReduceMean", ["squares"], "power", axes=[2], keepdims=1),
        _node("Greater", ["power", "threshold"], "loud"),
        _node("Cast", ["loud"], "mask", to=TensorProto.FLOAT),
        _node("ReduceMax", ["mask"], "active", axes=[2], keepdims=0),
        _node("Mul", ["features", "mask"], "masked"),
    ]


def _frame_model(lasting: bool) -> bytes:
    nodes = [
        *_front(),
        _node("CumSum", ["masked", "axis1"], "masked_sums"),
        _node("Unsqueeze", ["state.sum", "axes1"], "sum_before"),
        _node("Add", ["masked_sums", "sum_before"], "sums"),
        _node("CumSum", ["mask", "axis1"], "mask_sums"),
        _node("Unsqueeze", ["state.count", "axes1"], "count_before"),
        _node("Add", ["mask_sums", "count_before"], "counts"),
        _node("Max", ["counts", "one"], "at_least_one"),
        _node("Div", ["sums", "at_least_one"], "means"),
        _node("MatMul", ["means", "head"], "logits" if not lasting else "plain"),
        _node("Gather", ["sums", "last"], "next_state.sum", axis=1),
        _node("Gather", ["counts", "last"], "next_state.count", axis=1),
    ]
    inputs = [_float("samples", ["b", "n"]), _float("state.sum", ["b", 4]), _float("state.count", ["b", 1])]
    outputs = [
        _float("logits", ["b", "f", len(LABELS)]),
        _float("features", ["b", "f", 4]),
        _float("active", ["b", "f"]),
        _float("next_state.sum", ["b", 4]),
        _float("next_state.count", ["b", 1]),
    ]
    if lasting:
        nodes += [
            _node("Unsqueeze", ["state.voice", "axes1"], "voice_before"),
            _node("Add", ["mask_sums", "voice_before"], "voices"),
            _node("Mul", ["voices", "small"], "drift"),
            _node("Mul", ["plain", "drift"], "logits"),
            _node("Gather", ["voices", "last"], "next_state.voice", axis=1),
        ]
        inputs.append(_float("state.voice", ["b", 1]))
        outputs.append(_float("next_state.voice", ["b", 1]))
    return _model(nodes, inputs, outputs)


def _window_model(size: int) -> bytes:
    nodes = [
        *_front(),
        _node("ReduceSum", ["masked", "axes1"], "sums", keepdims=0),
        _node("ReduceSum", ["active", "axes1"], "counts", keepdims=1),
        _node("Max", ["counts", "one"], "at_least_one"),
        _node("Div", ["sums", "at_least_one"], "means"),
        _node("MatMul", ["means", "head"], "logits"),
    ]
    num_frames = size // HOP
    outputs = [
        _float("logits", ["b", len(LABELS)]),
        _float("features", ["b", num_frames, 4]),
        _float("active", ["b", num_frames]),
    ]
    return _model(nodes, [_float("samples", ["b", size])], outputs)


def make_toy(
    streaming: Literal["frame", "window"] = "frame",
    *,
    lasting: bool = False,
    window_s: float = 1.0,
    window_hop_s: float = 0.25,
    temperature: float = 1.5,
) -> Toy:
    """A toy recogniser; `lasting` adds a state tensor that outlives segments."""
    state = [
        {"name": "sum", "shape": [4], "scope": "segment"},
        {"name": "count", "shape": [1], "scope": "segment"},
    ]
    if lasting:
        state.append({"name": "voice", "shape": [1], "scope": "stream"})
    window = streaming == "window"
    card = Card.model_validate(
        {
            "format_version": 1,
            "name": f"toy-{streaming}",
            "labels": LABELS,
            "sample_rate": 16_000,
            "hop": HOP,
            "latency_s": 0.025,
            "streaming": streaming,
            "window_s": window_s if window else None,
            "window_hop_s": window_hop_s if window else None,
            "state": [] if window else state,
            "silence": {"threshold_db": -90.0},
            "normalisation": {},
            "temperature": temperature,
            "uncertain_below": 0.0,
            "coverage": 1.0,
            "recipe": {"model": "toy"},
            "manifest_hash": "sha256:none",
            "metrics": {"uar": 1 / 3},
            "licence": {"weights": "Apache-2.0", "data": "none"},
            "intended_use": "tests",
            "limits": "knows nothing",
            "created": "2026-01-01T00:00:00+00:00",
            "golden": {"seconds": 1.0, "posterior": [1.0, 0.0, 0.0], "tolerance": 1e-4},
        }
    )
    model = _window_model(card.window_samples) if window else _frame_model(lasting)
    return Toy(model, card.model_copy(update={"golden": make_golden(model, card, tolerance=1e-4)}))


@pytest.fixture(scope="session")
def toys() -> Callable[..., Toy]:
    """The maker of toy recognisers: `toys("frame")`, `toys("window", window_s=0.5)`."""
    return make_toy


@pytest.fixture(scope="session", params=["frame", "window"])
def toy(request: pytest.FixtureRequest) -> Toy:
    """One toy recogniser of each streaming kind."""
    return make_toy(request.param)


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle file with a frame model in it."""
    return make_toy().write(tmp_path_factory.mktemp("toy") / "toy.onnx")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Shells start background jobs with Ctrl-C ignored, and processes inherit that: here it must work."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests keep nothing in the cache of whoever runs them."""
    os.environ["VOCAFFECT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _servers_take_their_time() -> None:
    """A crowded machine answers late; no server shall turn tests away for that."""
    os.environ["VOCAFFECT_MAX_LAG_S"] = "1000"


@pytest.fixture(scope="session")
def voice_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser that learns voices, frame by frame; its weights are random."""
    import torch

    from vocaffect.export import describe, write_recognizer
    from vocaffect.features import FrontEnd
    from vocaffect.models import Network, build_model
    from vocaffect.models.voice import Voice
    from vocaffect.packing import terms

    torch.manual_seed(0)
    voice, frontend = Voice(3), FrontEnd({"mfcc": {}})
    voice.means.copy_(2 * torch.eye(3) - 0.7)
    frontend.fit([torch.from_numpy(golden_signal(2.0))])
    network = Network(frontend, build_model("lstm", num_features=13, num_labels=3, hidden_size=16), voice)
    path = tmp_path_factory.mktemp("voices") / "knows.onnx"
    facts = {"uncertain_below": 0.0, "coverage": 1.0, "recipe": {}, "manifest_hash": "none", "metrics": {}}
    facts |= terms(["ravdess"])
    card = describe(network, name="knows", labels=LABELS, temperature=1.0, window=(3.0, 0.5), facts=facts)
    write_recognizer(network, path, card)
    return path
