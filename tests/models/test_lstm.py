"""The LSTM recogniser as it was described, and the options beside it."""

import pytest
import torch

from vocaffect.errors import VocaffectError
from vocaffect.models import build_model, num_parameters


def test_it_has_805_896_parameters_and_not_988_000() -> None:
    """4 H (I + H) + 8 H for each layer, then 8 (H + 1): the "~988K" that is told of it is wrong."""
    layers = 4 * 256 * (13 + 256) + 8 * 256 + 4 * 256 * (256 + 256) + 8 * 256
    model = build_model("lstm", num_features=13, num_labels=8)
    assert num_parameters(model) == layers + 8 * 257 == 805_896


def test_a_whole_sequence_and_frame_by_frame_are_one_forward() -> None:
    model = build_model("lstm", num_features=13, num_labels=8).eval()
    features = torch.randn(2, 40, 13, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole, last = model(features)
        state, rows = None, []
        for t in range(40):
            logits, state = model(features[:, t : t + 1], state=state)
            assert logits.shape == (2, 1, 8)
            rows.append(logits)
    assert torch.allclose(torch.cat(rows, dim=1), whole, atol=1e-6)
    assert state is not None
    assert torch.allclose(torch.cat(state.hidden), torch.cat(last.hidden), atol=1e-6)


def test_the_decision_is_the_linear_layer_of_the_mean_over_active_frames() -> None:
    model = build_model("lstm", num_features=13, num_labels=8).eval()
    features = torch.randn(1, 30, 13, generator=torch.Generator().manual_seed(2))
    active = (torch.arange(30) % 3 > 0).float()[None, :, None]
    with torch.inference_mode():
        logits, _ = model(features, active)
        hidden, _ = model.lstm(features)  # type: ignore[operator]
        mean = (hidden * active).sum(1) / active.sum(1)
        assert torch.allclose(logits[:, -1], model.fc(mean), atol=1e-5)  # type: ignore[operator]


@pytest.mark.parametrize("parameters", [{"attention": True}, {"bidirectional": True}, {"num_layers": 1}])
def test_options(parameters: dict[str, object]) -> None:
    model = build_model("lstm", num_features=26, num_labels=4, hidden_size=32, **parameters).eval()
    logits, _ = model(torch.randn(3, 20, 26))
    assert logits.shape == (3, 20, 4)
    assert model.streaming == ("window" if "bidirectional" in parameters else "frame")


def test_attention_weighs_frames_unevenly() -> None:
    model = build_model("lstm", num_features=4, num_labels=4, hidden_size=8, attention=True).eval()
    plain = build_model("lstm", num_features=4, num_labels=4, hidden_size=8).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    features = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(3))
    assert not torch.allclose(model(features)[0][:, -1], plain(features)[0][:, -1], atol=1e-6)
    assert torch.allclose(model(features)[0][:, 0], plain(features)[0][:, 0], atol=1e-5)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(VocaffectError, match="did you mean 'lstm'"):
        build_model("lsmt", num_features=13, num_labels=8)
    with pytest.raises(VocaffectError, match=r"cannot be built.*hiden_size"):
        build_model("lstm", num_features=13, num_labels=8, hiden_size=3)
