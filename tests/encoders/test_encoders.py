"""Every encoder against its own library's forward pass, and the law that silence weighs nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vocaffect.encoders import build_encoder
from vocaffect.encoders.base import active_at, masked_group_norm
from vocaffect.encoders.hugging_face import normalised
from vocaffect.errors import VocaffectError

from .tiny import TINY

HOP, HOPS = 160, 60


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(name: str) -> Any:
    torch.manual_seed(1)
    return build_encoder(TINY[name]).eval()


@pytest.mark.parametrize("name", TINY)
@torch.inference_mode()
def test_a_clip_among_longer_ones_is_heard_as_alone(name: str) -> None:
    samples, ends = noise(3, HOPS * HOP), (HOPS, 31, 9)
    active = torch.stack([(torch.arange(HOPS) < end).float() for end in ends])
    samples = samples * active.repeat_interleave(HOP, dim=1)
    together = encoder(name)(samples, active)
    for row, end in enumerate(ends):
        alone = encoder(name)(samples[row : row + 1, : end * HOP], active[row : row + 1, :end])
        sounding = alone.active[0, :, 0] > 0
        length = len(sounding)
        assert torch.equal(together.active[row, :length], alone.active[0])
        assert together.active[row, length:].sum() == 0
        for one, other in zip(together.layers, alone.layers, strict=True):
            assert torch.allclose(one[row, :length][sounding], other[0][sounding], atol=1e-5)


@pytest.mark.parametrize("name", ["moonshine", "wav2vec2", "hubert", "wavlm"])
@torch.inference_mode()
def test_silence_in_front_changes_little_but_the_place(name: str) -> None:
    """The frames that reach back into it hear it; Whisper is left out, because its positions are absolute."""
    model, samples = encoder(name), noise(1, 16_000)
    silence, active = torch.zeros(1, 9_600), torch.ones(1, 100)
    late = model(torch.cat([silence, samples], 1), torch.cat([torch.zeros(1, 60), active], 1))
    soon = model(samples, active)
    for one, other in zip(late.layers, soon.layers, strict=True):
        both = [part[:, -30:-5].squeeze(0) for part in (one, other)]
        assert (both[0] - both[1]).abs().mean() < 0.1 * both[1].abs().mean()


@pytest.mark.parametrize("name", TINY)
@torch.inference_mode()
def test_silence_and_very_short_clips_give_numbers(name: str) -> None:
    for hops in (1, 20):
        heard = encoder(name)(torch.zeros(2, hops * HOP), torch.zeros(2, hops))
        assert heard.active.sum() == 0
        assert all(torch.isfinite(vectors).all() for vectors in heard.layers)


def test_depth_leaves_the_upper_layers_out() -> None:
    for options in TINY.values():
        model = build_encoder(options, depth=1)
        assert model.num_layers == 1
        assert len(model(noise(1, 3_200), torch.ones(1, 20)).layers) == 2


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm", "whisper"])
@torch.inference_mode()
def test_it_is_the_librarys_own(name: str) -> None:
    """Given the same silence behind the last sample, and told that all of it sounds."""
    transformers = pytest.importorskip("transformers")
    options = TINY[name] | (
        {"decoder_layers": 1, "decoder_attention_heads": 2, "vocab_size": 20} if name == "whisper" else {}
    )
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = transformers.AutoConfig.for_model(**options, **(ids if name == "whisper" else {}))
    model = encoder(name)
    own = transformers.AutoModel.from_config(config).eval()
    loaded = own.load_state_dict(model.state_dict(), strict=False)
    assert not [key for key in loaded.unexpected_keys if not key.startswith(("spectrum", "mel"))]
    (own.encoder if name == "whisper" or model.norm_last else nn.Module()).layer_norm = nn.Identity()
    samples = noise(1, 19_200)
    found = model(samples, torch.ones(1, 120)).layers[-1]
    if name == "whisper":
        expected = own.encoder(model._mel(samples)).last_hidden_state
    else:
        given = normalised(samples, torch.ones(1, 120)) if model.normalise else samples
        expected = own(given).last_hidden_state
        found = found[:, : expected.shape[1]]
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


@torch.inference_mode()
def test_moonshine_is_the_librarys_own() -> None:
    """With all frames active and no silence added, which a clip of 384 n + 511 samples leaves no room for."""
    transformers = pytest.importorskip("transformers")
    config = transformers.MoonshineConfig(
        hidden_size=16,
        intermediate_size=32,
        encoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        encoder_num_key_value_heads=2,
        decoder_num_hidden_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.62},
    )
    torch.manual_seed(2)
    own = transformers.MoonshineModel(config).eval().encoder
    model = encoder("moonshine")
    model.load_state_dict(own.state_dict(), strict=False)
    own.layer_norm = nn.Identity()
    samples = noise(1, 38_400)
    expected = own(samples).last_hidden_state
    found = model(samples, torch.ones(1, 240))
    length = expected.shape[1] - 2
    hidden = torch.tanh(own.conv1(samples[:, None]))
    theirs = own.groupnorm(hidden)
    ours = masked_group_norm(hidden, torch.ones(1, hidden.shape[2]), model.groupnorm)
    assert torch.allclose(ours, theirs, atol=1e-5)
    difference = (found.layers[-1][:, :length] - expected[:, :length]).abs().mean() / expected.abs().mean()
    assert difference < 0.02


def test_masked_group_norm_is_the_norm_of_what_sounds() -> None:
    norm, values = nn.GroupNorm(3, 6), noise(2, 6, 40)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(6) + 1.0)
    active = (torch.arange(40) < 25).float().expand(2, -1)
    found = masked_group_norm(values, active, norm)
    assert torch.allclose(found[..., :25], norm(values[..., :25]), atol=1e-5)


def test_active_at_looks_at_the_middle() -> None:
    """Middles at 2, 10, 18, 26, 34 and 42 lie in hops 0, 1, 1, 2, 3 and 4, which is behind the last."""
    active = torch.tensor([[1.0, 1, 0, 1]])
    assert active_at(active, 10, 6, 8, 4).tolist() == [[1, 1, 1, 0, 1, 0]]


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(VocaffectError, match="did you mean 'whisper'"):
        build_encoder({"model_type": "wisper"})


def test_whisper_says_how_long_it_hears() -> None:
    with pytest.raises(VocaffectError, match=r"at most 1.2 s"):
        encoder("whisper")(noise(1, 32_000), torch.ones(1, 200))
