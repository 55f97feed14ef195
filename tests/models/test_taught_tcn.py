"""The convolutions that an encoder has taught: their student's file, and what the head hears of them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vocaffect.encoders import EncoderError
from vocaffect.errors import VocaffectError
from vocaffect.features import FrontEnd
from vocaffect.models import Network, TaughtTcn, build_model, num_parameters

T = 60
SHIPPED = Path(__file__).parents[2] / "configs" / "students" / "tcn.safetensors"


def built(**given: Any) -> TaughtTcn:
    options = {
        "num_features": 20,
        "num_labels": 5,
        "channels": 16,
        "num_blocks": 3,
        "cycle": 2,
        "heard": [1, 3],
    } | given
    model = build_model("taught_tcn", **options).eval()
    assert isinstance(model, TaughtTcn)
    return model


def student(path: Path, **given: Any) -> str:
    """A student with random weights, as configs/students/tcn.py writes one."""
    torch.manual_seed(1)
    encoder = built(**given).encoder
    encoder.mean.fill_(-40.0)
    encoder.deviation.fill_(12.0)
    save_file(encoder.state_dict(), path, {"corpora": "tess emodb"})
    return str(path)


def test_a_student_brings_its_weights_and_says_what_taught_it(tmp_path: Path) -> None:
    known = student(tmp_path / "tcn.safetensors")
    model, other = built(student=known), built()
    model.load()
    other.load()
    assert float(model.encoder.mean[0]) == -40.0
    assert float(other.encoder.mean[0]) == 0.0
    assert model.learned_from == {"tess", "emodb"}
    assert other.learned_from == frozenset()
    again = built(student=known)
    again.load()
    assert model.stem_settings() == again.stem_settings() != other.stem_settings()


def test_a_student_that_does_not_fit_or_is_none(tmp_path: Path) -> None:
    narrow = student(tmp_path / "narrow.safetensors", channels=8)
    with pytest.raises(EncoderError, match=r"narrow.safetensors does not fit these blocks \(first.weight, and"):
        built(student=narrow).load()
    shallow = student(tmp_path / "shallow.safetensors", num_blocks=2, heard=[1])
    with pytest.raises(EncoderError, match=r"shallow.safetensors does not fit these blocks \(blocks.2"):
        built(student=shallow).load()
    (tmp_path / "text.safetensors").write_text("nothing", encoding="utf-8")
    with pytest.raises(EncoderError, match="holds no student"):
        built(student=str(tmp_path / "text.safetensors")).load()
    with pytest.raises(EncoderError, match="holds no student"):
        built(student=str(tmp_path / "gone.safetensors")).load()
    with pytest.raises(VocaffectError, match=r"of 1 to 3, not \[4\]"):
        built(heard=[4])


def test_a_student_wants_features_as_they_are(tmp_path: Path) -> None:
    model = built(num_features=20, student=student(tmp_path / "tcn.safetensors"))
    with pytest.raises(VocaffectError, match=r"set frontend\.standardise to false"):
        Network(FrontEnd({"mel": {"num_mels": 20}}), model)
    frontend = FrontEnd({"mel": {"num_mels": 20}}, standardise=False)
    network = Network(frontend, model).eval()
    samples = torch.randn(2, 8_000) * 0.1
    frontend.fit(iter(samples))
    assert frontend.mean.abs().max() == 0
    assert (frontend.deviation == 1).all()
    assert network(samples)[0].logits.shape == (2, 50, 5)


@torch.inference_mode()
def test_a_stem_tells_what_the_head_hears_at_the_end(tmp_path: Path) -> None:
    model = built(student=student(tmp_path / "tcn.safetensors"))
    model.load()
    features, active = torch.randn(1, T, 20) * 12 - 40, (torch.arange(T) > 5).float()[None, :, None]
    whole = model(features, active)[0]
    told = model.stem(features, active)
    assert told.shape == (1, 3, 1, 2 * 2 * 16)
    assert torch.allclose(model(told, active)[0][:, -1], whole[:, -1], atol=1e-5)
    assert torch.allclose(model(told, active)[0][:, 0], whole[:, 19], atol=1e-5)


@torch.inference_mode()
def test_four_bits_hold_the_student_that_is_loaded(tmp_path: Path) -> None:
    known = student(tmp_path / "tcn.safetensors", channels=128)
    whole, packed = (built(student=known, channels=128, four_bits=bits) for bits in (False, True))
    whole.load()
    packed.load()
    features, active = torch.randn(1, T, 20) * 12 - 40, torch.ones(1, T, 1)
    expected = whole.vectors(features, active, whole.fresh(1))[0]
    found = packed.vectors(features, active, packed.fresh(1))[0]
    assert 0 < (found - expected).square().mean() < 0.02 * expected.square().mean()
    assert packed.stem_settings() != whole.stem_settings()


@pytest.mark.skipif(not SHIPPED.is_file(), reason="no student is shipped")
def test_the_shipped_student_fits_its_recipe() -> None:
    model = built(num_features=80, channels=256, num_blocks=12, cycle=6, heard=[4, 8, 12], student=str(SHIPPED))
    model.load()
    assert model.learned_from == {"ased", "emodb", "nemo", "tess"}
    assert 3.1e6 < num_parameters(model.encoder) < 3.3e6
