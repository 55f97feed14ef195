"""What each architecture promises beyond the laws."""

from typing import Any

import pytest
import torch
from torch import nn

from vocaffect.errors import VocaffectError
from vocaffect.models import build_model, model_names
from vocaffect.models.causal import CausalConv, FrameNorm
from vocaffect.models.pooling import StatisticsPool

T = 40
TINY = {"model_type": "moonshine", "hidden_size": 16, "intermediate_size": 32, "num_heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "encoder": {"encoder": TINY, "layers": [0, 1, 2]},
    "causal_encoder": {"encoder": TINY, "layers": [0, 1, 2], "window": 8},
}
WIDTH = {"causal_encoder": 384}
"""Features of a frame, where a model hears the samples of its own hop."""
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("fc", {"num_layers": 0}),
    ("gru", {"num_layers": 1, "attention": True}),
    ("tcn", {"kernel_size": 2, "num_blocks": 3, "attention": True}),
    ("crnn", {"recurrent": "lstm", "num_layers": 2, "planes": 3}),
    ("crnn", {"channels": [8], "attention": True}),
    ("encoder", {"encoder": TINY, "layers": [1], "attention": True, "mix": "concatenated", "hidden_size": 8}),
    ("resnet", {"channels": [8, 16], "num_blocks": 1, "planes": 3, "attention": True}),
]


def features(batch: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, T, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@torch.inference_mode()
def test_options_stream(name: str, options: dict[str, Any]) -> None:
    model = build_model(name, num_features=15, num_labels=4, **options).eval()
    given, active = features(2, 15), torch.ones(2, T, 1)
    whole, _ = model(given, active)
    assert whole.shape == (2, T, 4)
    if model.streaming == "frame":
        first, state = model(given[:, :13], active[:, :13])
        rest, _ = model(given[:, 13:], active[:, 13:], state)
        assert torch.allclose(torch.cat([first, rest], dim=1), whole, atol=1e-5)


@pytest.mark.parametrize("name", model_names())
@torch.inference_mode()
def test_a_decision_stands_through_silence(name: str) -> None:
    """Silent frames weigh nothing: only active ones move the pool, and with it the decision."""
    width = WIDTH.get(name, 15)
    model = build_model(name, num_features=width, num_labels=4, **SMALL.get(name, {})).eval()
    active = (torch.arange(T) < 16).float()[None, :, None]
    logits, _ = model(features(1, width) * active, active)
    assert torch.allclose(logits[:, 16:], logits[:, 15:16].expand(-1, T - 16, -1), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in model_names() if name != "lstm"])
def test_half_precision_trains(name: str) -> None:
    """Without the LSTM, which a CPU does in half precision only if it has the instructions."""
    width = WIDTH.get(name, 15)
    model = build_model(name, num_features=width, num_labels=4, **SMALL.get(name, {})).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits, _ = model(features(2, width), torch.ones(2, T, 1))
    logits.float().square().mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


def test_statistics_are_those_of_the_active_frames() -> None:
    pool, given = StatisticsPool(15), features(2, 15)
    active = (torch.arange(T) % 3 > 0).float()[None, :, None].expand(2, -1, -1)
    statistics, _ = pool(given, active, pool.initial_state(2))
    kept = given[:, torch.arange(T) % 3 > 0]
    expected = torch.cat([kept.mean(1), kept.std(1, correction=0)], dim=-1)
    assert torch.allclose(statistics[:, -1], expected, atol=1e-5)


def test_the_tcn_hears_as_far_back_as_it_says() -> None:
    """(3 - 1) * (2 ** 3 - 1) = 14 frames, and no further."""
    model = build_model("tcn", num_features=5, num_labels=2, num_blocks=3).eval()
    given = features(1, 5).requires_grad_()
    logits, _ = model(given, torch.ones(1, T, 1))
    the_last_alone = T * logits[0, -1] - (T - 1) * logits[0, -2]
    the_last_alone.sum().backward()
    assert given.grad is not None
    assert (given.grad[0].abs().sum(-1) > 1e-6).nonzero()[0] == T - 1 - 14


def test_silence_in_front_changes_nothing_for_the_tcn() -> None:
    model = build_model("tcn", num_features=5, num_labels=2, num_blocks=3).eval()
    given, silence = features(1, 5), torch.zeros(1, 30, 5)
    heard = model(given, torch.ones(1, T, 1))[0]
    active = torch.cat([torch.zeros(1, 30, 1), torch.ones(1, T, 1)], dim=1)
    later = model(torch.cat([silence, given], dim=1), active)[0]
    assert torch.allclose(later[:, 30:], heard, atol=1e-6)


def test_a_causal_convolution_is_a_padded_one() -> None:
    conv = nn.Conv2d(2, 3, 3, padding=(0, 1), dilation=(2, 1))
    causal, picture = CausalConv(conv, sides=(7,)), torch.randn(2, 2, T, 7)
    ours, past = causal(picture, causal.initial_state(2))
    padded = nn.functional.conv2d(nn.functional.pad(picture, (1, 1, 4, 0)), conv.weight, conv.bias, dilation=(2, 1))
    assert torch.allclose(ours, padded, atol=1e-6)
    assert torch.equal(past, picture[:, :, -4:])
    with pytest.raises(ValueError, match="stride 1 and padding 0 in time"):
        CausalConv(nn.Conv2d(2, 3, 3, padding=1))


def test_the_norm_is_torchs_layer_norm_of_a_frame() -> None:
    picture = torch.randn(2, 6, T, 7) + 3
    theirs = nn.functional.layer_norm(picture.transpose(1, 2), (6, 7)).transpose(1, 2)
    assert torch.allclose(FrameNorm(6)(picture), theirs, atol=1e-5)


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(VocaffectError, match=r"'crnn' cannot be built.*3 does not divide 13"):
        build_model("crnn", num_features=13, num_labels=8, planes=3)
    with pytest.raises(VocaffectError, match="'gru' or 'lstm', not 'rnn'"):
        build_model("crnn", num_features=13, num_labels=8, recurrent="rnn")
    with pytest.raises(VocaffectError, match="3 does not divide 13"):
        build_model("resnet", num_features=13, num_labels=8, planes=3)
