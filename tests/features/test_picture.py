"""The picture of a sound that a model hears as it is: mel energies of halves of stretches, and a graph's own."""

import librosa
import numpy as np
import pytest
import torch

from vocaffect.export import bundle_in_python, describe
from vocaffect.features import FrontEnd
from vocaffect.features.picture import MelPicture
from vocaffect.models import Network, build_model

FACTS = {
    "uncertain_below": 0.0,
    "coverage": 1.0,
    "recipe": {},
    "manifest_hash": "",
    "metrics": {},
    "licence": {"weights": "", "data": ""},
}


def sound(num_samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, num_samples, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("win", [384, 160])
def test_it_is_the_mean_mel_energy_of_both_halves(win: int) -> None:
    samples, half = sound(7 * win + 5), win // 2
    found = MelPicture(win)(samples)
    halves = samples[:, : 7 * win].reshape(2, 7, 2, half).double().numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(half) / half)
    power = (np.abs(np.fft.rfft(halves * window)) ** 2).mean(2)
    filters = librosa.filters.mel(sr=16_000, n_fft=half, n_mels=found.shape[2])
    assert found.shape[:2] == (2, 7)
    assert np.abs(found.numpy() - 10 * np.log10(np.maximum(power @ filters.T, 1e-10))).max() < 1e-3


@torch.inference_mode()
def test_a_recogniser_that_hears_the_waveform_shows_its_picture() -> None:
    frontend = FrontEnd({"waveform": {}}, win_s=0.010, level_prior_s=None)
    tiny = {"model_type": "moonshine", "hidden_size": 32, "intermediate_size": 64, "num_layers": 1, "num_heads": 4}
    network = Network(frontend, build_model("encoder", num_features=160, num_labels=2, encoder=tiny, layers=[1]))
    card = describe(
        network,
        name="tiny",
        labels=["happy", "sad"],
        temperature=1.0,
        window=(1.0, 0.5),
        facts=FACTS | {"intended_use": "", "limits": ""},
    )
    samples = sound(16_000)
    output = bundle_in_python(network, card).run(samples.numpy())
    assert np.array_equal(output.features, MelPicture()(samples).numpy())
