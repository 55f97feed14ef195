"""From a trained network to a bundle: one ONNX graph that takes samples and state."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocaffect.bundle import created_now, make_golden, write_bundle
from vocaffect.card import Card, Golden, StateSpec
from vocaffect.models import Network, NetworkState
from vocaffect.state import refill, walk
from vocaffect.units import samples_to_seconds, seconds_to_samples

OPSET = 18


class _Flat(nn.Module):
    """A network whose state is a list of plain tensors, as a graph's inputs and outputs must be."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, samples: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        state = self._state(samples, tensors) if tensors else None
        (logits, features, active), following = self.network(samples, state)
        if self.network.model.streaming == "window":
            return logits[:, -1], features, active[..., 0]
        return logits, features, active[..., 0], *(tensor for _, tensor in carried(following))

    def _state(self, samples: Tensor, tensors: tuple[Tensor, ...]) -> NetworkState:
        template = self.network.initial_state(1)
        given = dict(zip(state_names(self.network), tensors, strict=True))
        empty = {name: samples.new_zeros(samples.shape[0], *tensor.shape[1:]) for name, tensor in walk(template)}
        return refill(template, empty | given)


def carried(state: NetworkState) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state that hold anything; deltas of order 0, say, look back on nothing."""
    return ((name, tensor) for name, tensor in walk(state) if tensor.shape[1:].numel())


def state_names(network: Network) -> list[str]:
    """The names of the state tensors that a frame recogniser carries; a window recogniser carries none."""
    if network.model.streaming == "window":
        return []
    return [name for name, _ in carried(network.initial_state(1))]


def to_onnx(network: Network, window_samples: int | None = None) -> bytes:
    """The network as a serialised ONNX model, in evaluation mode, in float32.

    Inputs: ``samples (batch, num_samples)``, whole hops, and ``state.NAME (batch, ...)``. Outputs: ``logits``,
    ``features``, ``active`` and ``next_state.NAME``; see `vocaffect.bundle`.

    Args:
        network: what to export; left in evaluation mode.
        window_samples: length of the window, for a model that must see a whole one.
    """
    flat = _Flat(network.eval())
    names, hop = state_names(network), network.frontend.hop
    state = [tensor for _, tensor in carried(network.initial_state(2))] if names else []
    samples = torch.zeros(2, window_samples or 10 * hop)
    batch, frames = torch.export.Dim("batch", min=1, max=2**16), torch.export.Dim("hops", min=1, max=2**20)
    lengths: dict[int, Any] = {0: batch} if window_samples else {0: batch, 1: hop * frames}
    with _quiet():
        program = torch.onnx.export(
            flat,
            (samples, *state),
            dynamo=True,
            opset_version=OPSET,
            input_names=["samples", *(f"state.{name}" for name in names)],
            output_names=["logits", "features", "active", *(f"next_state.{name}" for name in names)],
            dynamic_shapes=(lengths, tuple({0: batch} for _ in state)) if state else (lengths,),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks of torchvision and of its own deprecations; users can act on neither."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def write_recognizer(
    network: Network,
    path: Path,
    *,
    name: str,
    labels: Sequence[str],
    temperature: float,
    window: tuple[float, float],
    facts: Mapping[str, Any],
) -> Card:
    """Export a network and write it as a sealed bundle with its golden vector.

    Args:
        network: what was trained.
        path: the bundle to write; all or nothing.
        name: what the recogniser is called.
        labels: its classes in order.
        temperature: what its logits are divided by.
        window: length and hop in seconds, for a model that must see a whole window.
        facts: the card's remaining fields: recipe, manifest_hash, metrics, licence, intended_use, limits.

    Raises:
        BundleError: if the bundle would be refused at load; nothing is written then.
    """
    whole = network.model.streaming == "window"
    level, hop = network.frontend.level, network.frontend.hop
    model = to_onnx(network, seconds_to_samples(window[0]) if whole else None)
    card = Card(
        format_version=1,
        name=name,
        labels=list(labels),
        sample_rate=16_000,
        hop=hop,
        latency_s=window[1] if whole else samples_to_seconds(hop),
        streaming=network.model.streaming,
        window_s=window[0] if whole else None,
        window_hop_s=window[1] if whole else None,
        state=[
            StateSpec(name=name, shape=list(tensor.shape[1:]), scope="segment")
            for name, tensor in carried(network.initial_state(1))
            if not whole
        ],
        silence={"threshold_db": level.silence_db},
        normalisation={"reference_db": level.reference_db, "prior_frames": level.prior_frames},
        temperature=temperature,
        golden=Golden(seconds=1.0, posterior=[1.0] * len(labels), tolerance=1e-4),
        created=created_now(),
        **facts,
    )
    card = card.model_copy(update={"golden": make_golden(model, card, tolerance=1e-4)})
    write_bundle(path, model, card)
    return card
