"""The causal encoder: what it shares with the one that hears everything, and that cutting changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from vocaffect.encoders import EncoderError, Moonshine
from vocaffect.encoders.base import attention_bias, masked_group_norm
from vocaffect.encoders.causal import HOP, CausalMoonshine, CausalState, RunningNorm, load_causal
from vocaffect.encoders.student import taught_by
from vocaffect.state import refill, walk

SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_heads": 2}


def encoder(**options: Any) -> CausalMoonshine:
    torch.manual_seed(0)
    return CausalMoonshine(**SIZES, **options).double().eval()


def fresh(module: CausalMoonshine, batch: int) -> CausalState:
    state = module.initial_state(batch)
    return refill(state, {name: tensor.double() for name, tensor in walk(state)})


def speech(batch: int, num_frames: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise of several levels, silent now and then."""
    generator = torch.Generator().manual_seed(seed)
    active = (torch.rand(batch, num_frames, 1, generator=generator) > 0.3).double()
    loud = 0.3 * torch.rand(batch, num_frames, 1, generator=generator)
    return torch.randn(batch, num_frames, HOP, generator=generator).double() * loud * active, active


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), window=st.integers(2, 12))
@torch.inference_mode()
def test_cutting_changes_nothing(cuts: list[int], window: int) -> None:
    module, num_frames = encoder(window=window, above=True), sum(cuts)
    samples, active = speech(2, num_frames)
    whole, _ = module(samples, active, fresh(module, 2))
    state, parts = fresh(module, 2), []
    for part, heard in zip(torch.split(samples, cuts, 1), torch.split(active, cuts, 1), strict=True):
        vectors, state = module(part, heard, state)
        parts.append(vectors)
    assert len(whole) == 4
    for layer, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert (layer - torch.cat(pieces, 1)).abs().max() < 1e-12


@torch.inference_mode()
def test_silence_before_speech_changes_nothing() -> None:
    module, (samples, active) = encoder(window=7), speech(1, 12)
    active[:, 0], later = 1, torch.cat([torch.zeros(1, 9, HOP), samples], 1)
    quiet = torch.cat([torch.zeros(1, 9, 1), active], 1)
    at_once, _ = module(samples, active, fresh(module, 1))
    delayed, _ = module(later, quiet, fresh(module, 1))
    for one, other in zip(at_once, delayed, strict=True):
        assert (one - other[:, 9:]).abs().max() < 1e-12


@torch.inference_mode()
def test_the_microphones_gain_is_soon_forgotten() -> None:
    module, (samples, active) = encoder(), speech(1, 60)
    loud, soft = (module(gain * samples, active, fresh(module, 1))[0][-1][:, 20:] for gain in (1.0, 0.25))
    assert (loud - soft).abs().mean() < 0.05 * loud.std()


@torch.inference_mode()
def test_the_last_frame_of_the_first_layer_is_that_of_the_encoder_that_hears_everything() -> None:
    causal = encoder(window=30)
    torch.manual_seed(1)
    whole = Moonshine(**SIZES, num_layers=2).double().eval()
    causal.load_state_dict(whole.state_dict(), strict=False)
    hidden = torch.randn(2, 20, 16).double()
    active = speech(2, 20)[1]
    active[:, -1] = 1
    angles = torch.arange(20)[:, None] * whole.rates
    expected = whole.layers[0](hidden, torch.stack([angles.cos(), angles.sin()]), attention_bias(active[..., 0]))
    found = causal.attend(hidden, active, fresh(causal, 2))[0][1]
    assert (found[:, -1] - expected[:, -1]).abs().max() < 1e-6


@torch.inference_mode()
def test_the_running_norm_ends_where_a_norm_of_the_clip_is() -> None:
    causal, whole = RunningNorm(16).double(), torch.nn.GroupNorm(1, 16).double()
    frames, active = torch.randn(2, 16, 400).double(), (torch.rand(2, 400) > 0.3).double()
    active[:, -1] = 1
    found, _ = causal(frames, active[:, None], torch.zeros(2, 3).double())
    assert (found - masked_group_norm(frames, active, whole))[..., -1].abs().max() < 0.02
    assert not found[(active == 0)[:, None].expand_as(found)].any()


def test_a_student_replaces_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: tensor for name, tensor in encoder().state_dict().items() if not name.startswith("layers.1")}
    monkeypatch.setattr("vocaffect.encoders.moonshine_file.read_moonshine", lambda _: given)
    monkeypatch.setattr("vocaffect.encoders.causal.locate", lambda _: tmp_path)
    learned = {name: tensor + 1 for name, tensor in encoder().state_dict().items() if name.startswith("layers")}
    save_file({name: tensor.half() for name, tensor in learned.items()}, tmp_path / "student.safetensors")
    module = encoder()
    with pytest.raises(EncoderError, match=r"nothing gives layers.1.*name the student's file"):
        load_causal(module, "moonshine-base")
    load_causal(module, "moonshine-base", str(tmp_path / "student.safetensors"))
    assert torch.equal(module.conv1.weight, given["conv1.weight"])
    found = dict(module.named_parameters())["layers.0.mlp.fc1.bias"]
    assert torch.allclose(found, learned["layers.0.mlp.fc1.bias"], atol=1e-3)


def test_a_student_says_what_it_has_learned_from(tmp_path: Path) -> None:
    known, silent = str(tmp_path / "known.safetensors"), str(tmp_path / "silent.safetensors")
    save_file({"x": torch.zeros(1)}, known, {"corpora": "emodb tess"})
    save_file({"x": torch.zeros(1)}, silent)
    assert taught_by(known) == {"emodb", "tess"}
    assert taught_by(silent) == {"silent.safetensors"}
    assert taught_by(str(tmp_path / "gone.safetensors")) == {"gone.safetensors"}
    shipped = Path(__file__).parents[2] / "configs" / "students" / "live.safetensors"
    assert taught_by(str(shipped)) == {"ased", "emodb", "nemo", "tess"}


def test_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCAFFECT_ENCODERS", str(tmp_path))
    with pytest.raises(EncoderError, match=r"cannot be heard causally.*moonshine-base"):
        load_causal(encoder(), "microsoft/wavlm-base-plus")
    with pytest.raises(EncoderError, match=r"encoders fetch moonshine-base"):
        load_causal(encoder(), "moonshine-base")
