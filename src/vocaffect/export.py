"""From a trained network to a bundle: one ONNX graph that takes samples and state, or the network itself."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vocaffect.bundle import Bundle, Graph, created_now, write_bundle
from vocaffect.card import Card, Golden, StateSpec
from vocaffect.errors import VocaffectError
from vocaffect.features.picture import STRETCH, MelPicture
from vocaffect.golden import make_golden
from vocaffect.models import Network
from vocaffect.models.eight_bits import has_byte_lstm, has_eight_bits
from vocaffect.repetition import repeated
from vocaffect.state import pack, unpack, walk
from vocaffect.units import samples_to_seconds
from vocaffect.voices import PRIOR

OPSET = 18
TOLERANCE, EIGHT_BIT_TOLERANCE = 1e-4, 2e-3
"""How far from its golden vector a recogniser may be, and one whose products are rounded to eight bits."""


class _Flat(nn.Module):
    """A network with the posterior beside its logits, and one plain tensor of state for each scope, as graphs need.

    In place of the samples that a model hears as features, people are shown a picture of them.
    """

    def __init__(self, network: Network, temperature: float) -> None:
        super().__init__()
        self.network, self.parts, self.sharpness = network, _parts(network), 1 / temperature
        win = network.frontend.hop if network.streaming == "frame" else STRETCH
        self.picture = MelPicture(win) if network.frontend.is_waveform else None

    def forward(self, samples: Tensor, *packed: Tensor) -> tuple[Tensor, ...]:
        fresh = self.network.initial_state(samples.shape[0])
        given = zip(self.parts, packed, strict=True)
        state = fresh._replace(
            **{
                field: value
                for (names, _), tensor in given
                for field, value in zip(
                    names, unpack(tuple(getattr(fresh, name) for name in names), tensor), strict=True
                )
            }
        )
        (logits, features, active), following = self.network(samples, state)
        after = [pack(tuple(getattr(following, name) for name in names)) for names, _ in self.parts]
        if self.network.streaming == "window":
            logits = logits[:, -1]
        if self.picture is not None:
            features = self.picture(samples)
        return logits, (logits * self.sharpness).softmax(-1), features, active[..., 0], *after


def _parts(network: Network) -> list[tuple[tuple[str, ...], StateSpec]]:
    """The fields of a network's state that go into each tensor a recogniser carries from call to call.

    What lasts for a segment is one tensor, ``memory``, and what is known of the voice another. A window recogniser
    carries nothing of what it heard, but whether an utterance has begun.
    """
    whole, fresh = network.streaming == "window", network.initial_state(1)
    fields: dict[str, tuple[str, ...]] = {"memory": ("begun",) if whole else ("frontend", "model", "begun")}
    fields["voice"] = ("voice",)
    found = []
    for name, scope in (("memory", "segment"), ("voice", "stream")):
        held = tuple(getattr(fresh, field) for field in fields[name])
        if any(tensor.numel() for _, tensor in walk(held)):
            spec = StateSpec.model_validate({"name": name, "shape": [pack(held).shape[1]], "scope": scope})
            found.append((fields[name], spec))
    return found


def state_specs(network: Network) -> list[StateSpec]:
    """What a recogniser carries from call to call, one tensor for each scope."""
    return [spec for _, spec in _parts(network)]


def to_onnx(network: Network, window_samples: int | None = None, temperature: float = 1.0) -> bytes:
    """The network as a serialised ONNX model, in evaluation mode.

    Inputs: ``samples (batch, num_samples)``, whole hops, and ``state.NAME (batch, ...)``. Outputs: ``logits``,
    ``posterior``, ``features``, ``active`` and ``next_state.NAME``; see `vocaffect.bundle`. A network with an LSTM in
    eight bits leaves as a graph of one hop that is repeated (`vocaffect.repetition`), any other as one of many hops at
    once.

    Args:
        network: what to export; left in evaluation mode.
        window_samples: length of the window, for a model that must see a whole one.
        temperature: what logits are divided by for the posterior.

    Raises:
        VocaffectError: if one of its features is a plain function.
    """
    refuse_plain(network)
    flat = _Flat(network.eval(), temperature)
    specs, hop = state_specs(network), network.frontend.hop
    state = [torch.zeros(2, *spec.shape) for spec in specs]
    steps = has_byte_lstm(network)
    samples = torch.zeros(2, hop if steps else window_samples or 10 * hop)
    batch, frames = torch.export.Dim("batch", min=1, max=2**16), torch.export.Dim("hops", min=1, max=2**20)
    lengths: dict[int, Any] = {0: batch} if window_samples or steps else {0: batch, 1: hop * frames}
    with _quiet():
        program = torch.onnx.export(
            flat,
            (samples, *state),
            dynamo=True,
            opset_version=OPSET,
            input_names=["samples", *(f"state.{spec.name}" for spec in specs)],
            output_names=["logits", "posterior", "features", "active", *(f"next_state.{spec.name}" for spec in specs)],
            dynamic_shapes=(lengths, *([tuple({0: batch} for _ in state)] if state else [])),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]  # from which line of which file it came: a tenth of the size, and nobody's business
    return bytes((repeated(model, hop) if steps else model).SerializeToString())


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


def write_recognizer(network: Network, path: Path, card: Card) -> Card:
    """Export a network and write it as a sealed bundle, all or nothing, its golden vector in its card.

    Raises:
        VocaffectError: if no graph can hold the network, or the bundle would be refused at load; nothing is
            written then.
    """
    model = to_onnx(network, card.window_samples or None, card.temperature)
    card = card.model_copy(update={"golden": make_golden(model, card, tolerance=card.golden.tolerance)})
    write_bundle(path, model, card)
    return card


def describe(
    network: Network,
    *,
    name: str,
    labels: Sequence[str],
    temperature: float,
    window: tuple[float, float],
    facts: Mapping[str, Any],
) -> Card:
    """The card of a trained network, but without a golden vector.

    Args:
        network: what was trained.
        name: what the recogniser is called.
        labels: its classes in order.
        temperature: what its logits are divided by.
        window: length and hop in seconds, for a network that must see a whole window.
        facts: the card's remaining fields: recipe, manifest_hash, metrics, licence, intended_use, limits.
    """
    whole, facts = network.streaming == "window", dict(facts)
    normalisation = facts.pop("normalisation", {})
    level, hop = network.frontend.level, network.frontend.hop
    tolerance = EIGHT_BIT_TOLERANCE if has_eight_bits(network) else TOLERANCE
    return Card(
        format_version=1,
        name=name,
        labels=list(labels),
        sample_rate=16_000,
        hop=hop,
        latency_s=window[1] if whole else samples_to_seconds(hop),
        streaming=network.streaming,
        window_s=window[0] if whole else None,
        window_hop_s=window[1] if whole else None,
        state=state_specs(network),
        silence={"threshold_db": level.silence_db},
        normalisation={
            "reference_db": level.reference_db,
            "prior_frames": level.prior_frames,
            **({} if network.voice is None else {PRIOR: network.voice.prior}),
            **normalisation,
        },
        temperature=temperature,
        golden=Golden(seconds=1.0, posterior=[1.0] * len(labels), tolerance=tolerance),
        created=created_now(),
        **facts,
    )


class _InPython:
    """A network in the place of the onnxruntime session that a bundle runs on."""

    def __init__(self, network: Network, temperature: float) -> None:
        self.flat = _Flat(network.eval(), temperature)

    def get_outputs(self) -> list[SimpleNamespace]:
        """What tells a bundle that the posterior is among the outputs."""
        return [SimpleNamespace(name="posterior")]

    def run(self, wanted: Sequence[str], feed: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The outputs in the order of a graph; ``feed`` is in the order of its inputs."""
        with torch.inference_mode():
            outputs = self.flat(*map(torch.from_numpy, feed.values()))
        return [np.asarray(output.numpy()) for output in outputs]


def bundle_in_python(network: Network, card: Card) -> Bundle:
    """A bundle that is no file: its network runs in torch, and may hold features that are plain functions."""
    return Bundle(card, Graph(_InPython(network, card.temperature), [spec.name for spec in card.state]), None)


def refuse_plain(network: Network) -> None:
    """Refuse a network that no graph can hold.

    Raises:
        VocaffectError: if one of its features is a plain function.
    """
    if names := network.frontend.plain_names:
        raise VocaffectError(
            f"feature '{names[0]}' is a plain function, which no file can hold: test and use this run in Python "
            "(vocaffect.packing.recognizer_of), or write the feature as a class"
        )
