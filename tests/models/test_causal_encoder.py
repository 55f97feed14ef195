"""The recogniser that hears an encoder causally: its statistics, its four bits, the size of what it remembers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vocaffect.encoders import EncoderError
from vocaffect.encoders.causal import HOP
from vocaffect.errors import VocaffectError
from vocaffect.export import state_specs, to_onnx
from vocaffect.features import FrontEnd
from vocaffect.features.picture import MelPicture
from vocaffect.models import CausalEncoderModel, Network, build_model

TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
WIDE = {"model_type": "moonshine", "hidden_size": 128, "intermediate_size": 256, "num_heads": 2}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def model(**parameters: Any) -> CausalEncoderModel:
    torch.manual_seed(0)
    given = {"encoder": TINY, "layers": [0, 1, 2, 3], "window": 7, **parameters}
    built = build_model("causal_encoder", num_features=HOP, num_labels=5, **given)
    assert isinstance(built, CausalEncoderModel)
    return built.eval()


def network(**parameters: Any) -> Network:
    frontend = FrontEnd({"waveform": {}}, win_s=0.024, hop_s=0.024, level_prior_s=None)
    return Network(frontend, model(**parameters)).eval()


def clips(*frames: int) -> list[tuple[Tensor, Tensor]]:
    return [(noise(1, count, HOP, seed=seed), torch.ones(1, count, 1)) for seed, count in enumerate(frames)]


@torch.inference_mode()
def test_what_the_stem_says_at_some_moments_stands_for_samples() -> None:
    built, (features, active) = model(), clips(75)[0]
    said, logits = built.stem(features, active), built(features, active)[0]
    assert said.shape == (1, 4, 1, 2 * 4 * 16)
    found = built(said, torch.ones(1, 4, 1))[0]
    assert torch.allclose(found, logits[:, [14, 34, 54, 74]], atol=1e-6)
    assert built.stem(*clips(4)[0]).shape[1] == 1


@torch.inference_mode()
def test_statistics_are_those_of_the_active_frames_so_far() -> None:
    built, (features, _) = model(layers=[1]), clips(40)[0]
    active = (torch.arange(40) % 3 > 0).float()[None, :, None]
    vectors = built.encoder(features * active, active, built.initial_state(1).encoder)[0][1]
    found = built.stem(features * active, active)[0, -1, 0]
    kept = vectors[0][active[0, :, 0] > 0]
    assert torch.allclose(found[:16], kept.mean(0), atol=1e-5)
    assert torch.allclose(found[16:], kept.std(0, correction=0).clamp(min=0.1), atol=1e-4)


def test_measuring_standardises_what_the_head_hears() -> None:
    built, given = model(), clips(60, 41, 22, 35)
    built.measure(given)
    ends = torch.cat([built.stem(*clip)[:, -1, 0] for clip in given])
    found = (ends - built.mean) / built.deviation
    assert found.mean(0).abs().max() < 1e-2
    varies = built.deviation > 1.01e-4
    assert (found.std(0, correction=0)[varies] - 1).abs().max() < 1e-2


def test_the_stems_settings_are_those_of_its_weights_and_layers() -> None:
    assert model().stem_settings() == model(dropout=0.1).stem_settings()
    assert model().stem_settings() != model(layers=[0, 3]).stem_settings()
    wide = {"encoder": WIDE}
    assert model(**wide).stem_settings() != model(**wide, four_bits=True).stem_settings()


def test_frozen_it_may_be_kept() -> None:
    built = model()
    assert not built.still
    built.encoder.requires_grad_(False)
    assert built.still


@pytest.mark.filterwarnings("ignore")
@torch.inference_mode()
def test_four_bits_hear_nearly_the_same_and_are_exported_as_such() -> None:
    given = {"encoder": WIDE, "layers": [0, 1, 2]}
    whole, packed = network(**given), network(**given, four_bits=True)
    samples = noise(2, 30 * HOP)
    vectors, rounded = (each.model.stem(samples.reshape(2, 30, HOP), torch.ones(2, 30, 1)) for each in (whole, packed))
    assert torch.nn.functional.cosine_similarity(vectors[:, -1], rounded[:, -1], -1).min() > 0.95
    graph, shown = to_onnx(packed), 4 * sum(tensor.numel() for tensor in MelPicture(HOP).buffers())
    assert len(graph) - shown < 4 * sum(tensor.numel() for tensor in whole.state_dict().values()) / 4
    session, memory = onnxruntime.InferenceSession(graph), np.zeros((2, *state_specs(packed)[0].shape), np.float32)
    expected = packed(samples)[0].logits.softmax(-1).numpy()
    for part, wanted in zip(np.split(samples.numpy(), 5, 1), np.split(expected, 5, 1), strict=True):
        logits, _, _, _, memory = session.run(None, {"samples": part, "state.memory": memory})
        assert np.abs(torch.from_numpy(logits).softmax(-1).numpy() - wanted).max() < 2e-2


def test_what_a_stream_remembers_is_small() -> None:
    frontend = FrontEnd({"waveform": {}}, win_s=0.024, hop_s=0.024)
    built = build_model("causal_encoder", num_features=HOP, num_labels=8, encoder={"model_type": "moonshine"})
    assert 4 * state_specs(Network(frontend, built))[0].shape[0] <= 300_000


def test_it_refuses(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("VOCAFFECT_ENCODERS", str(tmp_path))
    with pytest.raises(VocaffectError, match=r"hears in hops of 0.024 s: set frontend.win_s and hop_s to 0.024"):
        Network(FrontEnd({"waveform": {}}, win_s=0.010), model())
    with pytest.raises(VocaffectError, match=r"layers names the layers to hear, of 0 to 3, not \[4\]"):
        model(layers=[4])
    with pytest.raises(EncoderError, match=r"encoders fetch moonshine-base"):
        model(encoder="moonshine-base").load()


def test_what_its_student_learned_from_counts_as_learned_from(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "student.safetensors", {"corpora": "tess"})
    assert model(student=str(tmp_path / "student.safetensors")).learned_from == {"tess"}
    assert model().learned_from == frozenset()
