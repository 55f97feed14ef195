"""What leaves torch is what was trained: every model and feature, several lengths and batches, export upon export."""

from itertools import product
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from vocaffect.export import EIGHT_BIT_TOLERANCE, state_specs, to_onnx
from vocaffect.features import FrontEnd, feature_names
from vocaffect.features.picture import STRETCH, MelPicture
from vocaffect.hops import STEP, one_hop
from vocaffect.models import Network, build_model, model_names
from vocaffect.models.eight_bits import in_eight_bits
from vocaffect.utterance import softmax

TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "causal_encoder": {"encoder": TINY, "layers": [0, 1, 2, 3], "window": 7},
    "encoder": {"encoder": TINY, "layers": [0, 1, 2]},
    "crnn": {"channels": (4, 6), "hidden_size": 8},
    "fc": {"hidden_size": 16},
    "gru": {"hidden_size": 12},
    "lstm": {"hidden_size": 12},
    "resnet": {"channels": (4, 6), "num_blocks": 1},
    "tcn": {"channels": 12, "num_blocks": 2},
}
"""A model that is not named here is exported with its defaults."""

WINDOW_HOPS = 40
TOLERANCE, TEMPERATURE = 1e-4, 1.7


def frontend_of(model: str) -> FrontEnd:
    """Every feature at once for one of the models; each export costs seconds."""
    if model == "fc":
        return FrontEnd({name: {} for name in feature_names() if "test" not in name}, deltas=1)
    if model in ("encoder", "causal_encoder"):
        seconds = 0.010 if model == "encoder" else 0.024
        return FrontEnd({"waveform": {}}, win_s=seconds, hop_s=seconds)
    return FrontEnd({"mel": {"num_mels": 20}})


def trained(name: str, frontend: FrontEnd) -> Network:
    """A network that has heard noise, so that its features lie where a trained one's lie."""
    torch.manual_seed(sum(map(ord, name)))
    frontend.fit([torch.from_numpy(noise(1, 100)[0])])
    model = build_model(name, num_features=frontend.num_features, num_labels=5, **SMALL.get(name, {}))
    return Network(frontend, model).eval()


def noise(batch: int, hops: int, hop: int = 160) -> NDArray[np.float32]:
    """Loud, soft and silent stretches, different ones in each row."""
    rng = np.random.default_rng([batch, hops])
    scale = rng.choice([0.0, 1e-5, 0.01, 0.3], (batch, hops)).repeat(hop, axis=1)
    return np.asarray(scale * rng.standard_normal((batch, hops * hop)), np.float32)


def difference(network: Network) -> float:
    """The largest between torch and graph: features, logits and states, of two chunks one after the other."""
    whole = network.model.streaming == "window"
    graph = to_onnx(network, WINDOW_HOPS * 160 if whole else None, TEMPERATURE)
    assert one_hop(graph) is None, "nothing is repeated in it"
    assert b"export.py" not in graph, "a bundle tells nobody where its maker's files lie"
    session = onnxruntime.InferenceSession(graph)
    lengths = [(WINDOW_HOPS,)] if whole else [(1, 23), (17, 4)]
    return max(streamed(network, session, batch, hops) for batch, hops in product((1, 3), lengths))


def streamed(network: Network, session: onnxruntime.InferenceSession, batch: int, lengths: tuple[int, ...]) -> float:
    names = [node.name for node in session.get_inputs() if node.name != "samples"]
    assert names == [f"state.{spec.name}" for spec in state_specs(network)]
    fresh = {node.name: [batch, *node.shape[1:]] for node in session.get_inputs()}
    memory, state, worst = {name: np.zeros(fresh[name], np.float32) for name in names}, None, 0.0
    for hops in lengths:
        samples = noise(batch, hops, network.frontend.hop)
        with torch.inference_mode():
            (logits, features, _), state = network(torch.from_numpy(samples), state)
            if network.frontend.is_waveform:
                win = network.frontend.hop if names else STRETCH
                features = MelPicture(win)(torch.from_numpy(samples))
        ours, posterior, theirs, _, *following = session.run(None, {"samples": samples, **memory})
        memory = dict(zip(names, following, strict=True))
        expected = logits.numpy() if names else logits[:, -1].numpy()
        assert ours.shape == expected.shape
        worst = max(worst, np.abs(ours - expected).max(), np.abs(theirs - features.numpy()).max())
        worst = max(worst, np.abs(posterior - softmax(ours, TEMPERATURE)).max())
    return float(worst)


def test_in_eight_bits_a_stream_is_offline_to_the_last_bit() -> None:
    """However it is cut, alone or in company: what rounds must never round another way."""
    frontend = FrontEnd({"mfcc": {}}, deltas=1)
    frontend.fit([torch.from_numpy(noise(1, 100)[0])])
    torch.manual_seed(3)
    network = Network(frontend, build_model("lstm", num_features=26, num_labels=5, hidden_size=64))
    network = in_eight_bits(network)
    graph = to_onnx(network)
    session = onnxruntime.InferenceSession(graph)

    def stepped(samples: NDArray[np.float32], *hops: int) -> list[NDArray[np.float32]]:
        memory = np.zeros([len(samples), *state_specs(network)[0].shape], np.float32)
        said: list[list[NDArray[np.float32]]] = []
        start = 0
        for count in [*hops, samples.shape[1] // 160 - sum(hops)]:
            chunk = samples[:, start * 160 : (start + count) * 160]
            *parts, memory = session.run(None, {"samples": chunk, "state.memory": memory})
            said, start = [*said, parts], start + count
        return [np.concatenate(parts, axis=1) for parts in zip(*said, strict=True)] + [memory]

    samples = noise(3, 90)
    whole = stepped(samples)
    for ours, theirs in zip(stepped(samples, *[1] * 20, 7, 31), whole, strict=True):
        assert np.array_equal(ours, theirs)
    for ours, theirs in zip(alone(graph, samples, len(whole[-1][0])), whole, strict=True):
        assert np.array_equal(ours, theirs)
    for ours, theirs in zip(stepped(samples[1:2]), whole, strict=True):
        assert np.abs(ours[0] - theirs[1]).max() <= TOLERANCE
    with torch.inference_mode():
        expected = network(torch.from_numpy(samples))[0]
    assert np.abs(whole[0] - expected.logits.numpy()).max() <= EIGHT_BIT_TOLERANCE
    assert np.abs(whole[2] - expected.features.numpy()).max() <= TOLERANCE
    assert np.array_equal(whole[3], expected.active[..., 0].numpy())


def alone(graph: bytes, samples: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    """The same, each hop by the graph of one that lies in the whole."""
    session = onnxruntime.InferenceSession(one_hop(graph))
    memory = np.zeros([len(samples), size], np.float32)
    said: list[list[NDArray[np.float32]]] = []
    for hop in np.split(samples, samples.shape[1] // 160, axis=1):
        memory, *parts = session.run(None, {f"{STEP}.samples": hop, f"{STEP}.state.memory": memory})
        said.append(parts)
    return [np.concatenate(parts, axis=1) for parts in zip(*said, strict=True)] + [memory]


def test_every_model_export_after_export() -> None:
    """In one process: the exporter has frozen the time axis of recurrent layers from the second export on."""
    differences = {name: difference(trained(name, frontend_of(name))) for name in model_names()}
    assert max(differences.values()) <= TOLERANCE, differences
